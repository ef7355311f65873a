//! Files that are sent over HTTP: what is asked of the host, and how an answer is made of what it finds. Runs off the
//! gateway's lock.
//!
//! No file stays open between two pieces of it: each piece is read from the file of that name, and only if it is still
//! the very file that the answer began with. So nothing has to be released when a peer goes away, and memory holds a
//! piece or two however large the file is.

mod policy;

pub(crate) use policy::guard_control_ui;

use super::{Host, HostFault, Version};
use crate::http::HttpResponse;
use crate::http::file::{self, Conditions, Validators, Wanted};
use crate::http::path::FilePath;
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;

/// A folder that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileRoot {
    /// What agents show: `canvasHost.root`.
    Canvas,
    /// The renderer of A2UI, which comes with the program.
    A2ui,
    /// An installed Control UI: `gateway.controlUi.root`.
    ControlUi,
    /// The control page, which comes with the program.
    ControlPage,
}

/// The beginning of an answer is wanted.
#[derive(Clone, Debug)]
pub struct FileRequest {
    /// Below which folder.
    pub root: FileRoot,
    /// Which file, or whose page.
    pub path: FilePath,
    /// Only the head is sent.
    pub head_only: bool,
    /// What the peer has already, and which part it wants.
    pub conditions: Conditions,
    /// Whether pages are given the script by which they load themselves again.
    pub live_reload: bool,
    /// Whether pages of any origin may read the answer: the address itself was the secret.
    pub readable_by_all: bool,
    /// Bytes to read at once.
    pub piece_bytes: usize,
}

/// An answer, or its beginning.
#[derive(Clone, Debug)]
pub struct FileReply {
    /// What to send now.
    pub response: HttpResponse,
    /// What follows.
    pub rest: Option<FileRest>,
    /// Why the file could not be read, when that is somebody's fault here; for the log.
    pub fault: Option<String>,
}

/// What of a file is still to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRest {
    /// Below which folder.
    pub root: FileRoot,
    /// Which file.
    pub path: Arc<str>,
    /// It must still be this one.
    pub version: Version,
    /// The next byte.
    pub next: u64,
    /// Behind the last one.
    pub end: u64,
    /// Sent behind the file.
    pub tail: Bytes,
}

/// A piece of a file, as the host found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePiece {
    /// Of the whole file.
    pub bytes: u64,
    /// When it was changed, in Unix milliseconds, where that means anything.
    pub modified_ms: Option<u64>,
    /// Changes with every change of the file.
    pub version: Version,
    /// As many as were asked for, fewer at its end.
    pub piece: Vec<u8>,
}

/// Why there is no such piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFault {
    /// There is no such file, or it is not one that may be sent: a link, a device, a file with a second name.
    Missing,
    /// It is a folder.
    Folder,
    /// There is nothing at all below that root.
    Nothing,
    /// It cannot be read; for a person.
    Failed(String),
}

impl FileRest {
    /// So many bytes were taken; says whether that was all.
    pub(crate) fn advance(&mut self, bytes: u64) -> bool {
        if self.next == self.end {
            self.tail = Bytes::new();
        } else {
            self.next = self.end.min(self.next + bytes);
        }
        self.next == self.end && self.tail.is_empty()
    }

    /// Bytes that are left.
    pub fn left(&self) -> u64 {
        self.end - self.next + self.tail.len() as u64
    }
}

/// Makes the beginning of an answer.
pub(super) fn begin(host: &dyn Host, request: &FileRequest) -> FileReply {
    let path = match request.root {
        FileRoot::Canvas | FileRoot::A2ui | FileRoot::ControlPage if request.path.is_folder() => {
            request.path.index()
        }
        FileRoot::Canvas | FileRoot::A2ui | FileRoot::ControlPage => request.path.clone(),
        // Its pages are one page, whatever their addresses: what that one loads lies beside it.
        FileRoot::ControlUi if request.path.is_folder() => FilePath::page(),
        FileRoot::ControlUi => request.path.from_folder("assets").unwrap_or_else(|| request.path.clone()),
    };
    let mut outcome = answer(host, request, &path);
    // Somebody wrote it between two looks: once more, from the start.
    for _ in 0..LOOKS_MAX {
        if outcome.is_ok() {
            break;
        }
        outcome = answer(host, request, &path);
    }
    outcome.unwrap_or_else(|Changing| {
        plain(HttpResponse::text(503, "The file is being written").with("Retry-After", "1"))
    })
}

