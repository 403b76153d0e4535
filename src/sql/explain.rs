//! Says where a statement would go and why, for a session that has just begun.

use std::fmt::{self, Write as _};

use super::{Access, Catalog, Dialect, Hint, Judge, Judged, Kind, WriteBecause};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Primary,
    Replica,
    /// The proxy answers or acts itself.
    Proxy,
}

/// Where a statement goes, and why. `Display` is text for people; `json` one line for programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub target: Target,
    pub because: String,
    pub judged: Judged,
}

#[derive(Clone, Debug)]
pub struct ExplainOptions {
    pub dialect: Dialect,
    /// The default schema, by which unqualified names are looked up in the catalog.
    pub schema: Option<String>,
    /// Each line of the input is a statement; otherwise all of it is one text.
    pub lines: bool,
    /// One JSON object a line.
    pub json: bool,
}

/// The body of `pointsman explain`: what it prints for this input. Lines that are empty are passed over.
pub fn explain(input: &[u8], options: &ExplainOptions, catalog: &Catalog) -> String {
    let judge = Judge::new(1_000);
    let explain = |text: &[u8]| {
        Explanation::of(judge.judge(text, &options.dialect, options.schema.as_deref(), catalog))
    };
    let texts: Vec<&[u8]> = if options.lines {
        input.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect()
    } else {
        vec![input]
    };
    let mut output = String::new();
    for text in texts.into_iter().filter(|text| !options.lines || !text.trim_ascii().is_empty()) {
        let explanation = explain(text);
        let line = match (options.json, options.lines) {
            (true, _) => explanation.json(),
            (false, true) => explanation.line(),
            (false, false) => explanation.to_string(),
        };
        output.push_str(&line);
        output.push('\n');
    }
    output
}

impl Explanation {
    pub fn of(judged: Judged) -> Self {
        let (target, because) = target(&judged);
        Self { target, because, judged }
    }

    /// `replica: read-only` and, if there are any, the pins.
    pub fn line(&self) -> String {
        let pins = self.pins().join(", ");
        let pins = if pins.is_empty() { pins } else { format!(" [pins {pins}]") };
        format!("{}: {}{pins}", self.target, self.because)
    }

    pub fn json(&self) -> String {
        let statement = &self.judged.statement;
        let mut json = format!("{{\"target\":{}", quoted(&self.target.to_string()));
        let mut list = |key: &str, items: &[String]| {
            let items: Vec<_> = items.iter().map(|item| quoted(item)).collect();
            write!(json, ",\"{key}\":[{}]", items.join(",")).expect("a String takes all");
        };
        list("pins", &self.pins());
        list("unpins", &statement.unpins.iter().map(|cause| cause.to_string()).collect::<Vec<_>>());
        list("needs", &statement.needs.iter().map(str::to_owned).collect::<Vec<_>>());
        let mut text = |key: &str, value: &str| {
            write!(json, ",\"{key}\":{}", quoted(value)).expect("a String takes all");
        };
        text("because", &self.because);
        text("kind", &statement.kind.to_string());
        if let Some(hint) = &self.judged.hint {
            text("hint", &hint.to_string());
        }
        if let Some(level) = &self.judged.consistency {
            text("consistency", &level.to_string());
        }
        text("digest", &statement.digest);
        json.push('}');
        json
    }

    fn pins(&self) -> Vec<String> {
        self.judged.statement.pins.iter().map(|cause| cause.to_string()).collect()
    }
}

/// Where the statement goes if nothing came before it. A statement that pins, or that reads what others left
/// behind, goes to the primary: that is where a session is held.
fn target(judged: &Judged) -> (Target, String) {
    let statement = &judged.statement;
    let mut left_behind = statement.needs;
    left_behind.connection_id = false;
    left_behind.process_list = false;
    left_behind.user_variable = false;
    match (&statement.kind, &statement.access, &judged.hint) {
        (Kind::Kill { .. }, _, _) => {
            (Target::Proxy, "the proxy ends the session or statement of that id itself".to_owned())
        }
        (Kind::Set, Access::Write(WriteBecause::ProxyVariable), _) => {
            (Target::Proxy, "the proxy keeps this variable itself".to_owned())
        }
        (_, Access::Write(because), _) => (Target::Primary, because.to_string()),
        _ if !statement.pins.is_empty() => {
            let causes: Vec<_> = statement.pins.iter().map(|cause| cause.to_string()).collect();
            (Target::Primary, format!("pins the session: {}", causes.join(", ")))
        }
        _ if !left_behind.is_empty() => {
            let needs: Vec<_> = left_behind.iter().collect();
            (Target::Primary, format!("reads what the session left on its connection: {}", needs.join(", ")))
        }
        (_, Access::Read, Some(Hint::Primary)) => {
            (Target::Primary, "read-only; a hint asks for the primary".to_owned())
        }
        (_, Access::Read, Some(Hint::Replica)) => {
            (Target::Replica, "read-only; a hint asks for a replica".to_owned())
        }
        (_, Access::Read, Some(Hint::Server(name))) => {
            (Target::Replica, format!("read-only; a hint asks for server {name}"))
        }
        (_, Access::Read, None) => (Target::Replica, "read-only".to_owned()),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Primary => "primary",
            Target::Replica => "replica",
            Target::Proxy => "proxy",
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statement = &self.judged.statement;
        write!(f, "target   {}\nbecause  {}\nkind     {}", self.target, self.because, statement.kind)?;
        let mut list = |key: &str, items: Vec<String>| {
            if items.is_empty() { Ok(()) } else { write!(f, "\n{key:<8} {}", items.join(", ")) }
        };
        list("pins", self.pins())?;
        list("unpins", statement.unpins.iter().map(|cause| cause.to_string()).collect())?;
        list("needs", statement.needs.iter().map(str::to_owned).collect())?;
        let hint = self.judged.hint.iter().map(|hint| hint.to_string());
        list("hint", hint.chain(self.judged.consistency.iter().map(|level| level.to_string())).collect())?;
        write!(f, "\ndigest   {}", statement.digest)
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\t' => json.push_str("\\t"),
            '\r' => json.push_str("\\r"),
            '\0'..='\x1F' | '\x7F' => write!(json, "\\u{:04x}", c as u32).expect("a String takes all"),
            _ => json.push(c),
        }
    }
    json.push('"');
    json
}
