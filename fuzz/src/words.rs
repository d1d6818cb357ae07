//! Whatever people write in one word, it is read as what it says, or refused.

use std::time::Duration;

use supervise::api::{Signal, SlotName, TypeName, brief, parse_duration};
use supervise::app::{Listen, bare};
use supervise::daemon::HttpAddress;
use supervise::daemon::bare::service_url;
use supervise::store::Number;

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    durations(text);
    sizes(text);
    if let Ok(listen) = bare::listen(text) {
        // A relative path is one only before it is known below what.
        if !matches!(&listen, Listen::Unix(path) if path.is_relative()) {
            assert_eq!(bare::listen(&listen.to_string()).as_ref(), Ok(&listen));
        }
        assert!(listen.port() != Some(0) && listen.excludes(&listen));
    }
    if let Ok(signal) = text.parse::<Signal>() {
        assert_eq!(signal.to_string().parse(), Ok(signal));
    }
    if let Ok(name) = text.parse::<TypeName>() {
        assert!(name.as_str() == text && text.len() <= 63 && text.is_ascii());
        let slot = SlotName { process_type: name, number: 7 };
        assert_eq!(slot.to_string().parse(), Ok(slot));
    }
    if let Ok(number) = text.parse::<Number>() {
        assert_eq!(number.to_string().parse(), Ok(number));
    }
    let _either = text.parse::<HttpAddress>();
    urls(text);
}

fn durations(text: &str) {
    let Ok(duration) = parse_duration(text) else { return };
    assert!(duration <= TEN_YEARS && !brief(duration).is_empty());
    let text = text.trim();
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let unit = match text[digits.len()..].trim() {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        // A fraction.
        _ => return,
    };
    // Seconds are counted with 53 bits, which is exact to the microsecond for as long as that.
    let exact = digits.parse::<u128>().expect("at most ten years") * unit;
    assert!(duration.as_micros().abs_diff(exact * 1000) <= 1, "{text}: {duration:?}");
}

fn sizes(text: &str) {
    let [limit, memory, cpus, pids] = bare::limits(text);
    let lower = text.to_ascii_lowercase();
    if lower == "unlimited" {
        return assert_eq!([limit, memory, cpus, pids], [Some(u64::MAX); 4]);
    }
    let digits: String = lower.chars().take_while(char::is_ascii_digit).collect();
    let (number, unit) = (digits.parse::<u128>(), &lower[digits.len()..]);
    let shift = |unit: &str| ["", "k", "m", "g"].iter().position(|known| *known == unit).map(|nth| 10 * nth);
    let bytes = |unit: &str| {
        let bytes = number.clone().ok()?.checked_mul(1 << shift(unit)?)?;
        u64::try_from(bytes).ok().filter(|bytes| *bytes < u64::MAX)
    };
    assert_eq!(limit, bytes(unit), "{text}");
    assert_eq!(
        memory,
        bytes(unit.strip_suffix('b').unwrap_or(unit)).filter(|bytes| *bytes >= 1 << 20),
        "{text}"
    );
    assert!(pids.is_none_or(|pids| unit.is_empty() && number == Ok(u128::from(pids)) && pids > 0), "{text}");
    if let (Some(cpus), true) = (cpus, unit.is_empty()) {
        assert_eq!(number.map(|number| number * 100_000), Ok(u128::from(cpus)), "{text}");
    }
}

/// No password is told, nor any piece of what is no URL.
fn urls(text: &str) {
    const SECRET: &str = "hunter-2";
    let told = |url: &str| service_url(url).unwrap_or_else(|why| why);
    assert!(!told(text).contains(char::is_control), "{text:?}");
    // An option may name the host, and a host may be what stands before a slash or behind an `@`.
    if !text.contains(['?', '/', '#', '@', ',']) {
        for scheme in ["redis", "postgres", "mysql", "amqp", "http", "mongodb"] {
            let url = format!("{scheme}://user:{SECRET}{text}@db.example:1/x");
            assert!(!told(&url).contains(SECRET), "{url}");
            let url = format!("{scheme}://:{text}{SECRET}@db.example/x");
            assert_eq!(told(&url).split(':').next(), Some("db.example"), "{url}");
        }
    }
    if let Err(why) = service_url(text) {
        assert!(why.is_ascii() && why.len() < 90, "{why}");
    }
}
