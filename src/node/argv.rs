//! What a command line is: the one text it is shown and approved as, and whether the program that is named is the one
//! whose work is done. A shell, a launcher such as `env`, or an interpreter runs what its arguments say, so nobody who
//! allowed it by its path has thereby allowed that.

use super::policy::Executable;

/// The text of a command, as people see it and gateways compare it (spec: nodes section 6): arguments with a blank
/// between them, quoted where they hold white space or a double quote.
pub fn text(argv: &[String]) -> String {
    let word = |arg: &String| {
        if arg.is_empty() || arg.contains(|c: char| c.is_whitespace() || c == '"') {
            format!("\"{}\"", arg.replace('"', "\\\""))
        } else {
            arg.clone()
        }
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Whether a text that came beside a command says the same: all of it, or only what a plain shell was given to run. None:
/// it says something else.
pub fn text_of(raw: &str, argv: &[String]) -> Option<Text> {
    if raw == text(argv) {
        return Some(Text::All);
    }
    (plain_script(argv) == Some(raw)).then_some(Text::Script)
}

/// How a text stands for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// It names all of it.
    All,
    /// It leaves the shell out: only a shell of the system may be left out.
    Script,
}

/// Whether a program is a shell that came with the system. Anybody may call a program `sh`, and put it where it is found.
pub fn is_system_shell(program: &Executable) -> bool {
    let in_system =
        |place: &&str| program.found.strip_prefix(place).is_some_and(|name| SYSTEM_SHELLS.contains(&name));
    // The folder is the system's, and so is what its link leads to; it is a shell all the same.
    let real = program.real.rsplit('/').next().unwrap_or_default();
    ["/bin/", "/usr/bin/"].iter().any(in_system)
        && (Kind::of(real) == Kind::Shell || MANY_IN_ONE.contains(&real))
}

/// What a shell was given to run, when nothing stands behind it (`sh -c 'a | b'`).
pub fn plain_script(argv: &[String]) -> Option<&str> {
    if Kind::of(argv.first()?) != Kind::Shell {
        return None;
    }
    let Operand::Inline(at) = operand(Kind::Shell, argv) else { return None };
    (at + 1 == argv.len()).then(|| argv[at].as_str())
}

/// What a program does with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its own work.
    Ordinary,
    /// Runs a script, or a text of commands.
    Shell,
    /// Runs a program in some language.
    Interpreter(Language),
    /// Starts another program that its arguments name.
    Launcher,
}

/// Languages whose interpreters are known, as far as their options differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Python.
    Python,
    /// Node, Deno and Bun.
    JavaScript,
    /// Perl, Ruby, PHP, Lua and others.
    Other,
}

impl Kind {
    /// By a program's path or name. What stands behind a name as its version does not matter (`python3.13t`,
    /// `perl5.36-x86_64-linux-gnu`).
    pub fn of(program: &str) -> Self {
        let name = program.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        // `-bash` is how a login shell is called.
        let name = name.trim_start_matches('-');
        let is = |list: &[&str]| {
            list.iter()
                .any(|known| name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || is_version(rest)))
        };
        let is_loader = LOADERS.iter().any(|loader| name.starts_with(loader));
        if is(SHELLS) {
            Self::Shell
        } else if is_loader || is(LAUNCHERS) {
            Self::Launcher
        } else if is(PYTHONS) {
            Self::Interpreter(Language::Python)
        } else if is(JAVASCRIPTS) {
            Self::Interpreter(Language::JavaScript)
        } else if is(INTERPRETERS) {
            Self::Interpreter(Language::Other)
        } else {
            Self::Ordinary
        }
    }
}

fn is_version(rest: &str) -> bool {
    let rest = rest.strip_prefix(['.', '-']).unwrap_or(rest);
    rest.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether an allowlist that names this program allows it. `found` is the program's path, `real` the file behind it: a link
/// with a harmless name may lead to a shell.
pub fn is_listable(found: &str, real: &str) -> bool {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    // A program of many names does what the name says that it was called by.
    let is_many = MANY_IN_ONE.contains(&name(real).as_str()) && name(found) != name(real);
    let paths = [found, if is_many { found } else { real }];
    paths.into_iter().all(|path| Kind::of(path) == Kind::Ordinary)
}

/// What of an interpreter's or shell's arguments it will run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Nothing, or nothing that lies in a file.
    None,
    /// The text in this argument.
    Inline(usize),
    /// The file that this argument names.
    File(usize),
    /// It cannot be told.
    Unknown,
}

