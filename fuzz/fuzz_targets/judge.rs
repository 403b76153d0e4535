//! Any bytes, under any dialect: no panic, the same verdict again, and nothing read-only once an effect is added.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::flavour::{Flavour, Version};
use pointsman::sql::{Access, Catalog, Charset, Dialect, Judge, Replacements, substitute_calls};

fuzz_target!(|data: &[u8]| {
    let [first, text @ ..] = data else { return };
    let dialect = dialect(*first);
    let judge = Judge::new(10);
    let catalog = Catalog::default();
    let judged = judge.judge(text, &dialect, None, &catalog);
    assert_eq!(judged, judge.judge(text, &dialect, None, &catalog));
    let replacements = Replacements { row_count: Some("1"), ..Replacements::default() };
    substitute_calls(text, &dialect, &replacements);
    let write = [text, b"; DELETE FROM t"].concat();
    if judged.statement.access == Access::Read {
        // Nothing that is read-only to its end can swallow what follows, but for a comment that runs to it.
        let judged = judge.judge(&write, &dialect, None, &catalog);
        let newline = judge.judge(&[text, b"\n; DELETE FROM t"].concat(), &dialect, None, &catalog);
        assert!(judged.statement.access != Access::Read || newline.statement.access != Access::Read);
    }
});

/// One byte chooses flavour, sql_mode and character set.
fn dialect(choice: u8) -> Dialect {
    let version = if choice & 1 == 0 {
        Version { flavour: Flavour::MySql, number: 90_704 }
    } else {
        Version { flavour: Flavour::MariaDb, number: 101_119 }
    };
    let charsets =
        [Charset::AsciiSafe, Charset::SingleByte, Charset::Gbk, Charset::Gb18030, Charset::ShiftJis];
    Dialect {
        version,
        ansi_quotes: choice & 2 != 0,
        no_backslash_escapes: choice & 4 != 0,
        charset: charsets[usize::from(choice >> 3) % charsets.len()],
    }
}
