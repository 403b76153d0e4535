//! The configuration that runs, key by key, for people. Passwords are not among the values.

use super::Config;
use super::document::{KEYS, Shown};

/// Every documented key with its value as a text; `None` where none is given and none is the default.
pub fn settings(config: &Config) -> Vec<(String, Option<String>)> {
    KEYS.iter()
        .map(|key| {
            let path = key.path();
            let value = match &key.shown {
                Shown::Default(show) => Some(unquoted(&show(config))),
                Shown::Replace(_) | Shown::Example(_) => without_default(config, &path),
            };
            (path, value)
        })
        .chain([("users".to_owned(), names(&config.users))])
        .collect()
}

/// The value of a key that has no default. A secret is only said to be there.
fn without_default(config: &Config, path: &str) -> Option<String> {
    let file = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let (front, back) = (&config.listen.tls, &config.cluster.tls);
    match path {
        "cluster.servers" => Some(servers(config)),
        "cluster.control.user" => Some(config.cluster.control.user.clone()),
        "cluster.control.password" => Some("***".to_owned()),
        "cluster.tls.ca" => file(&back.ca),
        "cluster.tls.certificate" => file(&back.certificate),
        "cluster.tls.key" => file(&back.key),
        "listen.tls.certificate" => file(&front.certificate),
        "listen.tls.key" => file(&front.key),
        "listen.tls.client_ca" => file(&front.client_ca),
        "failover.replication_user" => {
            Some(config.failover.replication_user.clone()).filter(|user| !user.is_empty())
        }
        "failover.replication_password" => {
            (!config.failover.replication_password.reveal().is_empty()).then(|| "***".to_owned())
        }
        "listen.consistency" => config.listen.consistency.map(|level| level.to_string()),
        "routing.users" => levels(&config.routing.users),
        "listen.socket" => config.listen.socket.as_ref().map(|socket| socket.path.display().to_string()),
        "listen.proxy_protocol" => config.listen.proxy_protocol.as_ref().map(networks),
        "admin.users" => names(&config.admin.users),
        _ => None,
    }
}

fn networks(rule: &super::ProxyProtocol) -> String {
    let from: Vec<String> = rule.from.iter().map(ToString::to_string).collect();
    format!("from {}{}", from.join(", "), if rule.required { ", required" } else { "" })
}

fn servers(config: &Config) -> String {
    let shown = config.cluster.servers.iter().map(|server| {
        let mut shown = server.address.clone();
        if server.name != server.address {
            shown = format!("{} = {shown}", server.name);
        }
        if server.weight != 1 {
            shown.push_str(&format!(" weight {}", server.weight));
        }
        if server.draining {
            shown.push_str(" draining");
        }
        if server.no_promote {
            shown.push_str(" no_promote");
        }
        if server.priority != 0 {
            shown.push_str(&format!(" priority {}", server.priority));
        }
        if server.proxy_protocol {
            shown.push_str(" proxy_protocol");
        }
        shown
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn names(users: &[super::User]) -> Option<String> {
    let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn levels(users: &[super::UserLevel]) -> Option<String> {
    let shown: Vec<String> =
        users.iter().map(|level| format!("{} {}", level.name, level.consistency)).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// TOML's quotes are of no use to people who only look.
fn unquoted(value: &str) -> String {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value).to_owned()
}
