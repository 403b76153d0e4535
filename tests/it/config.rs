//! The configuration file: what is accepted, and every complaint word by word.

use std::io;
use std::path::Path;
use std::time::Duration;

use pointsman::config::{self, Complaints, Config, Secret, Surroundings};

use crate::cases;

/// A world of two variables and four files.
fn parse(text: &str) -> Result<Config, Complaints> {
    let surroundings = Surroundings {
        folder: Path::new("/etc/pointsman"),
        variable: &|name| match name {
            "POINTSMAN_PASSWORD" => Some("from the environment".to_owned()),
            "APP_PASSWORD" | "OPERATOR_PASSWORD" | "REPLICATION_PASSWORD" => Some("secret".to_owned()),
            _ => None,
        },
        read: &|path| match path.to_str() {
            Some("/etc/pointsman/password") => Ok(b"from a file\n".to_vec()),
            Some(name) if name.ends_with("key.pem") => Ok(b"-----BEGIN PRIVATE KEY-----\n".to_vec()),
            Some(name) if name.ends_with("absent.pem") => Err(io::Error::from(io::ErrorKind::NotFound)),
            Some(name) if name.ends_with(".pem") => Ok(b"-----BEGIN CERTIFICATE-----\n".to_vec()),
            _ => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
        },
    };
    Config::parse("p.toml", text, &surroundings)
}

fn own_file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn complaints() {
    cases::run("config", |input| match parse(input) {
        Ok(config) => format!("accepted: {config:#?}"),
        Err(complaints) => complaints.to_string(),
    });
}

#[test]
fn print_config_is_the_documented_file() {
    if std::env::var_os("BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/proxy.toml");
        std::fs::write(path, config::print()).expect("a writable file");
    }
    assert_eq!(config::print(), own_file("proxy.toml"), "BLESS=1 rewrites config/proxy.toml");
}

#[test]
fn the_documented_file_holds_the_defaults() {
    let mut config = parse(&own_file("proxy.toml")).expect("the documented file is valid");
    assert_eq!(config.cluster.servers.len(), 3);
    assert_eq!(config.cluster.control.user, "pointsman");
    assert_eq!(config.cluster.control.password.reveal(), "from the environment");
    config.cluster.servers.clear();
    config.cluster.control.user.clear();
    config.cluster.control.password = Secret::new("");
    assert_eq!(config, Config::default());
}

#[test]
fn every_example_of_the_documented_file_is_accepted() {
    let text = own_file("proxy.toml");
    let uncomment = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with("[[") || rest.split_once(" = ").is_some_and(is_key) => rest.to_owned(),
        _ => line.to_owned(),
    };
    let lines: Vec<String> = text.lines().map(uncomment).collect();
    let config = parse(&lines.join("\n")).expect("every example is valid");
    assert_eq!(config.users.len(), 1);
    assert_eq!(config.admin.users.len(), 1);
    assert!(config.listen.tls.certificate.is_some() && config.listen.tls.client_ca.is_some());
    assert!(config.cluster.tls.ca.is_some() && config.cluster.tls.key.is_some());
    for (key, value) in config::settings(&config) {
        let value = value.unwrap_or_else(|| panic!("{key} is given, and SHOW SETTINGS does not show it"));
        assert!(!value.contains("secret") && value != "from the environment", "{key} shows a password");
    }
}

fn is_key((name, _): (&str, &str)) -> bool {
    name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[test]
fn the_minimal_file_runs() {
    let config = parse(&own_file("minimal.toml")).expect("the minimal file is valid");
    assert_eq!(config.cluster.servers[2].address, "10.0.0.3:3306");
    assert_eq!(config.cluster.control.interval, Duration::from_millis(500));
}

#[test]
fn secrets_come_from_texts_variables_and_files_and_are_not_shown() {
    let with = |password: &str| {
        format!("[cluster]\nservers = [\"a\"]\ncontrol = {{ user = \"u\", password = {password} }}")
    };
    for (password, meant) in [
        ("\"literal\"", "literal"),
        ("{ env = \"POINTSMAN_PASSWORD\" }", "from the environment"),
        ("{ file = \"password\" }", "from a file"),
    ] {
        let config = parse(&with(password)).expect("valid");
        assert_eq!(config.cluster.control.password.reveal(), meant);
        assert!(!format!("{config:?}").contains(meant));
    }
}
