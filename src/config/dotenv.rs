//! `.env` of the state folder, where people keep the gateway's secrets: `NAME=value` lines that count as
//! environment variables unless the process has them.
//!
//! The reference also reads `.env` of the current folder. This program does not: whoever made that folder could
//! then choose which gateway a command shows its credentials to.

/// The variables in such a text. Lines that are none are skipped.
pub fn parse(text: &str) -> Vec<(String, String)> {
    text.trim_start_matches('\u{feff}').lines().filter_map(variable).collect()
}

fn variable(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=')?;
    let name = name.trim_end();
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if name.is_empty() || !name.bytes().all(fits) {
        return None;
    }
    Some((name.to_owned(), unquoted(value.trim())))
}

/// Quotes of any of three kinds come off, with what stands behind them; only double ones know `\n` and `\r`.
/// Without quotes, ` #` begins a comment.
fn unquoted(value: &str) -> String {
    for quote in ['"', '\'', '`'] {
        if let Some((inside, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return if quote == '"' {
                inside.replace("\\n", "\n").replace("\\r", "\r")
            } else {
                inside.to_owned()
            };
        }
    }
    value.split('#').next().unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_dotenv_files_are_written() {
        let text = "# mine\nA=1\n export B = two # why\nC=\"x # y\" # z\nD='it\\n'\nE=\"a\\nb\"\nno line\n=x\nF G=1\nH=\n";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let want = [
            pair("A", "1"),
            pair("B", "two"),
            pair("C", "x # y"),
            pair("D", "it\\n"),
            pair("E", "a\nb"),
            pair("H", ""),
        ];
        assert_eq!(parse(text), want);
    }
}
