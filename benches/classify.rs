//! What judging a statement costs: nanoseconds each, the least of many rounds. An argument chooses by
//! name; `--known` leaves out the first judging of each text, for a profiler.

use std::hint::black_box;
use std::time::Instant;

use pointsman::flavour::{Flavour, Version};
use pointsman::sql::{Catalog, Dialect, Judge};

fn main() {
    let dialect = Dialect::plain(Version { flavour: Flavour::MySql, number: 90_704 });
    let catalog = Catalog::default();
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for (name, text) in [
        ("point select", "SELECT c FROM sbtest1 WHERE id=5021 AND k = 'abc'".to_owned()),
        ("20-line join", join()),
        ("1000-row INSERT", insert(1_000)),
        ("16 MiB INSERT", insert(160_000)),
    ]
    .into_iter()
    .filter(|(name, _)| name.contains(&wanted))
    {
        let judge = Judge::new(1_000);
        let judged = || judge.judge(black_box(text.as_bytes()), &dialect, None, &catalog);
        let hit = least(text.len(), || drop(black_box(judged())));
        if std::env::args().any(|argument| argument == "--known") {
            println(format!("{name:<16} known {hit:>12.0} ns"));
            continue;
        }
        let miss = least(text.len(), || {
            drop(black_box(Judge::new(1).judge(black_box(text.as_bytes()), &dialect, None, &catalog)));
        });
        let gigabytes = text.len() as f64 / hit;
        println(format!(
            "{name:<16} {:>9} bytes  known {hit:>12.0} ns ({gigabytes:.2} GB/s)  new {miss:>12.0} ns",
            text.len()
        ));
    }
}

/// The least time of one run, over rounds that are long enough for the clock.
fn least(bytes: usize, mut run: impl FnMut()) -> f64 {
    let runs = (1_000_000 / bytes).clamp(1, 2_000);
    run();
    let round = |_| {
        let start = Instant::now();
        for _ in 0..runs {
            run();
        }
        start.elapsed().as_secs_f64() * 1e9 / runs as f64
    };
    (0..40).map(round).fold(f64::INFINITY, f64::min)
}

fn join() -> String {
    let lines = [
        "SELECT o.id, o.created_at, c.name, c.email, SUM(l.quantity * l.price) AS total,",
        "       COUNT(DISTINCT l.product_id) AS products, MAX(p.updated_at) AS last_change",
        "FROM orders AS o",
        "JOIN customers AS c ON c.id = o.customer_id",
        "JOIN order_lines AS l ON l.order_id = o.id",
        "LEFT JOIN products AS p ON p.id = l.product_id AND p.deleted_at IS NULL",
        "LEFT JOIN warehouses AS w ON w.id = l.warehouse_id",
        "WHERE o.status IN ('paid', 'shipped', 'delivered')",
        "  AND o.created_at >= '2026-01-01 00:00:00'",
        "  AND o.created_at < '2026-02-01 00:00:00'",
        "  AND c.country = 'NL'",
        "  AND (p.category = 'books' OR p.category = 'music' OR p.category IS NULL)",
        "  AND NOT EXISTS (",
        "      SELECT 1 FROM refunds AS r",
        "      WHERE r.order_id = o.id AND r.amount > 0",
        "  )",
        "GROUP BY o.id, o.created_at, c.name, c.email",
        "HAVING total > 100.50",
        "ORDER BY total DESC, o.id",
        "LIMIT 50 OFFSET 100",
    ];
    lines.join("\n")
}

fn insert(rows: usize) -> String {
    let row = |n: usize| {
        format!("({n}, 'name of the row {n}', 'a longer text with some words in it: {n}', {n}.5, NULL)")
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    format!("INSERT INTO t (id, name, text, price, note) VALUES {}", rows.join(", "))
}

#[allow(clippy::print_stdout, reason = "the bench's only output")]
fn println(line: String) {
    println!("{line}");
}
