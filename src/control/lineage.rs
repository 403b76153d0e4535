//! Who replicates from whom, and therefore who is the primary.

use super::observation::{Channel, Facts};
use crate::topology::ServerId;

/// One server as far as lineage is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Member<'m> {
    /// `host:port` of the configuration.
    pub address: &'m str,
    /// What it last showed, however old; `None` if it was never seen.
    pub facts: Option<&'m Facts>,
    pub is_up: bool,
}

/// Where a server's changes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From nobody.
    Own,
    From(ServerId),
    /// From a server outside the configuration.
    Outside,
    /// From one that is no server seen so far, while not all have been seen.
    Unseen,
    /// It was never seen itself.
    Unknown,
}

/// The replication topology of one moment.
#[derive(Debug, PartialEq, Eq)]
pub struct Lineage {
    /// Indexed by `ServerId`; the top of the chain that each server hangs on, itself if it is the top.
    pub tops: Vec<Top>,
    /// Indexed by `ServerId`; what each replicates from directly.
    pub origins: Vec<Origin>,
    /// Servers that are up, below each top.
    pub followers: Vec<u32>,
    pub head: Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Top {
    Server(ServerId),
    /// Above it is one that was not seen yet.
    Unseen,
}

/// Who is the top of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    Server(ServerId),
    /// Several look like it and none more than the others.
    Tied(Vec<ServerId>),
    /// A server that replicas follow but that was not seen yet.
    Unseen,
    None,
}

/// Reads the topology. `established` is the primary of the present epoch; `may_succeed` whether another may take its
/// place because somebody else has made it so.
pub fn trace(
    members: &[Member<'_>],
    established: Option<ServerId>,
    may_succeed: impl Fn(ServerId) -> bool,
) -> Lineage {
    let origins: Vec<Origin> = (0..members.len()).map(|index| origin(members, index)).collect();
    let tops: Vec<Top> = (0..members.len()).map(|index| top(members, &origins, index, established)).collect();
    let count = |wanted: Top, but: Option<usize>| {
        let follows = |&index: &usize| tops[index] == wanted && members[index].is_up && Some(index) != but;
        u32::try_from((0..members.len()).filter(follows).count()).unwrap_or(u32::MAX)
    };
    let followers: Vec<u32> =
        (0..members.len()).map(|index| count(Top::Server(id(index)), Some(index))).collect();
    let seen = View { members, origins: &origins, tops: &tops, followers: &followers };
    let head = match established {
        Some(established) => {
            let successor = seen.successor(established);
            Head::Server(if may_succeed(successor) { successor } else { established })
        }
        None => seen.first(count(Top::Unseen, None)),
    };
    Lineage { tops, origins, followers, head }
}

/// The channel a server's place in the cluster is read from: the first whose source is a member, else the first.
pub fn main_channel<'f>(members: &[Member<'_>], facts: &'f Facts, index: usize) -> Option<&'f Channel> {
    let inside = |channel: &&Channel| matches!(source(members, channel, index), Origin::From(_));
    facts.channels.iter().find(inside).or_else(|| facts.channels.first())
}

struct View<'v> {
    members: &'v [Member<'v>],
    origins: &'v [Origin],
    tops: &'v [Top],
    followers: &'v [u32],
}

