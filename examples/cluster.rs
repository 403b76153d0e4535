//! Starts a cluster with no proxy before it, until its input ends or Ctrl-C:
//! `cargo run --example cluster -- [mysql|mariadb] [DIR to keep]`.

use std::io::{self, Write};
use std::time::Instant;

use pointsman::flavour::Flavour;
use pointsman::playground::{APP, CONTROL, Cluster, Options, ROOT};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let flavour = match arguments.next().as_deref() {
        Some("mysql") => Some(Flavour::MySql),
        Some("mariadb") => Some(Flavour::MariaDb),
        _ => None,
    };
    let mut options = Options::new(flavour);
    options.keep = arguments.next().map(Into::into);
    let begun = Instant::now();
    let say = |line: &str| {
        let _ = writeln!(io::stderr(), "[{:5.1}s] {line}", begun.elapsed().as_secs_f64());
    };
    let cluster = Cluster::start(&options, &say).await?;
    for server in cluster.servers() {
        let memory = server.resident().unwrap_or_default() >> 20;
        say(&format!(
            "{} {} pid {} {memory} MiB",
            server.name,
            server.address(),
            server.pid().unwrap_or_default()
        ));
    }
    for account in [ROOT, APP, CONTROL] {
        say(&format!("account {} password {}", account.user, account.password));
    }
    tokio::signal::ctrl_c().await?;
    cluster.stop().await;
    Ok(())
}
