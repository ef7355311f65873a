//! A `systemctl` that stands in for systemd: it writes down how it is called, and knows which units it enabled and
//! started. Units are files; nothing is run.

use crate::scratch::{TempDir, temp_dir};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// A folder for `PATH` with that program in it.
#[derive(Debug)]
pub struct FakeSystemctl(TempDir);

impl FakeSystemctl {
    /// One that knows the units in `units`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn new(units: &std::path::Path) -> Self {
        let folder = temp_dir();
        let (state, units) = (folder.path().display(), units.display());
        let script = format!(
            r#"#!/bin/sh
echo "$*" >> '{state}/calls'
while true; do case "$1" in --user | --no-pager) shift ;; *) break ;; esac; done
verb=$1; shift
if [ -e '{state}/fail-'"$verb" ]; then echo "Job for it failed. $verb does not work." >&2; exit 1; fi
if [ "$verb" = show ]; then
    case "$1" in --property=Version) echo Version=252; exit ;; esac
    unit=$1
    if [ -e '{units}/'"$unit" ]; then
        echo LoadState=loaded; echo "FragmentPath={units}/$unit"
    else
        echo LoadState=not-found
    fi
    if [ -e '{state}/enabled-'"$unit" ]; then echo UnitFileState=enabled; else echo UnitFileState=disabled; fi
    if [ -e '{state}/active-'"$unit" ]; then
        echo ActiveState=active; echo SubState=running; echo MainPID=4711; echo NRestarts=3
        echo "StatusText=listening on it"
    else
        echo ActiveState=inactive; echo SubState=dead; echo MainPID=0
    fi
    exit
fi
for unit in "$@"; do
    [ "$unit" != --no-block ] || continue
    if ! [ -e '{units}/'"$unit" ]; then echo "Unit $unit not found." >&2; exit 5; fi
    case "$verb" in
        enable) touch '{state}/enabled-'"$unit" ;;
        disable) rm -f '{state}/enabled-'"$unit" ;;
        start | restart) touch '{state}/active-'"$unit" ;;
        stop) rm -f '{state}/active-'"$unit" ;;
    esac
done
"#
        );
        let path = folder.path().join("systemctl");
        std::fs::write(&path, script).expect("the folder can be written");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("the file is ours");
        Self(folder)
    }

    /// For `PATH`: it, and the shell's own programs.
    pub fn path(&self) -> String {
        format!("{}:/usr/bin:/bin", self.0.path().display())
    }

    /// How it was called since this was asked last, without the questions.
    pub fn calls(&self) -> Vec<String> {
        let path = self.file("calls");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(&path);
        text.lines().filter(|line| !line.contains(" show ")).map(str::to_owned).collect()
    }

    /// From now on this fails.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn fail(&self, verb: &str) {
        std::fs::write(self.file(&format!("fail-{verb}")), "").expect("the folder can be written");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
