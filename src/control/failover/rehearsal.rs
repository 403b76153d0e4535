//! What would be done on an order, in words, without doing it.

use std::fmt::Write as _;

use super::decide::Decision;
use super::plan::{Kind, Plan};
use super::view::{Member, View};

/// The whole plan with its evidence, or why there is none.
pub(super) fn tell(view: &View<'_>, decision: &Decision) -> Result<String, String> {
    match decision {
        Decision::Begin(plan) => Ok(lines(view, plan).join("\n")),
        Decision::Refuse(why) | Decision::Wait(why) => Err(why.to_string()),
        _ => Err("nothing would be done".to_owned()),
    }
}

fn lines(view: &View<'_>, plan: &Plan) -> Vec<String> {
    let name = |id| view.name(id);
    let mut lines = vec![
        format!("{} of epoch {}: from {}, class {}", plan.kind, plan.epoch, name(plan.from), plan.class),
        format!("evidence: the primary is {:?}", view.life).to_lowercase(),
    ];
    let members = plan.members.iter().map(|id| view.member(*id));
    lines.extend(members.map(|member| server(view, plan, member)));
    lines.push(format!(
        "1. nothing goes to {} any more; what waits for it waits for the new primary",
        name(plan.from)
    ));
    if plan.kind == Kind::Switchover {
        lines.push(format!("2. {} is made read-only; its sessions end", name(plan.from)));
        let to = plan.wanted.map(name).unwrap_or_default();
        lines.push(format!("3. {to} gets all of it"));
        lines.push(format!("4. {to} follows nobody; all others, {} too, follow {to}", name(plan.from)));
        lines.push(format!("5. {to} takes writes"));
        return lines;
    }
    lines.push(format!(
        "2. replicas stop receiving; at least {} of those that acknowledge",
        plan.quorum.max(1)
    ));
    lines.push("3. what they received is applied; one that has all of it is chosen".to_owned());
    lines.push("4. it follows nobody; the others follow it".to_owned());
    lines.push("5. it takes writes".to_owned());
    lines
}

fn server(view: &View<'_>, plan: &Plan, member: &Member<'_>) -> String {
    let mut line = format!("{}: ", member.name);
    let answers = if member.answered { "answers" } else { "does not answer" };
    let acknowledges = if plan.ackers.contains(&member.id) { ", acknowledges" } else { "" };
    let _ = write!(line, "{answers}{acknowledges}");
    let (Some(all), Some(base)) = (member.received_or_executed(), view.member(plan.from).executed()) else {
        return line;
    };
    let (lacks, more) = (base.subtract(&all), all.subtract(base));
    for (what, set) in [("lacks", lacks), ("has beyond the last look at the primary", more)] {
        if !set.is_empty() {
            let _ = write!(line, ", {what} {set}");
        }
    }
    line
}
