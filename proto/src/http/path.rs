//! Where the path of a request leads below a folder that is served. It is decoded once, and what two readers could
//! understand in two ways leads nowhere (R4): no `..`, no hidden file, no second encoding, no second separator.

use core::fmt;

/// A relative path of plain names: every one is a file's or a folder's own name, so that opening them one after the
/// other never leaves the folder that the first is opened in.
#[derive(Clone, PartialEq, Eq)]
pub struct FilePath {
    names: String,
    is_folder: bool,
}

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// A percent sign without two digits, or bytes that are no UTF-8.
    Encoding,
    /// A name that no file here has, or that must not be asked for.
    Refused,
}

impl FilePath {
    /// Reads what follows a mount in a request's path, still percent-encoded: nothing, or text that begins with `/`.
    ///
    /// # Errors
    /// It leads nowhere.
    pub fn parse(encoded: &str) -> Result<Self, PathFault> {
        let Some(rest) = encoded.strip_prefix('/') else {
            let is_mount = encoded.is_empty();
            return if is_mount { Ok(Self::root()) } else { Err(PathFault::Refused) };
        };
        if rest.is_empty() {
            return Ok(Self::root());
        }
        let (rest, is_folder) = rest.strip_suffix('/').map_or((rest, false), |rest| (rest, true));
        let mut names = String::with_capacity(rest.len());
        for (depth, encoded) in rest.split('/').enumerate() {
            let name = decode(encoded)?;
            if depth == DEPTH_MAX || !is_name(&name) {
                return Err(PathFault::Refused);
            }
            if depth > 0 {
                names.push('/');
            }
            names.push_str(&name);
        }
        Ok(Self { names, is_folder })
    }

    fn root() -> Self {
        Self { names: String::new(), is_folder: true }
    }

    /// The page of the root.
    pub fn page() -> Self {
        Self::root().index()
    }

    /// The names with `/` between them; empty for the folder itself.
    pub fn as_str(&self) -> &str {
        &self.names
    }

    /// The names one by one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.split('/').filter(|name| !name.is_empty())
    }

    /// Whether a folder was asked for: the path ends with `/`, or is empty.
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// The page that stands for this folder.
    pub fn index(&self) -> Self {
        let between = if self.names.is_empty() { "" } else { "/" };
        Self { names: format!("{}{between}index.html", self.names), is_folder: false }
    }

    /// The path from the first folder of that name on, if there is one.
    pub fn from_folder(&self, name: &str) -> Option<Self> {
        let start =
            self.names.find(&format!("{name}/")).filter(|at| *at == 0 || self.names[..*at].ends_with('/'))?;
        Some(Self { names: self.names[start..].to_owned(), is_folder: self.is_folder })
    }

    /// The last name, percent-encoded, for a redirect to the folder of that name.
    pub fn last_encoded(&self) -> String {
        let last = self.names.rsplit('/').next().unwrap_or_default();
        let mut encoded = String::with_capacity(last.len());
        for byte in last.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                encoded.push(char::from(byte));
            } else {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        }
        encoded
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilePath({:?}{})", self.names, if self.is_folder { "/" } else { "" })
    }
}

/// Decodes once.
fn decode(encoded: &str) -> Result<String, PathFault> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (rest.next().and_then(digit), rest.next().and_then(digit)) else {
            return Err(PathFault::Encoding);
        };
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).map_err(|_| PathFault::Encoding)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Whether this is the name of a file that may be asked for, to every reader.
fn is_name(name: &str) -> bool {
    let is_odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        // Hidden files, and with them `.` and `..`.
        && !name.starts_with('.')
        && !name.contains(is_odd)
        && !is_encoded(name)
}

/// Whether somebody else could decode it again, to something else (GHSA-v865-p3gq-hw6m).
fn is_encoded(name: &str) -> bool {
    name.as_bytes()
        .windows(3)
        .any(|three| three[0] == b'%' && three[1].is_ascii_hexdigit() && three[2].is_ascii_hexdigit())
}

