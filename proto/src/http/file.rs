//! What a file is in HTTP: its type by its name, its validators, and which part of it a request wants
//! (RFC 9110 sections 8.8, 13 and 14).

use super::{HttpRequest, imf_fixdate, parse_imf_fixdate};
use crate::host::Version;
use crate::time::Wall;

/// The `Content-Type` of a file of that name. What is not listed is bytes to a browser, which does not guess either
/// (`nosniff`).
pub fn content_type(name: &str) -> &'static str {
    let extension = name.rsplit('/').next().unwrap_or_default().rsplit_once('.').map_or("", |(_, end)| end);
    let extension = extension.to_ascii_lowercase();
    let found = TYPES.iter().find(|(extensions, _)| extensions.contains(&extension.as_str()));
    found.map_or("application/octet-stream", |(_, content_type)| content_type)
}

/// Whether a file of that name is a page.
pub fn is_page(name: &str) -> bool {
    content_type(name).starts_with("text/html")
}

/// By extension, in lower case.
const TYPES: &[(&[&str], &str)] = &[
    (&["html", "htm"], "text/html; charset=utf-8"),
    (&["js", "mjs"], "text/javascript; charset=utf-8"),
    (&["css"], "text/css; charset=utf-8"),
    (&["json", "map"], "application/json; charset=utf-8"),
    (&["txt"], "text/plain; charset=utf-8"),
    (&["md"], "text/markdown; charset=utf-8"),
    (&["csv"], "text/csv; charset=utf-8"),
    (&["xml"], "text/xml; charset=utf-8"),
    (&["svg"], "image/svg+xml"),
    (&["png"], "image/png"),
    (&["jpg", "jpeg"], "image/jpeg"),
    (&["gif"], "image/gif"),
    (&["webp"], "image/webp"),
    (&["avif"], "image/avif"),
    (&["ico"], "image/x-icon"),
    (&["heic"], "image/heic"),
    (&["heif"], "image/heif"),
    (&["mp3"], "audio/mpeg"),
    (&["ogg"], "audio/ogg"),
    (&["opus"], "audio/opus"),
    (&["wav"], "audio/wav"),
    (&["flac"], "audio/flac"),
    (&["aac"], "audio/aac"),
    (&["m4a"], "audio/mp4"),
    (&["mp4"], "video/mp4"),
    (&["webm"], "video/webm"),
    (&["mov"], "video/quicktime"),
    (&["wasm"], "application/wasm"),
    (&["woff"], "font/woff"),
    (&["woff2"], "font/woff2"),
    (&["ttf"], "font/ttf"),
    (&["otf"], "font/otf"),
    (&["pdf"], "application/pdf"),
    (&["zip"], "application/zip"),
    (&["gz"], "application/gzip"),
    (&["tar"], "application/x-tar"),
    (&["7z"], "application/x-7z-compressed"),
    (&["rar"], "application/vnd.rar"),
    (&["doc"], "application/msword"),
    (&["docx"], "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (&["xls"], "application/vnd.ms-excel"),
    (&["xlsx"], "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (&["ppt"], "application/vnd.ms-powerpoint"),
    (&["pptx"], "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
];

/// What a request says about the copy it has and the part it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    none_match: Option<String>,
    modified_since: Option<Wall>,
    if_range: Option<String>,
    range: Option<String>,
}

/// What is told of a file, so that a later request can name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validators {
    /// Changes with every change of the file.
    pub version: Version,
    /// When it was changed, in Unix milliseconds, where that means anything.
    pub modified_ms: Option<u64>,
    /// How many bytes are sent for the whole of it.
    pub bytes: u64,
}

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// From `start` up to, and not with, `end`; never empty.
    Part {
        /// First byte.
        start: u64,
        /// Behind the last one.
        end: u64,
    },
    /// Nothing: the copy is good.
    NotModified,
    /// Nothing: it has no such part.
    Unsatisfiable,
}

impl Conditions {
    /// What a request says. A range is only looked at in a GET (RFC 9110 section 14.2).
    pub fn of(request: &HttpRequest) -> Self {
        let one = |name: &str| request.header(name).map(str::to_owned);
        let lists: Vec<&str> = request.headers("if-none-match").collect();
        let is_get = request.method == "GET";
        // Two ranges could be meant in two ways: then none is.
        let is_alone = request.headers("range").nth(1).is_none();
        Self {
            none_match: (!lists.is_empty()).then(|| lists.join(",")),
            modified_since: one("if-modified-since").as_deref().and_then(parse_imf_fixdate),
            if_range: one("if-range"),
            range: one("range").filter(|_| is_get && is_alone),
        }
    }

    /// Whether the answer depends on nothing but the file.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Forgets the range, for what has no lasting bytes to count.
    pub fn without_range(self) -> Self {
        Self { range: None, if_range: None, ..self }
    }

    /// What to send of a file, in the order of RFC 9110 section 13.2.2.
    pub fn wanted(&self, file: &Validators) -> Wanted {
        if let Some(list) = &self.none_match {
            if is_listed(list, &file.etag()) {
                return Wanted::NotModified;
            }
        } else if let (Some(since), Some(modified_ms)) = (self.modified_since, file.modified_ms)
            && modified_ms / 1_000 <= since.0 / 1_000
        {
            return Wanted::NotModified;
        }
        let Some(range) = self.range.as_deref() else { return Wanted::Whole };
        let is_same = self.if_range.as_deref().is_none_or(|mark| file.is_named_by(mark.trim()));
        if is_same { part(range, file.bytes) } else { Wanted::Whole }
    }
}

