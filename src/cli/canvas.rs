//! `nodes canvas`: what a node's canvas shows, and a picture of it.

use super::args::ClientArgs;
use super::invoke::{Order, find, fresh_id};
use super::session::Session;
use super::{Failure, print, print_json, render};
use crate::environment::Environment;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use std::fs::{OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// `clawgate nodes canvas`.
#[derive(Clone, Debug, Subcommand)]
pub enum CanvasCommand {
    /// Show the canvas
    #[command(
        after_help = "Examples:\n  clawgate nodes canvas present --node desk\n  clawgate nodes canvas present --node desk --target dashboard.html --width 800"
    )]
    Present {
        /// What to show: a file of the canvas folder, or an address [default: what it showed, or its start]
        #[arg(long, value_name = "URL")]
        target: Option<String>,
        /// From the left edge of the screen
        #[arg(long, value_name = "POINTS", allow_negative_numbers = true)]
        x: Option<f64>,
        /// From its upper edge
        #[arg(long, value_name = "POINTS", allow_negative_numbers = true)]
        y: Option<f64>,
        /// How wide
        #[arg(long, value_name = "POINTS")]
        width: Option<f64>,
        /// How high
        #[arg(long, value_name = "POINTS")]
        height: Option<f64>,
        /// On which node.
        #[command(flatten)]
        on: OnNode,
    },
    /// Hide the canvas
    Hide {
        /// On which node.
        #[command(flatten)]
        on: OnNode,
    },
    /// Show another page on the canvas
    Navigate {
        /// A file of the canvas folder, or an address
        #[arg(value_name = "URL")]
        page: String,
        /// On which node.
        #[command(flatten)]
        on: OnNode,
    },
    /// Evaluate JavaScript in the page that the canvas shows, and print its value
    Eval {
        /// What to evaluate
        #[arg(value_name = "JAVASCRIPT", required_unless_present = "js", conflicts_with = "js")]
        code: Option<String>,
        /// The same, as an option
        #[arg(long, value_name = "JAVASCRIPT")]
        js: Option<String>,
        /// On which node.
        #[command(flatten)]
        on: OnNode,
    },
    /// Take a picture of the canvas, and print in which file it is
    #[command(
        after_help = "Example:\n  clawgate nodes canvas snapshot --node desk --format png --max-width 800 --out kiln.png"
    )]
    Snapshot {
        /// Which kind of picture
        #[arg(long, value_name = "FORMAT", default_value = "jpg")]
        format: PictureFormat,
        /// At most so many pixels wide
        #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=16_384))]
        max_width: Option<u32>,
        /// Of a JPEG, from 0 to 1
        #[arg(long, value_name = "QUALITY", value_parser = quality)]
        quality: Option<f64>,
        /// Where to put it [default: a new file in the folder for temporary files]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// On which node.
        #[command(flatten)]
        on: OnNode,
    },
    /// Show what agents make of A2UI components
    A2ui {
        /// What to do.
        #[command(subcommand)]
        command: A2uiCommand,
    },
}

/// `clawgate nodes canvas a2ui`.
#[derive(Clone, Debug, Subcommand)]
pub enum A2uiCommand {
    /// Send messages of A2UI 0.8 to the canvas
    #[command(
        after_help = "Examples:\n  clawgate nodes canvas a2ui push --node desk --text 'The kiln is hot.'\n  clawgate nodes canvas a2ui push --node desk --jsonl surface.jsonl"
    )]
    Push {
        /// A file with one message a line; - is what comes in
        #[arg(long, value_name = "FILE", required_unless_present = "text", conflicts_with = "text")]
        jsonl: Option<PathBuf>,
        /// A text to show, instead of messages
        #[arg(long, value_name = "TEXT")]
        text: Option<String>,
        /// On which node.
        #[command(flatten)]
        on: OnNode,
    },
    /// Take away all that was sent
    Reset {
        /// On which node.
        #[command(flatten)]
        on: OnNode,
    },
}

