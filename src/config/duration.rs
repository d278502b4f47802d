//! Durations as an operator writes them: `"500ms"`, `"10s"`, `"10m"`, `"2h"`, `"1d"`.

use std::time::Duration;

/// The units, the longest first, in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a whole number followed by one unit; `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let &(_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(milliseconds)?))
}

/// Writes a duration in the longest unit that divides it.
pub(crate) fn show(duration: Duration) -> String {
    let length = duration.as_millis();
    if length == 0 {
        return "0s".to_owned();
    }
    UNITS
        .iter()
        .find(|(_, unit)| length.is_multiple_of(u128::from(*unit)))
        .map_or_else(String::new, |(name, unit)| format!("{}{name}", length / u128::from(*unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("1ms", 1),
            ("500ms", 500),
            ("10s", 10_000),
            ("90s", 90_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse(text), Some(duration), "{text}");
            assert_eq!(show(duration), text);
        }
    }

    #[test]
    fn writes_the_longest_unit() {
        assert_eq!(show(Duration::from_secs(3_600)), "1h");
        assert_eq!(show(Duration::from_secs(172_800)), "2d");
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "10",
            "s",
            "10 s",
            "10S",
            "10min",
            "-1s",
            "+1s",
            "1.5h",
            "1h30m",
            "m10",
            "1e3s",
            "99999999999999999999s",
            "18446744073709551615d",
            "١s",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