/// Reads the next piece of a body that was begun.
///
/// # Errors
/// It cannot be read, or is not the file any more that the answer began with.
pub(super) fn go_on(host: &dyn Host, rest: &FileRest, bytes: usize) -> Result<Bytes, HostFault> {
    if rest.next == rest.end {
        return Ok(rest.tail.clone());
    }
    let wanted = usize::try_from(rest.end - rest.next).unwrap_or(usize::MAX).min(bytes);
    let found = host.file(rest.root, &rest.path, rest.next, wanted).map_err(|fault| match fault {
        FileFault::Failed(why) => HostFault(why),
        FileFault::Missing | FileFault::Folder | FileFault::Nothing => HostFault("it is gone".to_owned()),
    })?;
    if found.version != rest.version || found.piece.len() != wanted {
        return Err(HostFault("it was changed while it was sent".to_owned()));
    }
    Ok(Bytes::from(found.piece))
}

/// The file is not the one any more that was looked at first.
struct Changing;

fn answer(host: &dyn Host, request: &FileRequest, path: &FilePath) -> Result<FileReply, Changing> {
    // Most requests want the whole of a small file: then one look is all.
    let is_whole = request.conditions.is_empty() && !request.head_only;
    // What the page of a Control UI may do depends on what is in it.
    let is_control_ui = request.root == FileRoot::ControlUi && is_page_itself(path);
    let first = if is_whole || is_control_ui { request.piece_bytes } else { 0 };
    let mut found = match host.file(request.root, path.as_str(), 0, first) {
        Ok(found) => found,
        Err(FileFault::Missing | FileFault::Folder)
            if request.root == FileRoot::ControlUi && !is_page_itself(path) && !is_part_of_page(path) =>
        {
            return answer(host, request, &FilePath::page());
        }
        Err(fault) => return Ok(missing(request, path, fault)),
    };
    let is_page = file::is_page(path.as_str());
    let is_scripted = is_page && request.live_reload;
    let script = if is_scripted { Bytes::from_static(LIVE_RELOAD.as_bytes()) } else { Bytes::new() };
    let file = Validators {
        version: found.version,
        modified_ms: found.modified_ms,
        bytes: found.bytes + script.len() as u64,
    };
    // The script stands behind the file's own bytes or among them: a part of a page would mix the two.
    let conditions = request.conditions.clone();
    let conditions = if is_scripted { conditions.without_range() } else { conditions };
    let page = is_control_ui.then_some(found.piece.as_slice());
    let (status, start, end) = match conditions.wanted(&file) {
        Wanted::NotModified => {
            return Ok(plain(heads(request, &file, path, page, HttpResponse::text(304, ""))));
        }
        Wanted::Unsatisfiable => {
            let response =
                HttpResponse::text(416, "").with("Content-Range", format!("bytes */{}", file.bytes));
            return Ok(plain(guarded(request, response)));
        }
        Wanted::Whole => (200, 0, found.bytes),
        Wanted::Part { start, end } => (206, start, end),
    };
    let mut response = heads(request, &file, path, page, HttpResponse::text(status, ""));
    if status == 206 {
        let last = end - 1;
        response = response.with("Content-Range", format!("bytes {start}-{last}/{}", file.bytes));
    }
    if !is_scripted {
        response = response.with("Accept-Ranges", "bytes");
    }
    if request.head_only {
        response.rest = end - start + script.len() as u64;
        return Ok(plain(response));
    }
    let wanted = usize::try_from(end - start).unwrap_or(usize::MAX).min(request.piece_bytes);
    if !is_whole {
        let version = found.version;
        found = host.file(request.root, path.as_str(), start, wanted).map_err(|_| Changing)?;
        if found.version != version {
            return Err(Changing);
        }
    }
    if found.piece.len() != wanted {
        return Err(Changing);
    }
    let rest = FileRest {
        root: request.root,
        path: path.as_str().into(),
        version: found.version,
        next: start + wanted as u64,
        end,
        tail: script,
    };
    Ok(with_body(response, found.piece, rest))
}

fn with_body(mut response: HttpResponse, piece: Vec<u8>, mut rest: FileRest) -> FileReply {
    if rest.next == rest.end {
        let script = core::mem::take(&mut rest.tail);
        response.body = with_script(piece, &script).into();
        return plain(response);
    }
    response.body = piece.into();
    response.rest = rest.left();
    FileReply { response, rest: Some(rest), fault: None }
}

/// A page with the script at the end of its body, as far as it has one that can be seen.
fn with_script(mut page: Vec<u8>, script: &[u8]) -> Vec<u8> {
    const END: &[u8] = b"</body>";
    let at = page.windows(END.len()).rposition(|window| window.eq_ignore_ascii_case(END));
    let at = at.unwrap_or(page.len());
    page.splice(at..at, script.iter().copied());
    page
}

fn is_page_itself(path: &FilePath) -> bool {
    path.as_str() == "index.html"
}

/// Whether a page would load a file of that name: where it is missing, the page itself in its place would be no help.
fn is_part_of_page(path: &FilePath) -> bool {
    const PARTS: [&str; 12] =
        ["js", "css", "json", "map", "svg", "png", "jpg", "jpeg", "gif", "webp", "ico", "txt"];
    let name = path.as_str().rsplit('/').next().unwrap_or_default();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| PARTS.contains(&extension.as_str()))
}

