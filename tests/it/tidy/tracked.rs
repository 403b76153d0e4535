//! What is kept in the repository: nothing of one machine, nothing huge.

use std::process::Command;

use super::source::root;

/// A file of the repository as it stands in the work tree.
pub(super) struct Tracked {
    path: String,
    bytes: Vec<u8>,
}

/// Above this a file is most likely something built, downloaded or recorded.
const FILE_LEN_MAX: usize = 512 * 1024;

/// Folders of the machines this was written on; put together here so that this file does not hold them.
const MACHINE_PATHS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Every tracked file. Where git cannot say (a source archive), none.
pub(super) fn files() -> Vec<Tracked> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let Ok(listed) = listed else { return Vec::new() };
    let paths = String::from_utf8_lossy(&listed.stdout).into_owned();
    let paths = paths.split('\0').filter(|path| !path.is_empty());
    // One that is deleted and not yet committed cannot be read.
    let read =
        |path: &str| Some(Tracked { path: path.to_owned(), bytes: std::fs::read(root().join(path)).ok()? });
    paths.filter_map(read).collect()
}

pub(super) fn complaints(file: &Tracked) -> Vec<String> {
    let Tracked { path, bytes } = file;
    if bytes.len() > FILE_LEN_MAX {
        return vec![format!("{path}: {} bytes; large files do not belong here", bytes.len())];
    }
    let text = String::from_utf8_lossy(bytes);
    let mut complaints = Vec::new();
    for (line, words) in (1..).zip(text.lines()) {
        for machine in MACHINE_PATHS {
            let found = words.match_indices(machine).any(|(at, _)| stands_alone(&words[..at]));
            if found {
                complaints.push(format!("{path}:{line}: {machine} is a folder of one machine"));
            }
        }
    }
    complaints
}

/// Whether a path begins here, and not the middle of one.
fn stands_alone(before: &str) -> bool {
    !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '}' | ')'))
}

#[test]
fn a_machine_s_folder_is_found_and_parts_of_other_paths_are_not() {
    let found =
        |text: &str| complaints(&Tracked { path: "a".to_owned(), bytes: text.as_bytes().to_vec() }).len();
    for machine in MACHINE_PATHS {
        assert_eq!(found(&format!("x\ncd {machine}main")), 1);
        assert_eq!(found(&format!("\"{machine}\"")), 1);
        assert_eq!(found(&format!("target{machine}x and ${{dir}}{machine}x")), 0);
    }
    assert_eq!(found("/usr/local/bin"), 0);
}

#[test]
fn a_huge_file_is_found() {
    let huge = Tracked { path: "a.whl".to_owned(), bytes: vec![0; FILE_LEN_MAX + 1] };
    assert_eq!(complaints(&huge), ["a.whl: 524289 bytes; large files do not belong here"]);
}
