//! The journal is read back as it was written, however its end was cut.

use std::time::Duration;

use pointsman::control::failover::durability::Class;
use pointsman::control::failover::journal::Leadership as _;
use pointsman::control::failover::journal::{Began, Corrupt, Journal as _, Record, read, whole_len};
use pointsman::control::failover::local::{FileJournal, FileLeadership};
use pointsman::control::failover::plan::{Because, Kind, WhyReturned};
use pointsman::control::semi_sync::SourceSide;

fn records() -> Vec<Record> {
    let began = Began {
        epoch: 2,
        kind: Kind::Failover,
        from: "east".to_owned(),
        wanted: None,
        members: vec!["west".to_owned(), "[fd00::1]:3306".to_owned()],
        ackers: vec!["west".to_owned()],
        quorum: 1,
        class: Class::Lossless,
        semi_sync: Some(SourceSide {
            enabled: true,
            active: false,
            before_visible: true,
            timeout: Duration::from_secs(86_400),
            waits_for_none: true,
            wanted: 1,
            clients: 0,
            waiting: 0,
        }),
        baseline: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".to_owned(),
        floor: String::new(),
        at: 1_700_000_000_000,
    };
    let step = |outcome: Option<&str>| Record::Step {
        epoch: 2,
        server: "west".to_owned(),
        what: "stop_receiver".to_owned(),
        outcome: outcome.map(str::to_owned),
        at: 7,
    };
    vec![
        Record::Adopted { epoch: 1, server: "east".to_owned() },
        Record::Began(Box::new(began)),
        step(None),
        step(Some("failed: 100 % lost,\nüber and out = gone")),
        Record::Chosen {
            epoch: 2,
            server: "west".to_owned(),
            because: Because::Returned(WhyReturned::Answers),
            floor: "0-1-5,0-2-9".to_owned(),
            acked_missing: "0-1-4".to_owned(),
        },
        Record::Held { epoch: 1, until: Some(9) },
        Record::Held { epoch: 1, until: None },
        Record::Released { epoch: 1 },
        Record::Opened { epoch: 2, server: "west".to_owned(), kind: Kind::Failover, at: 8 },
    ]
}

#[test]
fn records_are_read_as_they_were_written() {
    let text: String = records().iter().map(Record::line).collect();
    assert_eq!(read(&text), Ok(records()));
    assert_eq!(whole_len(&text), text.len());
}

#[test]
fn a_line_cut_short_at_the_end_was_never_decided() {
    let lines: Vec<String> = records().iter().map(Record::line).collect();
    let (last, before) = lines.split_last().expect("several");
    let before: String = before.concat();
    for cut in 0..last.len() {
        if !last.is_char_boundary(cut) {
            continue;
        }
        let text = format!("{before}{}", &last[..cut]);
        assert_eq!(read(&text).map(|records| records.len()), Ok(lines.len() - 1), "cut at {cut}");
        assert_eq!(whole_len(&text), before.len());
    }
}

#[test]
fn a_line_spoilt_in_the_midst_stops_everything() {
    let text: String = records().iter().map(Record::line).collect();
    let spoilt = text.replacen("from=east", "from=west", 1);
    assert_eq!(read(&spoilt), Err(Corrupt { line: 2 }));
}

#[test]
fn the_file_goes_on_where_it_was_whole_and_one_process_holds_it() {
    let folder = std::env::temp_dir().join(format!("pointsman-journal-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let leads = FileLeadership::take(&folder).expect("a folder");
    assert!(leads.leads());
    assert!(!FileLeadership::take(&folder).expect("the same").leads(), "there is one decider");
    let (mut journal, before) = FileJournal::open(&folder).expect("a new one");
    assert_eq!(before, []);
    journal.append(&records()[..2]).expect("written");
    drop(journal);
    let path = folder.join("failover.journal");
    let mut text = std::fs::read_to_string(&path).expect("there");
    text.push_str("0123456789abcdef opened epo");
    std::fs::write(&path, text).expect("spoilt");
    let (mut journal, before) = FileJournal::open(&folder).expect("cut short, and whole before that");
    assert_eq!(before, records()[..2]);
    journal.append(&records()[2..]).expect("written");
    drop(journal);
    assert_eq!(FileJournal::open(&folder).expect("whole").1, records());
    drop(leads);
    assert!(FileLeadership::take(&folder).expect("free again").leads());
    let _ = std::fs::remove_dir_all(&folder);
}
