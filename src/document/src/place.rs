//! In which line of a text a setting stands, for whoever has to mend it. Reads JSON5 only as far as that takes, and is
//! lenient: a text that can be read gives the line, one that cannot gives what was found up to there.

/// The line of the setting at a dotted path, from 1; of the innermost object around it when it does not stand there.
/// `None` when nothing of the path is there.
pub fn line_of(text: &str, path: &str) -> Option<u32> {
    let path = path.replace('[', ".").replace(']', "");
    let wanted: Vec<&str> = path.split('.').filter(|name| !name.is_empty()).collect();
    let mut scan = Scan { text: text.as_bytes(), at: 0, line: 1, wanted: &wanted, found: (0, None) };
    scan.value(0, true, 0);
    scan.found.1
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    wanted: &'a [&'a str],
    /// How many names of the path, and in which line the last of them.
    found: (usize, Option<u32>),
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.line += u32::from(byte == b'\n');
        Some(byte)
    }

    /// Whitespace and comments.
    fn skip(&mut self) {
        while let Some(byte) = self.peek() {
            match (byte, self.text.get(self.at + 1)) {
                (b'/', Some(b'/')) => {
                    while self.peek().is_some_and(|byte| byte != b'\n') && self.next().is_some() {}
                }
                (b'/', Some(b'*')) => {
                    self.at += 2;
                    while self.peek().is_some() && !self.text[self.at..].starts_with(b"*/") {
                        self.next();
                    }
                    self.at = (self.at + 2).min(self.text.len());
                }
                // A byte order mark and spaces beyond ASCII are of bytes that stand in no name's first place here.
                (byte, _)
                    if byte.is_ascii_whitespace() || matches!(byte, 0xc2 | 0xa0 | 0xef | 0xbb | 0xbf) =>
                {
                    self.next();
                }
                (_, _) => return,
            }
        }
    }

    /// A text in quotes, or a bare word.
    fn word(&mut self) -> String {
        let mut word = Vec::new();
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => {
                self.next();
                while let Some(byte) = self.next().filter(|byte| *byte != quote) {
                    if byte == b'\\' {
                        word.extend(self.next());
                    } else {
                        word.push(byte);
                    }
                }
            }
            Some(_) | None => {
                while let Some(byte) = self.peek() {
                    if byte.is_ascii_whitespace() || b",:{}[]/\"'".contains(&byte) {
                        break;
                    }
                    word.extend(self.next());
                }
            }
        }
        String::from_utf8_lossy(&word).into_owned()
    }

    /// `is_wanted` says that the path leads here, through `names` of it.
    fn value(&mut self, names: usize, is_wanted: bool, depth: usize) {
        if depth > crate::depth::DEPTH_MAX {
            self.at = self.text.len();
            return;
        }
        self.skip();
        let (is_object, end) = match self.peek() {
            Some(b'{') => (true, b'}'),
            Some(b'[') => (false, b']'),
            Some(_) | None => {
                self.word();
                return;
            }
        };
        self.next();
        for index in 0.. {
            self.skip();
            let before = self.at;
            match self.peek() {
                None => return,
                Some(byte) if byte == end => {
                    self.next();
                    return;
                }
                Some(_) => {}
            }
            let line = self.line;
            let name = if is_object { self.word() } else { index.to_string() };
            let is_on_path = is_wanted && self.wanted.get(names).is_some_and(|wanted| *wanted == name);
            if is_on_path && names + 1 > self.found.0 {
                self.found = (names + 1, Some(line));
            }
            self.skip();
            if is_object && self.peek() == Some(b':') {
                self.next();
            }
            self.value(names + 1, is_on_path, depth + 1);
            self.skip();
            if self.peek() == Some(b',') {
                self.next();
            }
            if self.at == before {
                // Nothing that a text of this kind may hold.
                self.next();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const TEXT: &str = "// gateway: {port: 1}\n{\n  /* a\n  b */ \"gateway\": {\n    mode: 'local', 'port': 5,\n    auth: {\n      \
                        token: \"a } b \\\" gateway\",\n    },\n    trustedProxies: [\n      '10.0.0.1',\n      'x', ],\n  },\n  \
                        agents: {list: [{id: 'main'}]},\n}\n";

    #[test]
    fn settings_are_found_where_they_stand() {
        for (path, want) in [
            ("gateway", Some(4)),
            ("gateway.port", Some(5)),
            ("gateway.auth.token", Some(7)),
            ("gateway.trustedProxies.1", Some(11)),
            ("gateway.trustedProxies[1]", Some(11)),
            ("gateway.auth.mode", Some(6)),
            ("agents.list.0.id", Some(13)),
            ("hooks.token", None),
            ("", None),
        ] {
            assert_eq!(line_of(TEXT, path), want, "{path}");
        }
    }

    #[test]
    fn no_text_keeps_it_busy_or_makes_it_panic() {
        for end in 0..TEXT.len() {
            line_of(&TEXT[..end], "gateway.auth.token");
        }
        for text in
            ["[[[[", "}}}}", ":,:,", "{:", "{a:{b:{c", "{'", "/*", "{a: /", "\u{feff}{a: 1}", "{a b c}"]
        {
            line_of(text, "a.b.c");
        }
        assert_eq!(line_of("\u{feff}{\na: 1}", "a"), Some(2));
        line_of(&"[".repeat(100_000), "a");
    }
}
