//! What was measured, beside its budgets, as a table or as JSON.

use clawgate_support::usage::fact;
use serde_json::{Value, json};
use std::process::Command;

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// What.
    pub(crate) what: String,
    /// Of which driver or flavour.
    pub(crate) of: String,
    pub(crate) value: f64,
    pub(crate) unit: Unit,
    pub(crate) budget: Option<Budget>,
    /// What one should know beside it.
    pub(crate) note: String,
}

/// In what a value is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    /// Shown as megabytes of 1,000,000 bytes.
    Megabytes,
    /// Shown as kibibytes.
    Kibibytes,
    /// Shown as bytes.
    Bytes,
    /// Milliseconds.
    Millis,
    /// Times something else.
    Times,
    /// Things.
    Count,
}

/// What a value must keep.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

/// All lines so far.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Value,
    lines: Vec<Line>,
}

impl Line {
    pub(crate) fn new(what: impl Into<String>, of: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self { what: what.into(), of: of.into(), value, unit, budget: None, note: String::new() }
    }

    pub(crate) fn at_most(self, budget: f64) -> Self {
        Self { budget: Some(Budget::AtMost(budget)), ..self }
    }

    pub(crate) fn at_least(self, budget: f64) -> Self {
        Self { budget: Some(Budget::AtLeast(budget)), ..self }
    }

    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// Whether it keeps its budget; `None` when it has none.
    fn passes(&self) -> Option<bool> {
        self.budget.map(|budget| match budget {
            Budget::AtMost(most) => self.value <= most,
            Budget::AtLeast(least) => self.value >= least,
        })
    }

    fn verdict(&self) -> &'static str {
        match self.passes() {
            Some(true) => "ok",
            Some(false) => "MISSED",
            None => "",
        }
    }

    fn budget_text(&self) -> String {
        match self.budget {
            Some(Budget::AtMost(most)) => format!("<= {}", self.unit.show(most)),
            Some(Budget::AtLeast(least)) => format!(">= {}", self.unit.show(least)),
            None => String::new(),
        }
    }

    fn json(&self) -> Value {
        let (at_most, at_least) = match self.budget {
            Some(Budget::AtMost(most)) => (Some(most), None),
            Some(Budget::AtLeast(least)) => (None, Some(least)),
            None => (None, None),
        };
        json!({
            "what": self.what, "of": self.of, "value": self.value, "unit": self.unit.name(), "atMost": at_most,
            "atLeast": at_least, "passes": self.passes(), "note": self.note,
        })
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Megabytes => format!("{:.2} MB", value / 1e6),
            Self::Kibibytes => format!("{:.1} KiB", value / 1024.0),
            Self::Bytes => format!("{value:.0} bytes"),
            Self::Millis => format!("{value:.2} ms"),
            Self::Times => format!("{value:.2} x"),
            Self::Count => format!("{value:.0}"),
        }
    }

    /// The unit of `value` in JSON: never scaled.
    fn name(self) -> &'static str {
        match self {
            Self::Megabytes | Self::Kibibytes | Self::Bytes => "bytes",
            Self::Millis => "ms",
            Self::Times => "ratio",
            Self::Count => "count",
        }
    }
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { machine: machine(), lines: Vec::new() }
    }

    /// Adds a line, and shows it to whoever waits.
    pub(crate) fn add(&mut self, line: Line) {
        eprintln!("  {}: {} {} {}", line.what, line.of, line.unit.show(line.value), line.verdict());
        self.lines.push(line);
    }

    /// Whether every budget is kept.
    pub(crate) fn passes(&self) -> bool {
        self.lines.iter().all(|line| line.passes() != Some(false))
    }

    pub(crate) fn json(&self) -> Value {
        let lines: Vec<Value> = self.lines.iter().map(Line::json).collect();
        json!({ "machine": self.machine, "lines": lines, "passes": self.passes() })
    }

    pub(crate) fn table(&self) -> String {
        let fact = |name: &str| self.machine[name].as_str().unwrap_or("?").to_owned();
        let mut out = format!(
            "{} x {}, {} memory, Linux {}, {}; load when it began: {}\n\n",
            fact("processors"),
            fact("processor"),
            fact("memory"),
            fact("kernel"),
            fact("rustc"),
            fact("load"),
        );
        let head = ["what", "of", "measured", "budget", "", "note"].map(str::to_owned);
        let cells = |line: &Line| {
            let measured = line.unit.show(line.value);
            let verdict = line.verdict().to_owned();
            [line.what.clone(), line.of.clone(), measured, line.budget_text(), verdict, line.note.clone()]
        };
        let dashes = head.clone().map(|_| "---".to_owned());
        let rows: Vec<[String; 6]> = [head, dashes].into_iter().chain(self.lines.iter().map(cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [0, 1, 2, 3, 4].map(width);
        for row in &rows {
            for (cell, width) in row.iter().zip(widths) {
                out.push_str(&format!("| {cell:width$} "));
            }
            out.push_str(&format!("| {} |\n", row[5]));
        }
        out
    }
}

/// What this machine is: a number without it says nothing.
fn machine() -> Value {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let memory_kib: f64 = fact("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    json!({
        "processor": fact("/proc/cpuinfo", "model name"),
        "processors": processors.to_string(),
        "memory": format!("{:.1} GB", memory_kib * 1024.0 / 1e9),
        "kernel": fact("/proc/sys/kernel/osrelease", ""),
        "rustc": rustc.ok(),
        "load": fact("/proc/loadavg", ""),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn budgets_decide() {
        let mut report = Report::new();
        report.add(Line::new("size", "std", 1_500_000.0, Unit::Megabytes).at_most(2_000_000.0));
        report.add(Line::new("rate", "std", 0.7, Unit::Times).at_least(0.5).note("of an echo"));
        report.add(Line::new("other", "std", 1.0, Unit::Millis));
        assert!(report.passes());
        report.add(Line::new("rate", "smol", 0.4, Unit::Times).at_least(0.5));
        assert!(!report.passes());
        let table = report.table();
        assert!(table.contains("| 1.50 MB  | <= 2.00 MB | ok "), "{table}");
        assert!(table.contains("| 0.40 x   | >= 0.50 x  | MISSED "), "{table}");
        let json = report.json();
        assert_eq!(
            (json["passes"].as_bool(), json["lines"][3]["passes"].as_bool()),
            (Some(false), Some(false))
        );
        assert_eq!(
            (json["lines"][0]["value"].as_f64(), &json["lines"][0]["unit"]),
            (Some(1.5e6), &json!("bytes"))
        );
    }
}
