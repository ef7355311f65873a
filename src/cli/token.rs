//! `clawgate token`: the one command that shows a secret, to the person who asks for it.

use super::{Failure, print, print_json};
use crate::config::secrets::{Overrides, Resolved};
use crate::config::{self, Opened};
use crate::environment::Environment;
use crate::storage::Storage;
use clap::Args;
use clawgate_proto::config::AuthMode;
use serde_json::json;
use std::io::{self, Write as _};

/// `clawgate token`.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    /// Print JSON for programs
    #[arg(long)]
    pub json: bool,
}

/// Prints the token that a gateway started from here compares with.
///
/// # Errors
/// There is none.
pub fn show(args: &TokenArgs, environment: &Environment) -> Result<(), Failure> {
    let storage = Storage::on_disk();
    let Opened { file, settings, environment, .. } =
        config::open(&storage, environment).map_err(Failure::Failed)?;
    let auth =
        Resolved::new(&Overrides::default(), &settings, &file.path, &environment).map_err(Failure::Failed)?;
    let Some(token) = &auth.token else {
        return Err(Failure::Failed(match auth.mode {
            AuthMode::Password => "this gateway is configured for a password; there is no token".to_owned(),
            AuthMode::TrustedProxy => {
                "this gateway lets in whom its proxy names; there is no token".to_owned()
            }
            AuthMode::None => {
                "this gateway is configured without a shared secret; there is no token".to_owned()
            }
            AuthMode::Token => format!(
                "there is no token yet: {} has none. `clawgate gateway` makes one at its first start",
                file.path.display()
            ),
        }));
    };
    let source = token.source.to_string();
    if args.json {
        let shown = json!({ "token": token.secret.expose(), "source": source, "mode": auth.mode.as_str() });
        return print_json(&shown);
    }
    if auth.mode != AuthMode::Token {
        let mode = auth.mode.as_str();
        let _ = writeln!(io::stderr(), "note: the configured mode is {mode}, so this token is not asked for");
    }
    let _ = writeln!(io::stderr(), "from {source}:");
    print(&format!("{}\n", token.secret.expose()))
}