/// Which node, and how long it may take.
#[derive(Clone, Debug, Args)]
pub struct OnNode {
    /// The node: its id, its address, its name, or at least six characters that its id begins with
    #[arg(long, value_name = "NODE")]
    pub node: String,
    /// How long the node may take, in milliseconds [default: 15000; 20000 for a picture]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub invoke_timeout: Option<u64>,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// What a picture is made as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PictureFormat {
    /// Exact, and larger.
    Png,
    /// JPEG.
    Jpg,
    /// JPEG.
    Jpeg,
}

impl PictureFormat {
    /// As nodes call it.
    fn wire(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpg | Self::Jpeg => "jpeg",
        }
    }
}

impl CanvasCommand {
    fn on(&self) -> &OnNode {
        match self {
            Self::Present { on, .. }
            | Self::Hide { on }
            | Self::Navigate { on, .. }
            | Self::Eval { on, .. }
            | Self::Snapshot { on, .. }
            | Self::A2ui { command: A2uiCommand::Push { on, .. } | A2uiCommand::Reset { on } } => on,
        }
    }

    /// How to reach the gateway.
    pub fn client(&self) -> &ClientArgs {
        &self.on().client
    }

    /// The command of the node and its params; nothing is asked of anybody yet.
    fn asked(&self) -> Result<(&'static str, Value), Failure> {
        Ok(match self {
            Self::Present { target, x, y, width, height, .. } => {
                let sides = [("x", x), ("y", y), ("width", width), ("height", height)];
                let placement: Map<String, Value> = sides
                    .into_iter()
                    .filter_map(|(name, value)| value.map(|value| (name.to_owned(), json!(value))))
                    .collect();
                let mut params = Map::new();
                if let Some(target) = target.as_deref().map(str::trim).filter(|target| !target.is_empty()) {
                    params.insert("url".to_owned(), target.into());
                }
                if !placement.is_empty() {
                    params.insert("placement".to_owned(), placement.into());
                }
                ("canvas.present", params.into())
            }
            Self::Hide { .. } => ("canvas.hide", Value::Null),
            Self::Navigate { page, .. } => ("canvas.navigate", json!({ "url": page.trim() })),
            Self::Eval { code, js, .. } => {
                let code = code.as_ref().or(js.as_ref()).map(String::as_str).unwrap_or_default();
                if code.trim().is_empty() {
                    return Err(Failure::Usage("there is nothing to evaluate".to_owned()));
                }
                ("canvas.eval", json!({ "javaScript": code }))
            }
            Self::Snapshot { format, max_width, quality, .. } => {
                let mut params = json!({ "format": format.wire() });
                if let Some(max_width) = max_width {
                    params["maxWidth"] = json!(max_width);
                }
                if let Some(quality) = quality {
                    params["quality"] = json!(quality);
                }
                ("canvas.snapshot", params)
            }
            Self::A2ui { command: A2uiCommand::Push { jsonl, text, .. } } => {
                let lines = match (jsonl, text) {
                    (Some(file), _) => {
                        let lines = read(file)?;
                        check_messages(&lines).map_err(Failure::Failed)?;
                        lines
                    }
                    (None, text) => text_as_messages(text.as_deref().unwrap_or_default()),
                };
                ("canvas.a2ui.pushJSONL", json!({ "jsonl": lines }))
            }
            Self::A2ui { command: A2uiCommand::Reset { .. } } => ("canvas.a2ui.reset", Value::Null),
        })
    }
}

/// Runs one of the commands.
///
/// # Errors
/// What is asked makes no sense, the gateway cannot be asked, the node does not do it, or a picture cannot be written.
pub fn run(command: &CanvasCommand, environment: &Environment) -> Result<(), Failure> {
    let (name, params) = command.asked()?;
    let on = command.on();
    let is_picture = matches!(command, CanvasCommand::Snapshot { .. });
    let limit_ms = on.invoke_timeout.unwrap_or(if is_picture { PICTURE_MS } else { COMMAND_MS });
    let mut session = Session::open(&on.client, environment)?;
    let answer = find(&mut session, &on.node).and_then(|id| {
        Order { node: &id, command: name, params, limit_ms, key: fresh_id() }
            .send(&mut session, on.client.timeout)
    });
    session.close();
    let answer = answer?;
    if let CanvasCommand::Snapshot { out, .. } = command {
        return keep_picture(&answer["payload"], out.as_deref(), on.client.json);
    }
    if on.client.json {
        return print_json(&answer);
    }
    if let CanvasCommand::Eval { .. } = command {
        return print(&format!(
            "{}\n",
            render::clean(answer["payload"]["result"].as_str().unwrap_or_default())
        ));
    }
    print(&format!("{name}: done\n"))
}

