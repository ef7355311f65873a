//! `tui`: a live view of a gateway on a terminal: what the control page shows in a browser, by the same methods and in the
//! same words. Pure parts first: `facts` (what is asked, and when), `rows` and `stream` (answers and events as text),
//! `model`, `keys`, `ui`, `view`; then those that touch the world: `terminal`, `bells`, `live`.

mod bells;
mod facts;
mod keys;
mod line;
mod live;
mod model;
mod once;
mod overview;
mod rows;
mod screen;
mod sheet;
mod stream;
mod terminal;
mod text;
mod ui;
mod view;

use super::Failure;
use super::args::ClientArgs;
use crate::environment::Environment;
use clap::Args;

/// `clawgate tui`.
#[derive(Clone, Debug, Args)]
pub struct TuiArgs {
    /// Print the overview once, as plain text, and end; needs no terminal
    #[arg(long)]
    pub once: bool,
    /// How to reach the gateway.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Shows it.
///
/// # Errors
/// The gateway cannot be asked, or this is no terminal.
pub fn run(args: &TuiArgs, environment: &Environment) -> Result<(), Failure> {
    if args.once {
        return once::run(&args.client, environment);
    }
    if args.client.json {
        return Err(Failure::Usage(
            "--json goes with --once: a live view is for people. For programs: `clawgate status --json`, `clawgate logs \
             --follow --json`."
                .to_owned(),
        ));
    }
    let term = std::env::var("TERM").ok();
    if let Some(why) = terminal::why_none(term.as_deref()) {
        return Err(Failure::Usage(format!(
            "{why}, and a live view needs one. `clawgate tui --once` prints the overview; for programs there are `clawgate \
             status --json`, `clawgate health --json` and `clawgate logs --follow --json`."
        )));
    }
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    live::run(&args.client, environment, !no_colour)
}

/// Below `--help`.
pub(super) const HELP: &str = "\
Examples:
  clawgate tui
  clawgate tui --url wss://gate.example:18789 --token \"$TOKEN\"
  clawgate tui --once | less

Shows how the gateway is, who is attached, nodes, pairings and approvals that wait, events, refusals and the log, as the
control page does in a browser. `?` shows the keys. Pairings and approvals are decided here as far as this device's scopes
allow it. It is no chat: the reference's `openclaw tui` is, and needs an agent.";
