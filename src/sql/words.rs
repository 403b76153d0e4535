//! Words that the lexer and the judges must tell from names.

use crate::flavour::Flavour;

/// Words that stand before `(` without calling anything; the digest puts a space behind them.
pub(super) fn is_spaced_before_paren(word: &[u8]) -> bool {
    match word.len() {
        2 => matches!(word, b"in" | b"as" | b"on" | b"or" | b"by" | b"is" | b"of"),
        3 => matches!(word, b"and" | b"xor" | b"not" | b"any" | b"all" | b"for" | b"key" | b"div" | b"row"),
        4 => matches!(
            word,
            b"from" | b"join" | b"over" | b"with" | b"when" | b"then" | b"else" | b"case" | b"like" | b"some"
        ),
        5 => matches!(
            word,
            b"where"
                | b"group"
                | b"using"
                | b"union"
                | b"value"
                | b"limit"
                | b"index"
                | b"rlike"
                | b"table"
                | b"match"
        ),
        6 => matches!(
            word,
            b"select" | b"values" | b"exists" | b"having" | b"except" | b"regexp" | b"binary" | b"rollup"
        ),
        7 => matches!(word, b"between" | b"lateral" | b"against" | b"columns" | b"collate" | b"primary"),
        8 => matches!(word, b"interval" | b"distinct"),
        9 => matches!(word, b"partition" | b"intersect" | b"returning"),
        10 => word == b"references",
        11 => word == b"distinctrow",
        13 => word == b"straight_join",
        _ => false,
    }
}

/// True if this word before `(` is never the name of what is called: a keyword, or a type that both grammars
/// reserve (`CAST(x AS DECIMAL(10, 2))`). Found on live servers: MySQL 9.7 lets none of them be called without
/// quotes, MariaDB 10.11 these few.
pub(super) fn is_keyword_before_paren(word: &[u8], flavour: Flavour) -> bool {
    let callable = matches!(word, b"lateral" | b"of" | b"columns" | b"rollup" | b"against");
    if flavour == Flavour::MariaDb && callable {
        return false;
    }
    is_spaced_before_paren(word) || is_reserved_type(word)
}

fn is_reserved_type(word: &[u8]) -> bool {
    matches!(
        word,
        b"tinyint"
            | b"smallint"
            | b"mediumint"
            | b"int"
            | b"integer"
            | b"bigint"
            | b"float"
            | b"double"
            | b"real"
            | b"decimal"
            | b"dec"
            | b"numeric"
            | b"varchar"
            | b"varbinary"
            | b"character"
    )
}

/// Types that are no reserved words: whether `datetime(6)` is a type depends on where it stands.
pub(super) fn is_plain_type(word: &[u8]) -> bool {
    matches!(
        word,
        b"datetime"
            | b"bit"
            | b"text"
            | b"blob"
            | b"nchar"
            | b"nvarchar"
            | b"fixed"
            | b"vector"
            | b"signed"
            | b"unsigned"
            | b"enum"
            | b"set"
    )
}

/// True if the name calls a stored function when a space stands before its `(`.
pub(super) fn is_stored_after_space(word: &[u8], flavour: Flavour) -> bool {
    is_space_sensitive(word) || (flavour == Flavour::MariaDb && is_window_function(word))
}

/// Keywords in MySQL; in MariaDB free for stored functions but for `name(`.
fn is_window_function(word: &[u8]) -> bool {
    let names: &[&[u8]] = &[
        b"cume_dist",
        b"dense_rank",
        b"first_value",
        b"lag",
        b"lead",
        b"median",
        b"nth_value",
        b"ntile",
        b"percent_rank",
        b"percentile_cont",
        b"percentile_disc",
        b"rank",
    ];
    names.contains(&word)
}

/// True if a digest must tell `name(` from `name (`.
pub(super) fn is_space_kept(word: &[u8]) -> bool {
    is_space_sensitive(word) || is_window_function(word)
}

/// Builtins that are keywords only when `(` follows at once (unless sql_mode has IGNORE_SPACE): with a space
/// between, the name is that of a stored function.
fn is_space_sensitive(word: &[u8]) -> bool {
    match word.len() {
        3 => matches!(word, b"max" | b"mid" | b"min" | b"now" | b"std" | b"sum"),
        4 => matches!(word, b"cast" | b"trim"),
        5 => word == b"count",
        6 => matches!(word, b"bit_or" | b"stddev" | b"substr"),
        7 => matches!(
            word,
            b"adddate"
                | b"bit_and"
                | b"bit_xor"
                | b"curdate"
                | b"curtime"
                | b"extract"
                | b"subdate"
                | b"sysdate"
                | b"var_pop"
        ),
        8 => matches!(word, b"date_add" | b"date_sub" | b"position" | b"variance" | b"var_samp"),
        9 => word == b"substring",
        10 => matches!(word, b"stddev_pop" | b"st_collect"),
        11 => matches!(word, b"stddev_samp" | b"system_user"),
        12 => matches!(word, b"group_concat" | b"session_user"),
        13 => word == b"json_arrayagg",
        14 => word == b"json_objectagg",
        19 => word == b"json_duality_object",
        _ => false,
    }
}

/// A word in lower case, for comparison; empty where it is too long to be anything known.
#[derive(Clone, Copy)]
pub(super) struct Lower {
    bytes: [u8; 64],
    len: u8,
}

impl Lower {
    pub(super) const EMPTY: Lower = Lower { bytes: [0; 64], len: 0 };

    pub(super) fn of(word: &[u8]) -> Self {
        let mut lower = Self::EMPTY;
        if word.len() <= lower.bytes.len() {
            lower.len = word.len() as u8;
            for (to, from) in lower.bytes.iter_mut().zip(word) {
                *to = from.to_ascii_lowercase();
            }
        }
        lower
    }

    pub(super) fn get(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for Lower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.get()))
    }
}