fn missing(request: &FileRequest, path: &FilePath, fault: FileFault) -> FileReply {
    let response = match (request.root, fault) {
        (FileRoot::ControlUi, FileFault::Missing | FileFault::Folder | FileFault::Nothing) => {
            if is_page_itself(path) {
                HttpResponse::text(503, NO_CONTROL_UI)
            } else {
                HttpResponse::text(404, "Not Found")
            }
        }
        (FileRoot::ControlPage, FileFault::Missing | FileFault::Folder | FileFault::Nothing) => {
            HttpResponse::text(404, "Not Found")
        }
        (FileRoot::A2ui, FileFault::Nothing) => HttpResponse::text(503, "A2UI assets not found"),
        (FileRoot::Canvas, FileFault::Missing | FileFault::Nothing) if path.as_str() == "index.html" => {
            let script = if request.live_reload { LIVE_RELOAD } else { "" };
            let page = with_script(STARTER.as_bytes().to_vec(), script.as_bytes());
            HttpResponse { body: page.into(), ..html(200, "") }
        }
        (_, FileFault::Missing | FileFault::Nothing) if request.path.is_folder() => html(404, NO_PAGE),
        (_, FileFault::Missing | FileFault::Nothing) => HttpResponse::text(404, "not found"),
        // Relative links of its page would lead beside it otherwise. Relative itself: whatever stands before the path,
        // an address of a capability among it, stays.
        (_, FileFault::Folder) if !request.path.is_folder() => {
            HttpResponse::text(302, "").with("Location", format!("./{}/", request.path.last_encoded()))
        }
        (_, FileFault::Folder) => html(404, NO_PAGE),
        (_, FileFault::Failed(why)) => {
            let response = guarded(request, HttpResponse::text(500, "error"));
            return FileReply { response, rest: None, fault: Some(why) };
        }
    };
    plain(guarded(request, response))
}

fn html(status: u16, page: &'static str) -> HttpResponse {
    HttpResponse {
        headers: vec![("Content-Type", Cow::Borrowed("text/html; charset=utf-8"))],
        ..HttpResponse::text(status, page)
    }
}

fn plain(response: HttpResponse) -> FileReply {
    FileReply { response, rest: None, fault: None }
}

/// The headers of a file; `page` is the beginning of a Control UI's own page.
fn heads(
    request: &FileRequest,
    file: &Validators,
    path: &FilePath,
    page: Option<&[u8]>,
    response: HttpResponse,
) -> HttpResponse {
    let content_type = match (request.root, file::content_type(path.as_str())) {
        // As the reference calls it here, and not below the canvas.
        (FileRoot::ControlUi, "text/javascript; charset=utf-8") => "application/javascript; charset=utf-8",
        (_, content_type) => content_type,
    };
    let typed = HttpResponse { headers: vec![("Content-Type", Cow::Borrowed(content_type))], ..response };
    let mut marked = typed.with("ETag", file.etag());
    if let Some(date) = file.last_modified() {
        marked = marked.with("Last-Modified", date);
    }
    match page {
        Some(page) => policy::guard_page(page, marked.with("Cache-Control", "no-cache")),
        None => guarded(request, marked),
    }
}

/// The headers of everything below a root. Agents write what is there: in a browser it runs apart from every page of
/// this gateway, in an origin of its own.
fn guarded(request: &FileRequest, response: HttpResponse) -> HttpResponse {
    if matches!(request.root, FileRoot::ControlUi | FileRoot::ControlPage) {
        let built_in = request.root == FileRoot::ControlPage;
        return guard_control_ui(built_in, response.with("Cache-Control", "no-cache"));
    }
    let response =
        response.with("Cache-Control", "no-store").with("Content-Security-Policy", "sandbox allow-scripts");
    // Such a page has no origin, so that its modules, fonts and data are another origin's to the browser. That nobody
    // else reads them along needs an address that nobody else knows.
    if request.readable_by_all { response.with("Access-Control-Allow-Origin", "*") } else { response }
}

/// What a page is given to load itself again, and to speak to the app that shows it.
const LIVE_RELOAD: &str = concat!("<script>", include_str!("files/live.js"), "</script>");
/// What stands where an agent has shown nothing yet.
const STARTER: &str = include_str!("files/starter.html");
/// What stands where a folder has no page.
const NO_PAGE: &str = "<!doctype html><meta charset=\"utf-8\"><title>OpenClaw Canvas</title>\
                       <p>There is no page here. An <code>index.html</code> in this folder becomes it.";
/// The page is missing, or its folder.
const NO_CONTROL_UI: &str = "Control UI assets not found. gateway.controlUi.root must be a folder with the index.html of \
                             an installed Control UI.";
/// Looks at a file that somebody keeps writing before it is given up.
const LOOKS_MAX: usize = 3;
