//! What was measured, as a table of Markdown.

use std::fmt::Write;

/// One thing that was measured on both sides, one value a try.
pub(crate) struct Row {
    pub(crate) measure: String,
    pub(crate) unit: Unit,
    pub(crate) ours: Vec<f64>,
    pub(crate) floor: Vec<f64>,
    pub(crate) bound: Bound,
}

/// How values are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    /// Values are nanoseconds.
    Millis,
    /// Values are KiB.
    Mib,
    /// Values are KiB.
    Kib,
    /// Values are numbers of something.
    Count,
}

/// What a value should not exceed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// So many times the floor.
    Ratio(f64),
    /// So much, in the row's unit.
    Value(f64),
    /// Shown only.
    None,
}

/// The heading of the rows.
pub(crate) const HEADING: &str = "| measure | ours | floor | ratio | bound | |\n|---|---|---|---|---|---|";

impl Row {
    /// Medians, with the least and the greatest value where there are more than one.
    pub(crate) fn print(&self) -> String {
        let (ours, floor) = (median(&self.ours), median(&self.floor));
        let ratio = ours / floor;
        let scale = self.unit.scale();
        let (bound, is_over) = match self.bound {
            Bound::Ratio(bound) => (format!("{bound:.1} x"), ratio > bound),
            Bound::Value(bound) => (format!("{bound} {}", self.unit.name()), ours / scale > bound),
            Bound::None => ("-".to_owned(), false),
        };
        let verdict = match self.bound {
            Bound::None => "",
            Bound::Ratio(_) | Bound::Value(_) => {
                if is_over {
                    "OVER"
                } else {
                    "ok"
                }
            }
        };
        let ratio = if floor > 0.0 { format!("{ratio:.2}") } else { "-".to_owned() };
        let [ours, floor] = [&self.ours, &self.floor].map(|values| self.unit.print(values));
        format!("| {} | {ours} | {floor} | {ratio} | {bound} | {verdict} |", self.measure)
    }
}

impl Unit {
    fn scale(self) -> f64 {
        match self {
            Unit::Millis => 1e6,
            Unit::Mib => 1024.0,
            Unit::Kib | Unit::Count => 1.0,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Millis => "ms",
            Unit::Mib => "MiB",
            Unit::Kib => "KiB",
            Unit::Count => "",
        }
    }

    fn print(self, values: &[f64]) -> String {
        let digits = match self {
            Unit::Millis | Unit::Mib => 2,
            Unit::Kib => 1,
            Unit::Count => 0,
        };
        let show = |value: f64| format!("{:.digits$}", value / self.scale());
        let mut text = format!("{} {}", show(median(values)), self.name());
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if values.len() > 1 {
            // Writing to a string does not fail.
            let _ = write!(text, " ({}-{})", show(least), show(greatest));
        }
        text
    }
}

/// The middle value; between the two middle ones of an even number.
fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}
