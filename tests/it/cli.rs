//! The program as a user starts it: exit codes and what is printed.

use std::process::{Command, Output};

fn pointsman(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman")).args(arguments).output().expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn help_names_every_command_and_exit_code() {
    let output = pointsman(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    for word in ["run", "check", "playground", "explain", "print-config", "Exit codes:", "  3  "] {
        assert!(stdout(&output).contains(word), "{word} is missing in\n{}", stdout(&output));
    }
}

#[test]
fn a_wrong_command_line_is_2() {
    for arguments in [
        &[][..],
        &["run"],
        &["frobnicate"],
        &["playground", "--replicas", "99"],
        &["playground", "--port", "65535"],
    ] {
        assert_eq!(pointsman(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_playground_says_at_once_that_its_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let output = pointsman(&["playground", "--port", &port.to_string()]);
    assert_eq!(output.status.code(), Some(3));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.contains(&format!("cannot listen on 127.0.0.1:{port}; choose another with --port")),
        "{words}"
    );
    // No server was started, or its line would be there.
    assert_eq!(stdout(&output), "");
}

#[test]
fn check_prints_every_mistake_and_is_1() {
    let folder = tempfolder("check");
    let file = folder.join("wrong.toml");
    std::fs::write(
        &file,
        "[cluster]\nservers = [\"a\"]\ncontrol = { user = \"u\" }\n[log]\nlevel = \"inof\"\n",
    )
    .expect("writable");
    let name = file.to_str().expect("text");
    let output = pointsman(&["check", name]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<String> = stdout(&output).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with(&format!("{name}:3: cluster.control.password: missing; ")), "{}", lines[0]);
    assert!(lines[1].starts_with(&format!("{name}:5: log.level: ")), "{}", lines[1]);
    assert_eq!(pointsman(&["run", "--config", name]).status.code(), Some(1));
    assert_eq!(pointsman(&["check", "/nonexistent.toml"]).status.code(), Some(1));
    std::fs::remove_dir_all(folder).expect("removable");
}

#[test]
fn what_print_config_prints_is_checked_as_good() {
    let printed = pointsman(&["print-config"]);
    assert_eq!(printed.status.code(), Some(0));
    let folder = tempfolder("print-config");
    let file = folder.join("proxy.toml");
    std::fs::write(&file, &printed.stdout).expect("writable");
    let checked = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .arg("check")
        .arg(&file)
        .env("POINTSMAN_PASSWORD", "x")
        .output()
        .expect("the program starts");
    assert_eq!(stdout(&checked), format!("{}: good, 3 servers\n", file.display()));
    assert_eq!(checked.status.code(), Some(0));
    std::fs::remove_dir_all(folder).expect("removable");
}

fn tempfolder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("pointsman-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}
