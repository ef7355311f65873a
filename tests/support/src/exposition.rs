//! The text format of Prometheus, read strictly (version 0.0.4): what a scraper would refuse or only guess at is a fault
//! here.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of a page, by name with labels as they are written, such as `a{b="c"}`.
pub type Samples = BTreeMap<String, f64>;

/// Reads a page.
///
/// # Errors
/// The first line that is not as it has to be, and why.
pub fn parse(text: &str) -> Result<Samples, String> {
    let mut samples = Samples::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    // The metric whose lines these are, what is said of it, and its kind.
    let (mut metric, mut helped, mut kind) = ("", false, "");
    if !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    for line in text.lines() {
        let fault = |why: &str| Err(format!("{why}: {line}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else { return fault("no help") };
            if !is_name(name) || help.is_empty() || help.contains('\\') {
                return fault("not a help");
            }
            if !seen.insert(name) {
                return fault("the lines of one metric are apart");
            }
            (metric, helped, kind) = (name, true, "");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, of)) = rest.split_once(' ') else { return fault("no type") };
            if name != metric || !helped || !kind.is_empty() {
                return fault("a type without its help");
            }
            if !matches!(of, "gauge" | "counter") {
                return fault("an unknown type");
            }
            if (of == "counter") != name.ends_with("_total") {
                return fault("counters end in _total, and nothing else does");
            }
            kind = of;
        } else {
            let Some((series, value)) = line.rsplit_once(' ') else { return fault("no value") };
            let name = series.split('{').next().unwrap_or_default();
            if name != metric || kind.is_empty() {
                return fault("a sample of another metric");
            }
            if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                check_labels(labels).map_err(|why| format!("{why}: {line}"))?;
            }
            let Ok(value) = value.parse::<f64>() else { return fault("not a number") };
            if kind == "counter" && value < 0.0 {
                return fault("a counter below zero");
            }
            if samples.insert(series.to_owned(), value).is_some() {
                return fault("twice");
            }
        }
    }
    Ok(samples)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `{name="text",...}` with `\\`, `\"` and `\n` as the only escapes.
fn check_labels(labels: &str) -> Result<(), String> {
    let inner = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}'));
    let mut rest = inner.ok_or("labels without braces")?;
    let mut names = BTreeSet::new();
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name) || !names.insert(name) {
            return Err(format!("{name:?} is no name of a label, or there twice"));
        }
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().ok_or("a value that does not end")? {
                (_, '\\') => match chars.next() {
                    Some((_, '\\' | '"' | 'n')) => {}
                    Some(_) | None => return Err("an unknown escape".to_owned()),
                },
                (at, '"') => break at,
                (_, '\n') => return Err("a line break in a value".to_owned()),
                _ => {}
            }
        };
        rest = &after[end + 1..];
        if rest.is_empty() {
            return Ok(());
        }
        rest = rest.strip_prefix(',').ok_or("no comma between labels")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scraper_would_refuse_is_refused() {
        let good = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\",y=\"\\\"\"} 2\na_total{x=\"2\"} 1.5\n";
        assert_eq!(parse(good).map(|samples| samples.len()), Ok(2));
        for (bad, why) in [
            (good.trim_end(), "does not end"),
            ("a 1\n", "another metric"),
            ("# TYPE a gauge\na 1\n", "without its help"),
            ("# HELP a A.\na 1\n", "another metric"),
            ("# HELP a A.\n# TYPE a counter\na 1\n", "_total"),
            ("# HELP a A.\n# TYPE a gauge\na x\n", "not a number"),
            ("# HELP a A.\n# TYPE a gauge\na 1\na 2\n", "twice"),
            ("# HELP a A.\n# TYPE a gauge\na{x=1} 1\n", "without a value"),
            ("# HELP a A.\n# TYPE a gauge\na{x=\"1} 1\n", "does not end"),
            ("# HELP a A.\n# TYPE a gauge\na{x=\"\\t\"} 1\n", "unknown escape"),
            ("# HELP a A.\n# TYPE a gauge\na{x=\"1\",x=\"2\"} 1\n", "there twice"),
            ("# HELP a A.\n# TYPE a gauge\na 1\n# HELP a A.\n", "are apart"),
            ("# HELP a A.\n# TYPE a histogram\n", "unknown type"),
        ] {
            assert!(parse(bad).is_err_and(|fault| fault.contains(why)), "{bad}");
        }
    }
}
