//! What differs between two snapshots, each change told once, in words.

use crate::topology::events::EventKind;
use crate::topology::{Exclusion, Server, Snapshot, Standing};

use super::judge::{Problem, Verdict};

/// The changes from one moment to the next. Lag and GTIDs move all the time and are none.
pub fn between(before: &Verdict, after: &Verdict) -> Vec<(EventKind, String)> {
    let mut changes = Vec::new();
    let pairs = before.snapshot.servers.iter().zip(&after.snapshot.servers);
    changes.extend(pairs.filter_map(|(before, after)| of_server(before, after)));
    changes.extend(of_primary(&before.snapshot, &after.snapshot));
    let new = |problem: &&Problem| !before.problems.contains(problem);
    let over = |problem: &&Problem| !after.problems.contains(problem);
    changes
        .extend(after.problems.iter().filter(new).map(|problem| (EventKind::Problem, problem.to_string())));
    let told = |problem: &Problem| (EventKind::ProblemOver, format!("over: {problem}"));
    changes.extend(before.problems.iter().filter(over).map(told));
    changes
}

fn of_primary(before: &Snapshot, after: &Snapshot) -> Option<(EventKind, String)> {
    let epoch = after.epoch.0;
    if let Some(primary) = after.primary {
        let name = &after.server(primary).name;
        if before.epoch != after.epoch {
            return Some((EventKind::PrimaryChanged, format!("epoch {epoch}: {name} is the primary")));
        }
        return before
            .primary
            .is_none()
            .then(|| (EventKind::PrimaryReturned, format!("epoch {epoch}: {name} takes writes again")));
    }
    let first = before.servers.iter().all(unprobed) && !after.servers.iter().all(unprobed);
    let because = after.no_primary_because().filter(|_| before.primary.is_some() || first)?;
    Some((EventKind::PrimaryLost, format!("epoch {epoch}: writes have nowhere to go: {because}")))
}

fn of_server(before: &Server, after: &Server) -> Option<(EventKind, String)> {
    let (name, role) = (&after.name, after.role);
    let same_standing = alike(&before.standing, &after.standing);
    if same_standing && before.role == role {
        return None;
    }
    if after.standing != Standing::Serving {
        // What a server is called while it is out does not change that it is out.
        return (!same_standing).then(|| {
            (EventKind::ServerExcluded, format!("{name} ({role}) takes no statements: {}", after.standing))
        });
    }
    if same_standing {
        return Some((EventKind::RoleChanged, format!("{name} is {role} now, was {}", before.role)));
    }
    let was = if unprobed(before) { String::new() } else { format!(" again, was {}", before.standing) };
    Some((EventKind::ServerServing, format!("{name} ({role}) serves{was}")))
}

fn unprobed(server: &Server) -> bool {
    server.standing == Standing::Excluded(Exclusion::NotProbedYet)
}

/// Same in kind: another lag or another wording is no change.
fn alike(a: &Standing, b: &Standing) -> bool {
    match (a, b) {
        (Standing::Excluded(a), Standing::Excluded(b)) => {
            std::mem::discriminant(a) == std::mem::discriminant(b)
        }
        _ => a == b,
    }
}