/// Finds the script in `argv`, whose first argument is a program of this kind.
pub fn operand(kind: Kind, argv: &[String]) -> Operand {
    if matches!(kind, Kind::Ordinary | Kind::Launcher) {
        return Operand::None;
    }
    let mut at = 1;
    while let Some(arg) = argv.get(at) {
        if arg == "--" {
            return if at + 1 < argv.len() { Operand::File(at + 1) } else { Operand::None };
        }
        // Standard input is empty here.
        if arg == "-" {
            return Operand::None;
        }
        let is_option = arg.starts_with('-') || kind == Kind::Shell && arg.starts_with('+');
        if !is_option {
            return Operand::File(at);
        }
        match option(kind, arg) {
            Opt::Harmless => at += 1,
            Opt::Inline if at + 1 < argv.len() => return Operand::Inline(at + 1),
            Opt::Inline | Opt::InlineHere => return Operand::None,
            Opt::Unknown => return Operand::Unknown,
        }
    }
    Operand::None
}

/// The command that a launcher starts, by its first argument that names a shell or an interpreter.
pub fn launched(argv: &[String]) -> Option<usize> {
    let runs = |arg: &String| matches!(Kind::of(arg), Kind::Shell | Kind::Interpreter(_));
    argv.iter().skip(1).position(runs).map(|at| at + 1)
}

/// One option of an interpreter.
enum Opt {
    /// Changes how, not what.
    Harmless,
    /// The next argument is code.
    Inline,
    /// The code is in this argument.
    InlineHere,
    Unknown,
}

fn option(kind: Kind, arg: &str) -> Opt {
    let letters = arg.strip_prefix(['-', '+']).unwrap_or(arg);
    let only = |known: &str| !letters.is_empty() && letters.chars().all(|c| known.contains(c));
    match kind {
        // A cluster such as `-lc`; `-o`, `-O` and `--rcfile` take an argument.
        Kind::Shell if arg.starts_with("--") => match arg {
            "--login" | "--noprofile" | "--norc" | "--posix" | "--verbose" => Opt::Harmless,
            _ => Opt::Unknown,
        },
        Kind::Shell if only("abefhiklmnprtuvxBCEHPTc") => {
            if letters.contains('c') && arg.starts_with('-') {
                Opt::Inline
            } else {
                Opt::Harmless
            }
        }
        Kind::Interpreter(Language::Python) => match arg {
            "-c" => Opt::Inline,
            _ if arg.starts_with("-c") => Opt::InlineHere,
            _ if !arg.starts_with("--") && only("uBIEsSbdiOqv") => Opt::Harmless,
            _ => Opt::Unknown,
        },
        Kind::Interpreter(Language::JavaScript) => match arg {
            "-e" | "--eval" | "-p" | "--print" | "-pe" => Opt::Inline,
            _ if arg.starts_with("--eval=") || arg.starts_with("--print=") => Opt::InlineHere,
            "--no-warnings" | "--trace-warnings" | "--enable-source-maps" => Opt::Harmless,
            _ if arg.starts_with("--max-old-space-size=") => Opt::Harmless,
            _ => Opt::Unknown,
        },
        Kind::Interpreter(Language::Other) => match arg {
            "-e" | "-E" | "-r" => Opt::Inline,
            "-w" => Opt::Harmless,
            _ => Opt::Unknown,
        },
        Kind::Shell | Kind::Ordinary | Kind::Launcher => Opt::Unknown,
    }
}

