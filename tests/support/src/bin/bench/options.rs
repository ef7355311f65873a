//! The command line.

use std::path::PathBuf;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// One JSON document on standard output instead of a table.
    pub(crate) json: bool,
    /// Fewer rounds: enough to see that everything works, and to catch what is far off.
    pub(crate) quick: bool,
    /// Only the measurements with this word in their group's name.
    pub(crate) only: Option<String>,
    /// Only what has this word in its name: a driver or a flavour.
    pub(crate) on: Option<String>,
    /// A program built before, with both drivers, instead of building it.
    pub(crate) program: Option<PathBuf>,
    /// The same for the board flavour.
    pub(crate) board: Option<PathBuf>,
}

pub(crate) const USAGE: &str =
    "usage: bench [--quick] [--json] [--only WORD] [--on WORD] [--program PATH --board PATH]
  --quick         fewer rounds
  --json          one JSON document instead of a table
  --only WORD     one group: size, start, memory, fan-out, requests, invoke, handshake or idle
  --on WORD       one driver or flavour: smol, std or board
  --program PATH  measure this program, which has both drivers, instead of building it
  --board PATH    and this one, which has the std driver only";

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// One of them is not known, or lacks its value.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value\n{USAGE}"));
            match arg.as_str() {
                "--json" => options.json = true,
                "--quick" => options.quick = true,
                "--only" => options.only = Some(value()?),
                "--on" => options.on = Some(value()?),
                "--program" => options.program = Some(value()?.into()),
                "--board" => options.board = Some(value()?.into()),
                _ => return Err(format!("unknown argument {arg}\n{USAGE}")),
            }
        }
        if options.program.is_some() != options.board.is_some() {
            return Err(format!("--program and --board belong together\n{USAGE}"));
        }
        Ok(options)
    }

    /// Whether a group is wanted.
    pub(crate) fn wants(&self, group: &str) -> bool {
        self.only.as_ref().is_none_or(|word| group.contains(word.as_str()))
    }

    /// Whether a driver or flavour is wanted.
    pub(crate) fn wants_on(&self, name: &str) -> bool {
        self.on.as_ref().is_none_or(|word| name.contains(word.as_str()))
    }

    /// One number or the other.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn arguments_are_understood_or_refused() {
        let options = parse(&["--quick", "--only", "memory"]).unwrap();
        assert!(options.quick && !options.json && options.wants("memory") && !options.wants("size"));
        assert!(parse(&[]).unwrap().wants("size") && parse(&[]).unwrap().wants_on("smol"));
        assert!(!parse(&["--on", "smol"]).unwrap().wants_on("std"));
        assert!(parse(&["--program", "a", "--board", "b"]).is_ok());
        for wrong in [&["--fast"][..], &["--only"], &["--program", "a"]] {
            assert!(parse(wrong).unwrap_err().contains("usage:"), "{wrong:?}");
        }
    }
}