/// Writes a picture for its owner alone, and says where it is.
fn keep_picture(payload: &Value, out: Option<&Path>, is_json: bool) -> Result<(), Failure> {
    let format = match payload["format"].as_str() {
        Some("png") => "png",
        Some("jpg" | "jpeg") => "jpg",
        _ => return Err(Failure::Failed("the node answered with no picture of a known kind".to_owned())),
    };
    let bytes = payload["base64"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
        return Err(Failure::Failed("the node answered with a picture that cannot be read".to_owned()));
    };
    let path = match out {
        Some(path) => path.to_owned(),
        None => std::env::temp_dir().join(format!("clawgate-canvas-{}.{format}", fresh_id())),
    };
    // What lies in a folder that all may write to could be somebody's link.
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    if out.is_some() {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let write = || {
        let mut file = options.open(&path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(&bytes)
    };
    write().map_err(|why| {
        Failure::Failed(format!("the picture cannot be written to {}: {why}", path.display()))
    })?;
    if is_json {
        return print_json(&json!({ "file": { "path": path, "format": format, "bytes": bytes.len() } }));
    }
    print(&format!("MEDIA:{}\n", path.display()))
}

/// What is in a file, or comes in.
fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let outcome = if file == Path::new("-") {
        std::io::stdin().take(LINES_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(LINES_BYTES_MAX + 1).read_to_string(&mut text))
    };
    outcome.map_err(|why| Failure::Failed(format!("{} cannot be read: {why}", file.display())))?;
    if text.len() as u64 > LINES_BYTES_MAX {
        let why = format!(
            "{} has more than {LINES_BYTES_MAX} bytes, which no node is sent at once",
            file.display()
        );
        return Err(Failure::Failed(why));
    }
    Ok(text)
}

/// Whether these are messages of A2UI 0.8: one object a line, each with exactly one of its four keys.
fn check_messages(lines: &str) -> Result<(), String> {
    let mut count = 0;
    for (at, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = at + 1;
        let message: Value = serde_json::from_str(line).map_err(|why| {
            format!("line {number} is not JSON (column {}); A2UI has one message a line", why.column())
        })?;
        let Value::Object(message) = message else {
            return Err(format!("line {number} is no object; A2UI has one message a line"));
        };
        if message.contains_key("createSurface") {
            return Err(format!(
                "line {number} is a message of A2UI 0.9 (createSurface); nodes understand 0.8: surfaceUpdate, then beginRendering"
            ));
        }
        if MESSAGES.iter().filter(|key| message.contains_key(**key)).count() != 1 {
            return Err(format!("line {number} must have exactly one of {}", MESSAGES.join(", ")));
        }
        count += 1;
    }
    if count == 0 { Err("there are no messages".to_owned()) } else { Ok(()) }
}

/// A surface that shows one text.
fn text_as_messages(text: &str) -> String {
    let components = json!([
        { "id": "root", "component": { "Column": { "children": { "explicitList": ["text"] } } } },
        { "id": "text", "component": { "Text": { "text": { "literalString": text }, "usageHint": "body" } } },
    ]);
    let update = json!({ "surfaceUpdate": { "surfaceId": "main", "components": components } });
    let begin = json!({ "beginRendering": { "surfaceId": "main", "root": "root" } });
    format!("{update}\n{begin}\n")
}

fn quality(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "a number from 0 to 1".to_owned())
}

