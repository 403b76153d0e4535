//! Durations and sizes as people write them: `500ms`, `10s`, `16MiB`.

use std::time::Duration;

const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `500ms`, `10s`, `5m`, `8h`, `1d`; `None` for everything else.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &TIME_UNITS).map(Duration::from_millis)
}

/// `512B`, `64KiB`, `16MiB`, `1GiB`; `None` for everything else.
pub(super) fn parse_size(text: &str) -> Option<usize> {
    parse(text, &SIZE_UNITS).and_then(|bytes| usize::try_from(bytes).ok())
}

/// The shortest text that `parse_duration` reads back.
pub(super) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &TIME_UNITS)
}

/// The shortest text that `parse_size` reads back.
pub(super) fn show_size(bytes: usize) -> String {
    show(bytes as u64, &SIZE_UNITS)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim_start_matches(' ');
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let fits = |factor: u64| value >= factor && value.is_multiple_of(factor);
    let (unit, factor) = units
        .iter()
        .copied()
        .find(|(_, factor)| fits(*factor))
        .unwrap_or_else(|| units.last().copied().unwrap_or(("", 1)));
    format!("{}{unit}", value / factor)
}
