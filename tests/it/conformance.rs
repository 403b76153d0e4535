//! What the conformance harness reads from the output of test runners: `tests/conformance/results.py`, which needs
//! python3. A case is the format, and perhaps a prefix, in a line, then the output.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::cases;

#[test]
fn output_of_runners_is_read() {
    cases::run("conformance", |input| {
        let (format, output) = input.split_once('\n').expect("a format and an output");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/results.py");
        let mut python = Command::new("python3")
            .arg(script)
            .args(format.split(' '))
            .envs([("HOST", "127.0.0.1"), ("PORT", "40123")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3; scripts/install-conformance gets it");
        // Dropped, so that the script sees the end of it. It may have ended before it read all.
        let _ = python.stdin.take().expect("a pipe").write_all(output.as_bytes());
        let done = python.wait_with_output().expect("its output");
        let mut found = String::from_utf8(done.stdout).expect("text").replace('\t', " ");
        if !done.status.success() {
            found += &String::from_utf8_lossy(&done.stderr);
        }
        found
    });
}