/// What file systems take.
const NAME_BYTES_MAX: usize = 255;
/// Folders in folders; each is opened on the way.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use proptest::prelude::*;

    fn parsed(encoded: &str) -> Result<(String, bool), PathFault> {
        FilePath::parse(encoded).map(|path| (path.as_str().to_owned(), path.is_folder()))
    }

    #[test]
    fn plain_paths_lead_somewhere() {
        for (encoded, names, is_folder) in [
            ("", "", true),
            ("/", "", true),
            ("/a.html", "a.html", false),
            ("/a/b.c/", "a/b.c", true),
            ("/%61%20b/%C3%A4.css", "a b/ä.css", false),
            ("/100%25.txt", "100%.txt", false),
            ("/a..b/c.", "a..b/c.", false),
        ] {
            assert_eq!(parsed(encoded), Ok((names.to_owned(), is_folder)), "{encoded}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_leads_nowhere() {
        for encoded in [
            "x",
            "//",
            "/a//b",
            "//a",
            "/a//",
            "/.",
            "/..",
            "/a/../b",
            "/a/..",
            "/./a",
            "/.git/config",
            "/a/.env",
            "/..%2f..%2fetc",
            "/%2e%2e/a",
            "/.%2e/a",
            "/%2e/a",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00.html",
            "/a%0a",
            "/%7f",
            "/%252e%252e/a",
            "/%25%32%65",
            "/a%252fb",
            "/%c2%85",
        ] {
            assert_eq!(parsed(encoded), Err(PathFault::Refused), "{encoded}");
        }
        for encoded in ["/%", "/%2", "/a%zz", "/%c3", "/%ff/a", "/a/%+1"] {
            assert_eq!(parsed(encoded), Err(PathFault::Encoding), "{encoded}");
        }
        assert!(parsed(&format!("/{}", "a".repeat(255))).is_ok());
        assert_eq!(parsed(&format!("/{}", "a".repeat(256))), Err(PathFault::Refused));
        assert!(parsed(&"/a".repeat(DEPTH_MAX)).is_ok());
        assert_eq!(parsed(&"/a".repeat(DEPTH_MAX + 1)), Err(PathFault::Refused));
    }

    #[test]
    fn a_folders_page_and_its_name_for_a_redirect() {
        assert_eq!(FilePath::parse("/a%20b/").unwrap().index().as_str(), "a b/index.html");
        assert_eq!(FilePath::parse("").unwrap().index().as_str(), "index.html");
        let from = |path: &str| {
            FilePath::parse(path).unwrap().from_folder("assets").map(|path| path.as_str().to_owned())
        };
        assert_eq!(from("/assets/x.js").as_deref(), Some("assets/x.js"));
        assert_eq!(from("/chat/main/assets/a/x.js").as_deref(), Some("assets/a/x.js"));
        assert_eq!((from("/assets"), from("/myassets/x.js"), from("/x.js")), (None, None, None));
        assert_eq!(FilePath::parse("/x/a%20%C3%A4").unwrap().last_encoded(), "a%20%C3%A4");
    }

    proptest! {
        /// Opened name by name, no path leaves its folder, and each name is one that no reader takes for two.
        #[test]
        fn no_path_leaves_its_folder(encoded in "(/|%2[ef]|%5c|%25|%00|\\.|\\.\\.|[a-c]|%|\\\\|ä|%c3%a4){0,12}") {
            if let Ok(path) = FilePath::parse(&encoded) {
                for name in path.names() {
                    prop_assert!(!name.starts_with('.') && !name.contains(['/', '\\', '\0']));
                }
                prop_assert_eq!(path.names().collect::<Vec<_>>().join("/"), path.as_str());
                // Encoding what was decoded and reading it again gives the same: there is one meaning.
                let again: String = path.names().map(|name| {
                    let bytes: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
                    format!("/{bytes}")
                }).collect();
                let again = if path.is_folder() { format!("{again}/") } else { again };
                prop_assert_eq!(FilePath::parse(&again), Ok(path));
            }
        }
    }
}
