//! What the soak is told.

use std::path::PathBuf;
use std::time::Duration;

/// The arguments, and the two variables.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The program under soak.
    pub(crate) program: PathBuf,
    /// Parts of the names of those that run; all when there is none.
    pub(crate) only: Option<String>,
    /// How long clients come and go.
    pub(crate) soak: Duration,
    /// How long nothing happens.
    pub(crate) idle: Duration,
}

const USAGE: &str = "\
usage: soak --program PATH [--only WORD]

  --program PATH  the built program
  --only WORD     the gateways with this word in their name: std, smol, tls, \"std, clear\"

variables:
  CLAWGATE_SOAK_SECONDS       how long clients come and go (600)
  CLAWGATE_SOAK_IDLE_SECONDS  how long nothing happens after that (120)

example:
  CLAWGATE_SOAK_SECONDS=120 soak --program target/release/clawgate --only smol";

impl Options {
    /// Reads them.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut program, mut only) = (None, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
            match word.as_str() {
                "--program" => program = Some(PathBuf::from(value()?)),
                "--only" => only = Some(value()?),
                _ => return Err(format!("unknown argument {word}\n{USAGE}")),
            }
        }
        let program = program.ok_or_else(|| format!("--program is missing\n{USAGE}"))?;
        let program = program.canonicalize().map_err(|why| format!("{}: {why}", program.display()))?;
        let soak = seconds("CLAWGATE_SOAK_SECONDS", 600)?;
        Ok(Self { program, only, soak, idle: seconds("CLAWGATE_SOAK_IDLE_SECONDS", 120)? })
    }

    /// The rounds, and how long each is: a minute, or half of a soak that is shorter than two.
    pub(crate) fn rounds(&self) -> (u32, Duration) {
        let rounds = u32::try_from(self.soak.as_secs() / 60).unwrap_or(u32::MAX).max(2);
        (rounds, self.soak / rounds)
    }
}

fn seconds(name: &str, usual: u64) -> Result<Duration, String> {
    let Ok(text) = std::env::var(name) else { return Ok(Duration::from_secs(usual)) };
    let number = text.parse().map_err(|_| format!("{name} is a number of seconds, not {text}"))?;
    Ok(Duration::from_secs(number))
}
