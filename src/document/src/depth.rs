//! How deep a JSON5 text nests and how many values it holds, before a parser that recurses sees it: a few hundred
//! kilobytes of `[` would otherwise overflow the stack and abort the process, and a few megabytes of `1,` would
//! fill a small board's memory.

/// Deeper texts are refused.
pub const DEPTH_MAX: usize = 128;
/// Texts of more values are refused: a value costs up to a hundred bytes.
pub const VALUES_MAX: usize = 100_000;

/// What is wrong with a text before it is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It nests deeper than [`DEPTH_MAX`].
    TooDeep,
    /// It holds more than [`VALUES_MAX`] values.
    TooMany,
}

/// Checks both bounds. Strings and comments are skipped as JSON5 defines them; what is malformed is left for the
/// parser to name.
///
/// # Errors
/// The bound that is passed first.
pub fn check(text: &str) -> Result<(), Fault> {
    let mut bytes = text.bytes().peekable();
    let (mut depth, mut values) = (0_usize, 0_usize);
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                values += 1;
                if depth > DEPTH_MAX {
                    return Err(Fault::TooDeep);
                }
            }
            b',' => {
                values += 1;
                if values > VALUES_MAX {
                    return Err(Fault::TooMany);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' | b'\'' => {
                while let Some(inner) = bytes.next() {
                    if inner == b'\\' {
                        bytes.next();
                    } else if inner == byte {
                        break;
                    }
                }
            }
            b'/' if bytes.peek() == Some(&b'/') => {
                // A line ends also at U+2028 and U+2029; ending it late could hide brackets, so the rare
                // text with one of them in a comment is scanned as if the comment ended there.
                let mut last = [0; 2];
                for inner in bytes.by_ref() {
                    let separator = last == [0xe2, 0x80] && matches!(inner, 0xa8 | 0xa9);
                    if matches!(inner, b'\n' | b'\r') || separator {
                        break;
                    }
                    last = [last[1], inner];
                }
            }
            b'/' if bytes.peek() == Some(&b'*') => {
                bytes.next();
                let mut star = false;
                for inner in bytes.by_ref() {
                    if star && inner == b'/' {
                        break;
                    }
                    star = inner == b'*';
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_shallow(text: &str) -> bool {
        check(text).is_ok()
    }

    #[test]
    fn counts_nesting_and_not_brackets_in_strings_and_comments() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_shallow(&nested(DEPTH_MAX)));
        assert!(!is_shallow(&nested(DEPTH_MAX + 1)));
        let many = "[".repeat(200);
        assert!(is_shallow(&format!("{{a: \"{many}\", b: '\\'{many}', /* {many} */ c: 1 // {many}\n}}")));
        assert!(!is_shallow(&format!("// x\n{many}")));
        assert!(!is_shallow(&format!("// x\u{2028}{many}")));
        assert!(!is_shallow(&format!("/**/{many}")));
        assert!(!is_shallow(&format!("\"\\\\\"{many}")));
        assert!(is_shallow("[],".repeat(1_000).as_str()));
    }

    #[test]
    fn too_many_values_are_refused() {
        assert_eq!(check(&"1,".repeat(VALUES_MAX)), Ok(()));
        assert_eq!(check(&"1,".repeat(VALUES_MAX + 1)), Err(Fault::TooMany));
        assert_eq!(check(&format!("'{}'", "1,".repeat(VALUES_MAX + 1))), Ok(()));
    }

    #[test]
    fn a_hostile_text_is_refused_and_not_parsed() {
        assert!(!is_shallow(&"[".repeat(200_000)));
        assert!(!is_shallow(&"{a:".repeat(200_000)));
    }
}