/// How long a node may take, unless somebody says so.
const COMMAND_MS: u64 = 15_000;
/// Pictures take longer.
const PICTURE_MS: u64 = 20_000;
/// What goes to a node at once, of which the gateway takes a mebibyte with everything around it.
const LINES_BYTES_MAX: u64 = 1 << 20;
/// The messages of A2UI 0.8.
const MESSAGES: [&str; 4] = ["beginRendering", "surfaceUpdate", "dataModelUpdate", "deleteSurface"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::cli::nodes::NodesCommand;
    use clap::Parser as _;

    fn asked(line: &[&str]) -> (&'static str, Value) {
        let words = ["clawgate", "nodes", "canvas"].iter().chain(line).chain(&["--node", "desk"]);
        let Command::Nodes { command: NodesCommand::Canvas { command } } =
            Cli::try_parse_from(words).unwrap().command
        else {
            panic!("{line:?}");
        };
        command.asked().unwrap_or_else(|_| panic!("{line:?}"))
    }

    #[test]
    fn nodes_are_asked_as_the_reference_asks_them() {
        for (line, command, params) in [
            (&["present"][..], "canvas.present", json!({})),
            (
                &["present", "--target", "a.html", "--x", "-5", "--width", "300"],
                "canvas.present",
                json!({ "url": "a.html", "placement": { "x": -5.0, "width": 300.0 } }),
            ),
            (&["hide"], "canvas.hide", Value::Null),
            (&["navigate", "/b"], "canvas.navigate", json!({ "url": "/b" })),
            (&["eval", "1+1"], "canvas.eval", json!({ "javaScript": "1+1" })),
            (&["eval", "--js", "2"], "canvas.eval", json!({ "javaScript": "2" })),
            (&["snapshot"], "canvas.snapshot", json!({ "format": "jpeg" })),
            (
                &["snapshot", "--format", "png", "--max-width", "80", "--quality", "0.5"],
                "canvas.snapshot",
                json!({ "format": "png", "maxWidth": 80, "quality": 0.5 }),
            ),
            (&["a2ui", "reset"], "canvas.a2ui.reset", Value::Null),
        ] {
            assert_eq!(asked(line), (command, params), "{line:?}");
        }
        let (command, params) = asked(&["a2ui", "push", "--text", "a \"b\"\nc"]);
        assert_eq!(command, "canvas.a2ui.pushJSONL");
        assert_eq!(check_messages(params["jsonl"].as_str().unwrap()), Ok(()));
    }

    #[test]
    fn what_makes_no_sense_is_not_asked() {
        for line in [
            "snapshot --quality 1.5",
            "snapshot --quality NaN",
            "snapshot --format gif",
            "snapshot --max-width 0",
            "navigate",
            "eval",
            "eval 1 --js 2",
            "a2ui push",
            "a2ui push --text a --jsonl b",
        ] {
            let words = "clawgate nodes canvas".split(' ').chain(line.split(' ')).chain(["--node", "n"]);
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[test]
    fn messages_are_of_version_0_8() {
        for (lines, want) in [
            ("{\"deleteSurface\":{}}\n\n{\"beginRendering\":{}}\n", None),
            ("", Some("no messages")),
            ("{\"deleteSurface\":{}}\n[]", Some("line 2 is no object")),
            ("{\"deleteSurface\":", Some("line 1 is not JSON")),
            ("{\"createSurface\":{}}", Some("0.9")),
            ("{\"a\":{}}", Some("exactly one of")),
            ("{\"deleteSurface\":{},\"surfaceUpdate\":{}}", Some("exactly one of")),
        ] {
            let got = check_messages(lines);
            assert_eq!(got.is_ok(), want.is_none(), "{lines}");
            assert!(want.is_none_or(|want| got.is_err_and(|got| got.contains(want))), "{lines}");
        }
    }

    #[test]
    fn a_picture_is_a_file_for_its_owner() {
        let folder = crate::scratch::Folder::new();
        let path = folder.path().join("a.png");
        std::fs::write(&path, "old and longer than the picture").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let payload = json!({ "format": "png", "base64": STANDARD.encode(b"picture") });
        assert!(keep_picture(&payload, Some(&path), true).is_ok());
        assert_eq!(std::fs::read(&path).unwrap(), b"picture");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for payload in [
            json!({ "format": "png", "base64": "" }),
            json!({ "format": "png", "base64": "%" }),
            json!({ "format": "../x", "base64": "YQ==" }),
            Value::Null,
        ] {
            assert!(keep_picture(&payload, Some(&path), true).is_err(), "{payload}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"picture");
    }
}
