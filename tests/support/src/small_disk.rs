//! A small file system for tests of what happens when a disk is full or takes no writes. Needs root; a plain
//! `chmod` would not do, since root may write anywhere.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs mounted on a folder. Dropping it unmounts it.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of `kib` KiB on a folder, which is made when it is not there.
    ///
    /// # Errors
    /// It is not permitted here, or not possible; a sentence for a person.
    pub fn mount(folder: &Path, kib: u32) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        let size = format!("size={kib}k,mode=700");
        let disk = Self(folder.to_owned());
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder))?;
        Ok(disk)
    }

    /// Takes all the room there is, but for nothing.
    ///
    /// # Panics
    /// When it cannot be written to at all.
    pub fn fill(&self) {
        let mut file = File::create(self.0.join(FILLER)).expect("the disk can be written");
        let block = [0; 1024];
        while file.write_all(&block).is_ok() {}
    }

    /// Makes room again.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn free(&self) {
        std::fs::remove_file(self.0.join(FILLER)).expect("the filler can be removed");
    }

    /// Refuses writes from now on, or takes them again.
    ///
    /// # Panics
    /// When that is not possible.
    pub fn set_read_only(&self, is_read_only: bool) {
        let mode = if is_read_only { "remount,ro" } else { "remount,rw" };
        run(Command::new("mount").args(["-o", mode]).arg(&self.0)).expect("the mount can be changed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily when something still holds it: it must not stay in the way.
        if run(Command::new("umount").arg(&self.0)).is_err() {
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.0));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(why) => Err(format!("{} cannot be run: {why}", command.get_program().display())),
    }
}

const FILLER: &str = "filler";
