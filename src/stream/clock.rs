//! The time of day, formatted once a second.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A moment as `2026-01-31T12:34:56.123456Z`.
pub(super) type Stamp = [u8; 27];

/// The time of day in one zone. Only what people and programs read: nothing is ever decided by it.
#[derive(Debug)]
pub(super) struct Clock {
    zone: TimeZone,
    second: i64,
    date: [u8; 11],
    time: [u8; 8],
}

impl Clock {
    /// Local time (tzset(3): `TZ`, else /etc/localtime, else UTC).
    pub(super) fn local() -> Clock {
        Clock::new(TimeZone::system())
    }

    /// UTC.
    pub(super) fn utc() -> Clock {
        Clock::new(TimeZone::UTC)
    }

    fn new(zone: TimeZone) -> Clock {
        let mut clock = Clock { zone, second: 0, date: *b"1970-01-01T", time: *b"00:00:00" };
        clock.turn_to(0);
        clock
    }

    /// Now as `12:34:56`, with the second it stands for.
    pub(super) fn time(&mut self) -> (i64, &[u8; 8]) {
        self.turn_to(now().second);
        (self.second, &self.time)
    }

    /// A second since 1970 as `12:34:56`.
    pub(super) fn time_at(&mut self, second: i64) -> &[u8; 8] {
        self.turn_to(second);
        &self.time
    }

    /// Now as `2026-01-31T12:34:56.123456Z` (RFC 3339 section 5.6), for a clock in UTC.
    pub(super) fn timestamp(&mut self) -> Stamp {
        self.timestamp_of(now())
    }

    /// The same of another moment.
    pub(super) fn timestamp_of(&mut self, Moment { second, micros }: Moment) -> Stamp {
        self.turn_to(second);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        text[..11].copy_from_slice(&self.date);
        text[11..19].copy_from_slice(&self.time);
        digits(&mut text[20..26], micros);
        text
    }

    fn turn_to(&mut self, second: i64) {
        if second == self.second && second != 0 {
            return;
        }
        self.second = second;
        // Out of range is a clock beyond the year 9999: it shows the epoch.
        let at = self.zone.to_datetime(Timestamp::from_second(second).unwrap_or_default());
        digits(&mut self.date[..4], at.year().unsigned_abs().into());
        digits(&mut self.date[5..7], at.month().unsigned_abs().into());
        digits(&mut self.date[8..10], at.day().unsigned_abs().into());
        digits(&mut self.time[..2], at.hour().unsigned_abs().into());
        digits(&mut self.time[3..5], at.minute().unsigned_abs().into());
        digits(&mut self.time[6..], at.second().unsigned_abs().into());
    }
}

/// A moment of the time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Seconds since 1970.
    pub(super) second: i64,
    /// Microseconds of the second.
    pub(super) micros: u32,
}

/// Now; a clock before 1970 shows 1970.
pub(super) fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { second: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), micros: since.subsec_micros() }
}

/// The last digits of `number`, as many as there is place for.
fn digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        // Below 10, so it fits.
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_shown_in_its_zone() {
        let mut clock = Clock::utc();
        clock.turn_to(1_700_000_000);
        assert_eq!((&clock.date, &clock.time), (b"2023-11-14T", b"22:13:20"));
        let mut clock = Clock::new(TimeZone::fixed(jiff::tz::offset(-3)));
        clock.turn_to(1_700_000_000);
        assert_eq!(&clock.time, b"19:13:20");
    }

    #[test]
    fn the_timestamp_is_rfc_3339_and_now() {
        let before = Timestamp::now();
        let text = Clock::utc().timestamp();
        let parsed: Timestamp = std::str::from_utf8(&text).unwrap().parse().unwrap();
        assert!(parsed.as_microsecond() >= before.as_microsecond() && parsed <= Timestamp::now(), "{parsed}");
    }
}
