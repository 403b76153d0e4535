//! `pins`: what ties sessions to their connections, and for how long.

use crate::admin::View;
use crate::admin::table::{Keep, Row, Table, Value, float, integer, text};
use crate::sql::PinCause;

pub(super) const PINS: Table = Table {
    name: "pins",
    doc: "What ties sessions to one connection: now, and since start.",
    columns: &[
        text("cause", "As in SHOW SESSIONS."),
        integer("sessions", "Tied by it now."),
        integer("times", "How often it tied a session."),
        float("total_seconds", 3, "How long, together."),
        float("longest_seconds", 3, "How long at most."),
        text("ends_with", "What lets the session go; so do a reset and the session's end."),
    ],
    key: "cause",
    keep: Keep::First,
    rows,
};

fn rows(view: &View) -> Vec<Row> {
    let row = |pin: &crate::admin::view::PinView| {
        vec![
            Value::text(pin.cause.to_string()),
            Value::count(pin.sessions),
            Value::count(pin.set),
            Value::seconds(pin.total, 3),
            Value::seconds(pin.longest, 3),
            Value::text(ends_with(pin.cause)),
        ]
    };
    view.pins.iter().map(row).collect()
}

fn ends_with(cause: PinCause) -> &'static str {
    match cause {
        PinCause::TemporaryTable => "DROP TABLE of the last one; one made where nobody sees its name stays",
        PinCause::TableLocks => "UNLOCK TABLES, START TRANSACTION",
        PinCause::GlobalReadLock => "UNLOCK TABLES",
        PinCause::InstanceLock => "UNLOCK INSTANCE, BACKUP STAGE END, BACKUP UNLOCK",
        PinCause::UserLock => "RELEASE_LOCK of the last one, RELEASE_ALL_LOCKS",
        PinCause::Handler => "HANDLER CLOSE of the last one",
        PinCause::SessionVariable => {
            "setting it back: sql_log_bin=1, gtid_next=AUTOMATIC, timestamp=DEFAULT, …"
        }
        PinCause::FoundRows => "the next SELECT",
        PinCause::LastInsertId => "the end of its statement: the value is carried",
        PinCause::LongData => "executing, resetting or closing the statement",
        PinCause::Cursor => "its last row, or resetting or closing the statement",
        PinCause::Xa => "XA COMMIT, XA ROLLBACK; XA PREPARE where that detaches",
        PinCause::NextTransaction => "the next transaction",
        PinCause::UnseenTransaction => "the next statement that touches a table, COMMIT or ROLLBACK",
        PinCause::UserVariable => "setting each to a literal, where all names are known",
        PinCause::PreparedText => "DEALLOCATE PREPARE, where all names are known",
        PinCause::Role | PinCause::Unknown => "nothing else",
    }
}
