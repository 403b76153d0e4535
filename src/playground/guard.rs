//! Ends the servers when this process ends, however it ends.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A small shell that waits for the end of its input, which is the end of this process at the latest: then it kills
/// the servers whose process ids it finds in the folder and, of a temporary cluster, removes the folder.
///
/// Not PR_SET_PDEATHSIG: that fires when the *thread* that started the server ends, and tests share a cluster
/// over many threads.
pub(super) struct Guard(Child);

/// Each server writes its process id before it becomes the server, so that there is no moment at which one
/// runs and cannot be found. With the folder gone, a server that was just being started cannot write it, and ends.
const WATCH: &str = r#"
read -r _ || :
for file in "$1"/*/pid; do
    [ -s "$file" ] && kill -9 "$(cat "$file")" 2>/dev/null && rm -f "$file"
done
[ "$2" = temporary ] || exit 0
for try in 1 2 3 4 5 6 7 8 9; do
    rm -rf "$1" 2>/dev/null && exit 0
    sleep 0.1
done
"#;

impl Guard {
    pub(super) fn over(folder: &Path, temporary: bool) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCH, "pointsman-guard"]).arg(folder);
        command.arg(if temporary { "temporary" } else { "kept" });
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C at the terminal is for the proxy; its servers live until it has drained.
        command.process_group(0).current_dir("/");
        command.spawn().map(Guard)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // A guard that cannot be waited for has done its work or never will.
        let _ = self.0.wait();
    }
}
