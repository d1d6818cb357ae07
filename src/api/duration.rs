//! Durations as people write and read them.

use std::time::Duration;

/// Reads `500ms`, `8s`, `2m`, `1h`, or a bare number of seconds, fractions allowed: `0.5`, `1.5s`.
///
/// # Errors
/// A sentence about what is wrong, without the text itself.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds_per_unit = match unit.trim_start() {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("a duration is a number with a unit: 500ms, 8s, 2m, 1h".to_owned()),
    };
    let number: f64 =
        number.parse().map_err(|_| "a duration is a number with a unit: 500ms, 8s, 2m, 1h".to_owned())?;
    let seconds = number * seconds_per_unit;
    // Ten years: longer than anybody means, and far from any overflow of the clock.
    if seconds > 10.0 * 365.0 * 86_400.0 {
        return Err("a duration is at most ten years".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A duration for a sentence, rounded to what a reader cares about: `38ms`, `1.5s`, `12s`, `3m20s`, `2h05m`, `3d04h`.
#[must_use]
pub fn brief(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = duration.as_secs();
    match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..10_000 if millis % 1_000 >= 100 => format!("{}.{}s", seconds, millis % 1_000 / 100),
        1_000..60_000 => format!("{seconds}s"),
        60_000..3_600_000 if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        60_000..3_600_000 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600_000..86_400_000 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (text, millis) in [
            ("500ms", 500),
            ("8s", 8_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("3", 3_000),
            ("0.5", 500),
            ("0", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "fast", "-1s", "1 week", "1e3", "1.2.3", "99999999h", "."] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_in_a_sentence_is_short() {
        for (millis, text) in [
            (0, "0ms"),
            (38, "38ms"),
            (1_000, "1s"),
            (1_500, "1.5s"),
            (12_900, "12s"),
            (60_000, "1m"),
            (200_000, "3m20s"),
            (7_500_000, "2h05m"),
            (273_600_000, "3d04h"),
        ] {
            assert_eq!(brief(Duration::from_millis(millis)), text);
        }
    }
}