const SHELLS: &[&str] = &[
    "sh", "bash", "rbash", "dash", "ash", "hush", "ksh", "mksh", "zsh", "yash", "csh", "tcsh", "fish",
    "pwsh", "nu",
];
const PYTHONS: &[&str] = &["python", "pypy", "micropython"];
const JAVASCRIPTS: &[&str] = &["node", "nodejs", "deno", "bun"];
const INTERPRETERS: &[&str] = &[
    "perl",
    "ruby",
    "php",
    "lua",
    "luajit",
    "tclsh",
    "wish",
    "rscript",
    "guile",
    "racket",
    "osascript",
    "pdb",
];
/// Programs that start what their arguments say, or run a language of their own from an argument.
const LAUNCHERS: &[&str] = &[
    "env",
    "choom",
    "systemd-cat",
    "bpftrace",
    "uclampset",
    "ssh-agent",
    "fakeroot-sysv",
    "fakeroot-tcp",
    "split",
    "nice",
    "ionice",
    "chrt",
    "taskset",
    "nohup",
    "timeout",
    "stdbuf",
    "setsid",
    "setarch",
    "time",
    "watch",
    "sudo",
    "doas",
    "su",
    "runuser",
    "pkexec",
    "chroot",
    "unshare",
    "nsenter",
    "firejail",
    "bwrap",
    "flock",
    "xargs",
    "parallel",
    "find",
    "fd",
    "strace",
    "ltrace",
    "gdb",
    "script",
    "expect",
    "unbuffer",
    "systemd-run",
    "start-stop-daemon",
    "at",
    "batch",
    "awk",
    "gawk",
    "mawk",
    "nawk",
    "busybox",
    "toybox",
    "npx",
    "bunx",
    "pnpx",
    "uvx",
    "pipx",
    "make",
    "ssh",
    "docker",
    "podman",
    "ld",
    "setpriv",
    "prlimit",
    "run-parts",
    "capsh",
    "cpulimit",
    "chpst",
    "softlimit",
    "setuidgid",
    "cgexec",
    "numactl",
    "linux32",
    "linux64",
    "i386",
    "x86_64",
    "runcon",
    "aa-exec",
    "sg",
    "newgrp",
    "openvt",
    "dbus-launch",
    "dbus-run-session",
    "xvfb-run",
    "fakeroot",
    "fakechroot",
    "proot",
    "eatmydata",
    "catchsegv",
    "valgrind",
    "perf",
    "rlwrap",
    "tmux",
    "screen",
    "entr",
    "gosu",
    "su-exec",
    "tini",
    "dumb-init",
    "systemd-nspawn",
    "systemd-inhibit",
    "machinectl",
    "proxychains",
    "torsocks",
    "runc",
    "crun",
    "nerdctl",
    "npm",
    "yarn",
    "pnpm",
    "uv",
    "cargo",
    "go",
    "just",
    "ninja",
    "gmake",
    "rake",
    "tsx",
    "ts-node",
    "java",
    "julia",
    "elixir",
    "escript",
    "erl",
    "dotnet",
    "mono",
    "octave",
    "groovy",
    "scala",
    "swift",
    "raku",
    "gjs",
    "vi",
    "vim",
    "nvim",
    "ex",
    "emacs",
];
const SYSTEM_SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ash"];
/// What the system starts programs with, by what its name begins with; it starts any that is named.
const LOADERS: &[&str] = &["ld-", "ld.so", "ld64.so"];
/// One file, many programs.
const MANY_IN_ONE: &[&str] = &["busybox", "toybox"];

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_command_has_one_text() {
        for (words, want) in [
            (&["/bin/echo", "hi"][..], "/bin/echo hi"),
            (&["echo", ""], "echo \"\""),
            (&["echo", "a b", "c\"d"], "echo \"a b\" \"c\\\"d\""),
            (&["sh", "-c", "ls | wc"], "sh -c \"ls | wc\""),
        ] {
            assert_eq!(text(&argv(words)), want);
            assert_eq!(text_of(want, &argv(words)), Some(Text::All));
        }
        assert_eq!(text_of("ls | wc", &argv(&["/bin/sh", "-lc", "ls | wc"])), Some(Text::Script));
        // What stands behind the script becomes part of what runs.
        assert_eq!(text_of("ls | wc", &argv(&["sh", "-c", "ls | wc", "x"])), None);
        assert_eq!(text_of("hi", &argv(&["echo", "-c", "hi"])), None);
    }

    #[test]
    fn a_shell_of_the_system_is_told_from_what_is_only_called_so() {
        for (found, real, want) in [
            ("/usr/bin/sh", "/usr/bin/dash", true),
            ("/bin/sh", "/bin/busybox", true),
            ("/bin/sh", "/nix/store/x-bash-5.2/bin/bash", true),
            ("/usr/bin/sh", "/usr/bin/true", false),
            ("/tmp/bash", "/tmp/bash", false),
            ("/tmp/sh", "/usr/bin/dash", false),
            ("/usr/bin/x/sh", "/usr/bin/dash", false),
            ("/usr/bin/busybox", "/usr/bin/busybox", false),
            ("/usr/bin/env", "/usr/bin/env", false),
        ] {
            let program = Executable { found: found.into(), real: real.into() };
            assert_eq!(is_system_shell(&program), want, "{found} {real}");
        }
    }

    #[test]
    fn programs_are_known_by_name_whatever_their_version_or_place() {
        for (program, kind) in [
            ("/usr/bin/ls", Kind::Ordinary),
            ("bash", Kind::Shell),
            ("/usr/local/bin/bash-5.2", Kind::Shell),
            ("-zsh", Kind::Shell),
            ("/opt/BASH", Kind::Shell),
            ("python3.11", Kind::Interpreter(Language::Python)),
            ("/usr/bin/node22", Kind::Interpreter(Language::JavaScript)),
            ("perl5", Kind::Interpreter(Language::Other)),
            ("/usr/bin/env", Kind::Launcher),
            ("/usr/bin/perl5.36-x86_64-linux-gnu", Kind::Interpreter(Language::Other)),
            ("python3.13t", Kind::Interpreter(Language::Python)),
            ("python3.11-dbg", Kind::Interpreter(Language::Python)),
            ("deno", Kind::Interpreter(Language::JavaScript)),
            ("bun", Kind::Interpreter(Language::JavaScript)),
            ("/lib64/ld-linux-x86-64.so.2", Kind::Launcher),
            ("/lib/ld-musl-aarch64.so.1", Kind::Launcher),
            ("ld.so", Kind::Launcher),
            ("setpriv", Kind::Launcher),
            ("prlimit", Kind::Launcher),
            ("run-parts", Kind::Launcher),
            ("/opt/watch.sh", Kind::Ordinary),
            ("ssh-keygen", Kind::Ordinary),
            ("perldoc", Kind::Ordinary),
            ("shasum", Kind::Ordinary),
            ("envsubst", Kind::Ordinary),
        ] {
            assert_eq!(Kind::of(program), kind, "{program}");
        }
    }

    /// Compatibility row node-allowlist.
    #[test]
    fn an_allowlist_allows_what_is_named_and_not_what_that_could_start() {
        for (found, real, want) in [
            ("/bin/ls", "/bin/ls", true),
            ("/bin/sh", "/bin/dash", false),
            ("/opt/tool", "/bin/bash", false),
            ("/usr/bin/env", "/usr/bin/env", false),
            ("/usr/bin/find", "/usr/bin/find", false),
            ("/usr/bin/python3", "/usr/bin/python3.11", false),
            ("/usr/bin/tool", "/usr/bin/perl5.36-x86_64-linux-gnu", false),
            ("/usr/bin/node", "/usr/bin/node", false),
            // BusyBox: by the name it is called by.
            ("/bin/ls", "/bin/busybox", true),
            ("/bin/sh", "/bin/busybox", false),
            ("/bin/busybox", "/bin/busybox", false),
            ("/usr/bin/awk", "/bin/busybox", false),
        ] {
            assert_eq!(is_listable(found, real), want, "{found} {real}");
        }
    }

    #[test]
    fn the_script_of_an_interpreter_is_found_or_said_to_be_unknown() {
        for (words, want) in [
            (&["bash", "x.sh", "-c"][..], Operand::File(1)),
            (&["bash", "-ex", "x.sh"], Operand::File(2)),
            (&["sh", "-lc", "ls"], Operand::Inline(2)),
            (&["sh", "-c"], Operand::None),
            (&["bash", "-o", "pipefail", "x.sh"], Operand::Unknown),
            (&["bash", "+x", "x.sh"], Operand::File(2)),
            (&["bash", "--rcfile", "x", "y"], Operand::Unknown),
            (&["bash", "--", "x.sh"], Operand::File(2)),
            (&["bash", "-s", "x.sh"], Operand::Unknown),
            (&["bash"], Operand::None),
            (&["python3", "-u", "job.py"], Operand::File(2)),
            (&["python3", "-c", "1"], Operand::Inline(2)),
            (&["python3", "-m", "job"], Operand::Unknown),
            (&["python3", "-"], Operand::None),
            (&["node", "app.js"], Operand::File(1)),
            (&["node", "--import", "./a.js", "app.js"], Operand::Unknown),
            (&["node", "--eval=1"], Operand::None),
            (&["perl", "-e", "1"], Operand::Inline(2)),
            (&["perl", "-I.", "x.pl"], Operand::Unknown),
            (&["ls", "x"], Operand::None),
        ] {
            assert_eq!(operand(Kind::of(words[0]), &argv(words)), want, "{words:?}");
        }
        assert_eq!(launched(&argv(&["nice", "-n", "5", "python3", "x.py"])), Some(3));
        assert_eq!(launched(&argv(&["env", "A=b", "ls"])), None);
    }
}
