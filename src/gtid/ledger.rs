//! What was acknowledged, transaction by transaction, in a bounded space.

use super::history::History;
use crate::flavour::Flavour;

/// Transactions of which clients were told that they are done. Taking in one that follows those before it costs no
/// memory; of very many with gaps between them, the oldest are forgotten.
#[derive(Debug, Default)]
pub struct Ledger {
    rows: Vec<Row>,
    forgotten: u64,
}

#[derive(Debug)]
struct Row {
    /// `uuid`, `uuid:tag` or `domain-server`.
    origin: Box<str>,
    flavour: Flavour,
    /// In order and apart; both ends included.
    numbers: Vec<(u64, u64)>,
}

/// Intervals of one origin. Where several proxies write through one primary, each knows only its own.
const INTERVALS_MAX: usize = 1_024;
/// Origins: a cluster has few.
const ORIGINS_MAX: usize = 64;

impl Ledger {
    /// Takes in the transactions that an OK names; nothing where it names them in no known form.
    pub fn note(&mut self, gtids: &str) {
        for part in gtids.split(',').map(str::trim) {
            match part.rsplit_once(':') {
                Some((origin, number)) => match number.parse() {
                    Ok(number) if !is_mixed(origin) => self.add(origin, Flavour::MySql, number, number),
                    _ => self.note_many(part),
                },
                None => {
                    // A server's last number stands for all before it.
                    if let Some((origin, Ok(number))) = part.rsplit_once('-').map(|(o, n)| (o, n.parse())) {
                        self.add(origin, Flavour::MariaDb, 1, number);
                    }
                }
            }
        }
    }

    /// `uuid:1-5:7` and the like.
    fn note_many(&mut self, part: &str) {
        let mut fields = part.split(':');
        let mut origin = fields.next().unwrap_or_default().to_owned();
        let uuid = origin.len();
        for field in fields.map(str::trim) {
            let (first, last) = field.split_once('-').unwrap_or((field, field));
            match (first.parse(), last.parse()) {
                (Ok(first), Ok(last)) => self.add(&origin, Flavour::MySql, first, last),
                _ => {
                    origin.truncate(uuid);
                    origin.push(':');
                    origin.push_str(field);
                }
            }
        }
    }

    fn add(&mut self, origin: &str, flavour: Flavour, first: u64, last: u64) {
        if first > last {
            return;
        }
        let at = match self.rows.iter().position(|row| &*row.origin == origin) {
            Some(at) => at,
            None if self.rows.len() < ORIGINS_MAX => {
                self.rows.push(Row { origin: origin.into(), flavour, numbers: Vec::new() });
                self.rows.len() - 1
            }
            None => {
                self.forgotten += 1;
                return;
            }
        };
        let numbers = &mut self.rows[at].numbers;
        insert(numbers, first, last);
        if numbers.len() > INTERVALS_MAX {
            let (first, last) = numbers.remove(0);
            self.forgotten += last - first + 1;
        }
    }

    /// All that is known.
    pub fn history(&self) -> History {
        self.rows.iter().fold(History::default(), |all, row| {
            let text = match row.flavour {
                Flavour::MySql => {
                    let intervals = row.numbers.iter().map(|(first, last)| format!(":{first}-{last}"));
                    format!("{}{}", row.origin, intervals.collect::<String>())
                }
                Flavour::MariaDb => format!("{}-{}", row.origin, row.numbers.last().map_or(0, |n| n.1)),
            };
            History::parse(row.flavour, &text).map_or(all.clone(), |more| all.union(&more))
        })
    }

    /// How many transactions did not find room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

/// Whether there are numbers before the last one.
fn is_mixed(origin: &str) -> bool {
    let mut fields = origin.split(':').skip(1);
    fields.any(|field| field.starts_with(|c: char| c.is_ascii_digit()))
}

fn insert(numbers: &mut Vec<(u64, u64)>, first: u64, last: u64) {
    // All that touch it become one with it.
    let from = numbers.partition_point(|have| have.1.saturating_add(1) < first);
    let to = numbers.partition_point(|have| have.0 <= last.saturating_add(1));
    if from == to {
        numbers.insert(from, (first, last));
        return;
    }
    numbers[from] = (first.min(numbers[from].0), last.max(numbers[to - 1].1));
    if to - from > 1 {
        numbers.drain(from + 1..to);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn all_forms_that_servers_tell_are_taken_in() {
        let cases = [
            (Flavour::MySql, vec![format!("{UUID}:1"), format!("{UUID}:3"), format!("{UUID}:2")]),
            (Flavour::MySql, vec![format!("{UUID}:1-5:7"), format!("{UUID}:red:4, {UUID}:8")]),
            (Flavour::MySql, vec![format!("{UUID}:2:red:4:6-7")]),
            (Flavour::MariaDb, vec!["0-1-7".to_owned(), "0-1-6,1-2-3".to_owned()]),
        ];
        for (flavour, texts) in cases {
            let mut ledger = Ledger::default();
            texts.iter().for_each(|text| ledger.note(text));
            let expected = History::parse(flavour, &texts.join(",")).expect("a history");
            assert_eq!(ledger.history(), expected, "{texts:?}");
        }
        let mut ledger = Ledger::default();
        ["", ":", "-", "x:y", "uuid:5-", "9-1-"].into_iter().for_each(|text| ledger.note(text));
        assert_eq!(ledger.history(), History::default());
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut ledger = Ledger::default();
        for number in 0..INTERVALS_MAX as u64 + 10 {
            ledger.note(&format!("{UUID}:{}", 2 * number + 1));
        }
        assert_eq!(ledger.forgotten(), 10);
        assert_eq!(ledger.rows[0].numbers.len(), INTERVALS_MAX);
        assert_eq!(ledger.rows[0].numbers[0], (21, 21));
    }

    proptest! {
        #[test]
        fn in_whatever_order_they_come_it_is_the_set_of_them(numbers in prop::collection::vec(1..60_u64, 0..60)) {
            let mut ledger = Ledger::default();
            let mut all = History::default();
            for number in numbers {
                let text = format!("{UUID}:{number}");
                ledger.note(&text);
                all = all.union(&History::parse(Flavour::MySql, &text).expect("one"));
            }
            prop_assert_eq!(ledger.history(), all);
        }
    }
}
