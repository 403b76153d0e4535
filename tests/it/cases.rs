//! Case files: `=== title`, an input, `---`, the expected text. `BLESS=1` rewrites what is expected.

use std::fmt::Write as _;
use std::path::Path;

/// Runs every case of every `.txt` file of `tests/cases/<folder>` through `answer` and compares.
pub(crate) fn run(folder: &str, answer: impl Fn(&str) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no case file in {}", folder.display());
    let wrong: Vec<String> = files.iter().filter_map(|file| run_file(file, &answer)).collect();
    assert!(wrong.is_empty(), "{}\n(BLESS=1 rewrites the expected texts)", wrong.join("\n"));
}

fn run_file(file: &Path, answer: &impl Fn(&str) -> String) -> Option<String> {
    let text = std::fs::read_to_string(file).expect("a readable case file");
    let head: String = text.lines().take_while(|line| !line.starts_with("=== ")).fold(String::new(), keep);
    let (mut blessed, mut wrong) = (head, String::new());
    let cases = text.split("\n=== ").skip(usize::from(!text.starts_with("=== ")));
    let mut count = 0;
    for case in cases {
        let case = case.strip_prefix("=== ").unwrap_or(case);
        let (title, rest) = case.split_once('\n').expect("a title and a body");
        let (input, expected) = rest.split_once("\n---\n").unwrap_or((rest.trim_end(), ""));
        let found = answer(input);
        let _ = writeln!(blessed, "=== {title}\n{input}\n---\n{}\n", found.trim());
        if found.trim() != expected.trim() {
            let name = file.display();
            let _ = writeln!(
                wrong,
                "{name}: {title}\nexpected:\n{}\nfound:\n{}\n",
                expected.trim(),
                found.trim()
            );
        }
        count += 1;
    }
    assert!(count > 0, "no case in {}", file.display());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, blessed.trim_end().to_owned() + "\n").expect("a writable case file");
        return None;
    }
    (!wrong.is_empty()).then_some(wrong)
}

fn keep(mut all: String, line: &str) -> String {
    all.push_str(line);
    all.push('\n');
    all
}