impl View<'_> {
    /// An epoch's primary stays the head although it is down, so that a writable server does not become the
    /// primary by itself. Another takes its place only where somebody made it so: it takes writes, replicas
    /// follow it, and the old one is gone, follows it too, or has fewer followers.
    fn successor(&self, established: ServerId) -> ServerId {
        let place = usize::from(established.0);
        let Top::Server(top) = self.tops[place] else { return established };
        if top != established {
            return top;
        }
        let beats = |&index: &usize| {
            let followers = self.followers[index];
            let overtakes = !self.members[place].is_up || followers > self.followers[place];
            index != place && self.is_top(index) && self.takes_writes(index) && followers > 0 && overtakes
        };
        match self.most_followed((0..self.members.len()).filter(beats)).as_slice() {
            [one] => id(*one),
            _ => established,
        }
    }

    /// The head of a cluster in which no primary is known yet.
    fn first(&self, followers_of_unseen: u32) -> Head {
        let candidates: Vec<usize> =
            (0..self.members.len()).filter(|&index| self.is_candidate(index)).collect();
        let best = self.most_followed(candidates.iter().copied());
        let most = best.first().map_or(0, |&index| self.followers[index]);
        if followers_of_unseen > 0 && followers_of_unseen >= most {
            return Head::Unseen;
        }
        match best.as_slice() {
            [] => Head::None,
            [one] => Head::Server(id(*one)),
            several => Head::Tied(several.iter().copied().map(id).collect()),
        }
    }

    /// A source of others always is; a server that nobody follows only if it takes writes and has no source.
    fn is_candidate(&self, index: usize) -> bool {
        let alone = self.members.len() == 1 || self.origins[index] == Origin::Own;
        self.is_top(index) && (self.followers[index] > 0 || (self.takes_writes(index) && alone))
    }

    fn is_top(&self, index: usize) -> bool {
        self.tops[index] == Top::Server(id(index))
    }

    fn takes_writes(&self, index: usize) -> bool {
        let member = &self.members[index];
        member.is_up && member.facts.is_some_and(|facts| !facts.read_only)
    }

    fn most_followed(&self, candidates: impl Iterator<Item = usize> + Clone) -> Vec<usize> {
        let most = candidates.clone().map(|index| self.followers[index]).max();
        candidates.filter(|&index| Some(self.followers[index]) == most).collect()
    }
}

fn origin(members: &[Member<'_>], index: usize) -> Origin {
    let Some(facts) = members[index].facts else { return Origin::Unknown };
    match main_channel(members, facts, index) {
        Some(channel) => source(members, channel, index),
        None => Origin::Own,
    }
}

/// Finds a channel's source among the members: by its own identity first, because sources are often configured
/// by other names than ours; by `host:port` where it was never connected, or was rebuilt since.
fn source(members: &[Member<'_>], channel: &Channel, own: usize) -> Origin {
    let others = || members.iter().enumerate().filter(|(index, _)| *index != own);
    let with = |matches: &dyn Fn(&Facts) -> bool| -> Vec<usize> {
        others().filter(|(_, member)| member.facts.is_some_and(matches)).map(|(index, _)| index).collect()
    };
    let by_identity = match (&channel.source_uuid, channel.source_server_id) {
        (Some(uuid), _) => with(&|facts| facts.server_uuid.as_ref() == Some(uuid)),
        (None, Some(server_id)) => with(&|facts| facts.server_uuid.is_none() && facts.server_id == server_id),
        (None, None) => Vec::new(),
    };
    if let [one] = by_identity.as_slice() {
        return Origin::From(id(*one));
    }
    let address = format!("{}:{}", channel.source_host, channel.source_port);
    if let Some((index, _)) = others().find(|(_, member)| member.address == address) {
        return Origin::From(id(index));
    }
    if members.iter().all(|member| member.facts.is_some()) { Origin::Outside } else { Origin::Unseen }
}

/// Climbs from a server to the top of its chain.
fn top(members: &[Member<'_>], origins: &[Origin], index: usize, established: Option<ServerId>) -> Top {
    let mut path = vec![index];
    loop {
        let here = path[path.len() - 1];
        match origins[here] {
            Origin::Own | Origin::Outside | Origin::Unknown => return Top::Server(id(here)),
            Origin::Unseen => return Top::Unseen,
            Origin::From(next) => {
                let next = usize::from(next.0);
                if let Some(start) = path.iter().position(|&seen| seen == next) {
                    return Top::Server(top_of_circle(members, &path[start..], established));
                }
                path.push(next);
            }
        }
    }
}

/// Of servers that replicate from each other the one that takes writes is the top; where that does not
/// decide, the epoch's primary, then the first in the configuration.
fn top_of_circle(members: &[Member<'_>], circle: &[usize], established: Option<ServerId>) -> ServerId {
    let writes = |&&index: &&usize| members[index].facts.is_some_and(|facts| !facts.read_only);
    let writable: Vec<usize> = circle.iter().filter(writes).copied().collect();
    match (writable.as_slice(), established) {
        ([one], _) => id(*one),
        (_, Some(established)) if circle.contains(&usize::from(established.0)) => established,
        _ => id(circle.iter().copied().min().unwrap_or_default()),
    }
}

fn id(index: usize) -> ServerId {
    // The configuration allows far fewer servers than this type counts.
    ServerId(u16::try_from(index).unwrap_or(u16::MAX))
}
