//! The manual page, made from what `--help` says, so that there is one text.

use super::args::Cli;
use clap::{Command, CommandFactory as _};
use std::fmt::Write as _;

/// The page in roff.
pub fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut out = format!(
        ".TH CLAWGATE 1 \"\" \"clawgate {}\" \"User Commands\"\n.SH NAME\nclawgate \\- {}\n",
        env!("CARGO_PKG_VERSION"),
        escaped(&about)
    );
    section(&mut out, "DESCRIPTION", &mut command);
    out
}

/// A command's help, then those of its commands.
fn section(out: &mut String, title: &str, command: &mut Command) {
    let help = command.render_long_help().to_string();
    let _ = writeln!(out, ".SH {}\n.nf\n{}\n.fi", escaped(&title.to_uppercase()), escaped(help.trim_end()));
    for sub in command.get_subcommands_mut() {
        let title = sub.get_bin_name().unwrap_or_default().to_owned();
        if !sub.is_hide_set() && !title.ends_with(" help") {
            section(out, &title, sub);
        }
    }
}

/// Nothing of it is a request or an escape to roff.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if line.starts_with(['.', '\'']) {
            out.push_str("\\&");
        }
        out.push_str(&line.replace('\\', "\\e").replace('-', "\\-"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_and_no_stray_request() {
        let page = page();
        for title in
            [".SH NAME", ".SH DESCRIPTION", ".SH CLAWGATE LOGS", ".SH CLAWGATE SYSTEM HEARTBEAT LAST"]
        {
            assert!(page.contains(title), "{title} is not in {page}");
        }
        assert!(!page.contains("HELP\n"), "{page}");
        let known =
            |line: &str| [".TH ", ".SH ", ".nf", ".fi"].iter().any(|request| line.starts_with(request));
        assert!(page.lines().filter(|line| line.starts_with(['.', '\''])).all(known));
        assert_eq!(escaped(".a\n-b\\"), "\\&.a\n\\-b\\e");
    }
}
