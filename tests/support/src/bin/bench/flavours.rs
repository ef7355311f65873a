//! Builds both flavours, into a target folder of their own so that they disturb no other build.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The programs to measure.
#[derive(Clone, Debug)]
pub(crate) struct Flavours {
    /// Both drivers: what `cargo build --release` gives.
    pub(crate) full: PathBuf,
    /// The blocking driver only.
    pub(crate) board: PathBuf,
}

/// Builds both.
///
/// # Errors
/// A build failed; cargo has said why.
pub(crate) fn build() -> io::Result<Flavours> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let target = root.join("target/bench");
    let build = |name: &str, features: &[&str]| -> io::Result<PathBuf> {
        eprintln!("building {name}");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release", "--quiet", "--target-dir"])
            .arg(&target)
            .args(features)
            .current_dir(&root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            return Err(io::Error::other(format!("{name} does not build")));
        }
        // The next build would overwrite it.
        let kept = target.join(name);
        std::fs::copy(target.join("release/clawgate"), &kept)?;
        Ok(kept)
    };
    let full = build("clawgate-full", &[])?;
    let board = build("clawgate-board", &["--no-default-features", "--features", "std"])?;
    Ok(Flavours { full, board })
}
