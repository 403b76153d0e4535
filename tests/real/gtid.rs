//! Our arithmetic of transaction identifiers, held against MySQL's own functions.

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable;
use pointsman::flavour::Flavour;
use pointsman::gtid::History;
use pointsman::playground::ROOT;

use crate::clusters::{block_on, shared};

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

/// Sets whose pairs differ in every way: ends, gaps, sources, tags.
fn sets() -> Vec<String> {
    let mut sets = vec![
        String::new(),
        format!("{A}:1"),
        format!("{A}:1-10"),
        format!("{A}:1-5:7-10:20"),
        format!("{A}:6"),
        format!("{A}:6-30,{B}:1-3"),
        format!("{B}:1-3:5-9223372036854775806"),
        format!("{A}:1-5:blue:1-3:7"),
        format!("{A}:blue:2-5:red:1,{B}:1"),
        format!("{A}:blue:1-2,{A}:blue:4"),
        format!("{A}:3-4:blue:3"),
    ];
    // Intervals by a fixed rule, dense enough to touch and to cross.
    for seed in 1_u64..12 {
        let piece = |k: u64| {
            let first = 1 + (seed * 7 + k * 11) % 40;
            format!("{first}-{}", first + (seed * k) % 6)
        };
        let pieces: Vec<String> = (0..4).map(piece).collect();
        sets.push(format!("{A}:{}:blue:{}", pieces[..2].join(":"), pieces[2..].join(":")));
    }
    sets
}

#[test]
fn mysql_agrees() -> Result<()> {
    block_on(async {
        let cluster = shared(Flavour::MySql).await?;
        let mut conn = cluster.primary.connect(ROOT).await?;
        let read = |text: &str| History::parse(Flavour::MySql, text).with_context(|| text.to_owned());
        let sets = sets();
        for a in &sets {
            for b in &sets {
                let (ours_a, ours_b) = (read(a)?, read(b)?);
                let (subset, less, more): (bool, String, String) = conn
                    .exec_first(
                        "SELECT GTID_SUBSET(?, ?), GTID_SUBTRACT(?, ?), GTID_SUBTRACT(CONCAT_WS(',', ?, ?), '')",
                        (b, a, a, b, a, b),
                    )
                    .await?
                    .context("a row")?;
                assert_eq!(ours_a.contains(&ours_b), subset, "{b:?} in {a:?}");
                assert_eq!(ours_a.subtract(&ours_b), read(&less)?, "{a:?} without {b:?}");
                assert_eq!(ours_a.union(&ours_b), read(&more)?, "{a:?} and {b:?}");
                // What is in both is what is left without what is only in one.
                assert_eq!(ours_a.intersect(&ours_b), ours_a.subtract(&read(&less)?), "{a:?} in {b:?}");
                // The server reads what we show.
                let again: Option<String> =
                    conn.exec_first("SELECT GTID_SUBTRACT(?, '')", (ours_a.to_string(),)).await?;
                assert_eq!(read(&again.context("a row")?)?, ours_a);
            }
        }
        Ok(())
    })
}