impl Validators {
    /// A strong validator: the bytes are the same when it is.
    pub fn etag(&self) -> String {
        let [a, b, c, d] = self.version.0;
        format!("\"{a:x}-{b:x}-{c:x}-{d:x}-{:x}\"", self.bytes)
    }

    /// `Last-Modified`.
    pub fn last_modified(&self) -> Option<String> {
        self.modified_ms.map(|ms| imf_fixdate(Wall(ms)))
    }

    /// RFC 9110 section 13.1.5: a strong tag, or the very date that we told.
    fn is_named_by(&self, mark: &str) -> bool {
        mark == self.etag() || self.last_modified().is_some_and(|date| mark == date)
    }
}

/// Whether a list of tags has this one; compared weakly, as is right for `If-None-Match`.
fn is_listed(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// One range of bytes. Several at once, other units and what is malformed are not served as parts, which RFC 9110
/// section 14.2 allows.
fn part(range: &str, bytes: u64) -> Wanted {
    let whole = Wanted::Whole;
    let Some((unit, spec)) = range.split_once('=') else { return whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return whole;
    }
    let number = |text: &str| -> Option<u64> {
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number too long to be one is beyond every file.
        is_plain.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (start, end) = match (number(first), number(last)) {
        (Some(first), Some(last)) if last < first => return whole,
        (Some(first), Some(last)) => (first, last.saturating_add(1)),
        (Some(first), None) if last.is_empty() => (first, bytes),
        (None, Some(0)) if first.is_empty() => return Wanted::Unsatisfiable,
        (None, Some(suffix)) if first.is_empty() => (bytes.saturating_sub(suffix), bytes),
        (Some(_) | None, _) => return whole,
    };
    let end = end.min(bytes);
    if start < end { Wanted::Part { start, end } } else { Wanted::Unsatisfiable }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Validators {
        Validators { version: Version([1, 2, 3, 4]), modified_ms: Some(784_111_777_500), bytes: 100 }
    }

    fn wanted(fields: &[(&str, &str)]) -> Wanted {
        wanted_by("GET", fields)
    }

    fn wanted_by(method: &str, fields: &[(&str, &str)]) -> Wanted {
        let headers = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = HttpRequest { method: method.to_owned(), headers, ..HttpRequest::default() };
        Conditions::of(&request).wanted(&file())
    }

    #[test]
    fn types_go_by_the_last_extension_in_any_case() {
        for (name, want) in [
            ("a/index.HTML", "text/html; charset=utf-8"),
            ("style.css", "text/css; charset=utf-8"),
            ("a.tar.gz", "application/gzip"),
            ("a.svg", "image/svg+xml"),
            ("a.wasm", "application/wasm"),
            ("x.html/readme", "application/octet-stream"),
            ("a.exe", "application/octet-stream"),
            ("html", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), want, "{name}");
        }
        assert!(is_page("a.htm") && !is_page("a.svg"));
    }

    #[test]
    fn a_good_copy_is_not_sent_again() {
        let etag = file().etag();
        for fields in [
            &[("if-none-match", etag.as_str())][..],
            &[("if-none-match", "*")],
            &[("if-none-match", "\"x\""), ("if-none-match", &format!("\"y\", W/{etag}"))],
            &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
            &[("if-none-match", &etag), ("range", "bytes=0-1")],
        ] {
            assert_eq!(wanted(fields), Wanted::NotModified, "{fields:?}");
        }
        for fields in [
            &[("if-none-match", "\"x\"")][..],
            // The tag wins over the date.
            &[("if-none-match", "\"x\""), ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
            &[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")],
            &[("if-modified-since", "yesterday")],
        ] {
            assert_eq!(wanted(fields), Wanted::Whole, "{fields:?}");
        }
    }

    #[test]
    fn one_range_is_served() {
        for (range, want) in [
            ("bytes=0-0", Wanted::Part { start: 0, end: 1 }),
            ("Bytes = 10-", Wanted::Part { start: 10, end: 100 }),
            ("bytes=90-1000", Wanted::Part { start: 90, end: 100 }),
            ("bytes=-7", Wanted::Part { start: 93, end: 100 }),
            ("bytes=-700", Wanted::Part { start: 0, end: 100 }),
            ("bytes=99-99999999999999999999999", Wanted::Part { start: 99, end: 100 }),
            ("bytes=100-", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=a-2", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("bytes", Wanted::Whole),
        ] {
            assert_eq!(wanted(&[("range", range)]), want, "{range}");
        }
        assert_eq!(wanted(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]), Wanted::Whole);
        assert_eq!(wanted_by("HEAD", &[("range", "bytes=0-1")]), Wanted::Whole);
        let nothing = Validators { bytes: 0, ..file() };
        assert_eq!(part("bytes=0-", nothing.bytes), Wanted::Unsatisfiable);
    }

    #[test]
    fn a_part_of_another_version_is_not_served() {
        let part = Wanted::Part { start: 0, end: 2 };
        for (mark, want) in [
            (file().etag(), part),
            (file().last_modified().unwrap_or_default(), part),
            (format!("W/{}", file().etag()), Wanted::Whole),
            ("\"x\"".to_owned(), Wanted::Whole),
        ] {
            assert_eq!(wanted(&[("range", "bytes=0-1"), ("if-range", &mark)]), want, "{mark}");
        }
    }
}
