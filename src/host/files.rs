//! Files that are served over HTTP, as they lie on the disk or in the program. Nothing outside of a root is ever opened:
//! every name is opened in the folder before it, and no link is followed, so that neither a link nor a folder that is
//! exchanged meanwhile leads elsewhere. The core has decided before which names there may be.

use super::watch::Watch;
use crate::storage::mark;
use clawgate_proto::host::files::{FileFault, FilePiece, FileRoot};
use clawgate_proto::host::{HostFault, Version};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::UNIX_EPOCH;

/// A file that comes with the program.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its path below its root.
    pub path: &'static str,
    /// What it holds.
    pub content: &'static [u8],
}

/// The roots of one gateway.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// The folder of the canvas, which need not be there yet.
    pub canvas: Option<PathBuf>,
    /// A folder in which a Control UI is installed.
    pub control_ui: Option<PathBuf>,
    /// The files of A2UI.
    pub a2ui: &'static [Asset],
    /// The files of the control page.
    pub control_page: &'static [Asset],
}

/// The files of one gateway. Its roots may become others while it runs.
#[derive(Debug, Default)]
pub struct Files {
    roots: RwLock<Roots>,
    watch: Mutex<Option<Watch>>,
}

impl Files {
    /// Below these roots.
    pub fn new(roots: Roots) -> Self {
        Self { roots: RwLock::new(roots), watch: Mutex::default() }
    }

    /// Below these roots from now on. A file that is on its way from another one ends where it is.
    pub fn set_roots(&self, roots: Roots) {
        let is_other_canvas = self.roots().canvas != roots.canvas;
        *self.roots.write().unwrap_or_else(PoisonError::into_inner) = roots;
        if is_other_canvas {
            self.leave();
        }
    }

    /// Whether there is a canvas.
    pub fn has_canvas(&self) -> bool {
        self.roots().canvas.is_some()
    }

    fn roots(&self) -> RwLockReadGuard<'_, Roots> {
        self.roots.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece of a file.
    ///
    /// # Errors
    /// There is none.
    pub fn read(&self, root: FileRoot, path: &str, start: u64, bytes: usize) -> Result<FilePiece, FileFault> {
        let roots = self.roots();
        let (folder, links_max) = match root {
            FileRoot::A2ui => return read_asset(roots.a2ui, path, start, bytes),
            FileRoot::ControlPage => return read_asset(roots.control_page, path, start, bytes),
            // A second name may be one outside, and who fills the canvas need not be who owns what that leads to.
            FileRoot::Canvas => (roots.canvas.clone(), 1),
            // Package managers give the files they install a second name in their stores.
            FileRoot::ControlUi => (roots.control_ui.clone(), u64::MAX),
        };
        drop(roots);
        let folder = match openat(CWD, folder.as_ref().ok_or(FileFault::Nothing)?, FOLDER, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Err(FileFault::Nothing),
            Err(why) => return Err(unreadable("the folder itself", &why.into())),
        };
        let (file, about) = open_below(folder, path, links_max)?;
        read_piece(path, (&file, &about), start, bytes)
    }

    /// Whether anything in the canvas has changed since the last look.
    ///
    /// # Errors
    /// It cannot be watched.
    pub fn look(&self, root: FileRoot) -> Result<bool, HostFault> {
        let (FileRoot::Canvas, Some(folder)) = (root, self.roots().canvas.clone()) else { return Ok(false) };
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        match watch.as_mut() {
            Some(watch) => watch.look(),
            None => Watch::begin(&folder).map(|begun| {
                *watch = Some(begun);
                false
            }),
        }
        .map_err(|why| HostFault(format!("{} cannot be watched: {why}", folder.display())))
    }

    /// Looks no longer.
    pub fn leave(&self) {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A piece of a file that comes with the program.
fn read_asset(assets: &[Asset], path: &str, start: u64, bytes: usize) -> Result<FilePiece, FileFault> {
    let found = assets.iter().find(|asset| asset.path == path);
    let Some(asset) = found else {
        return Err(if assets.is_empty() { FileFault::Nothing } else { FileFault::Missing });
    };
    let hash: [u8; 32] = Sha256::digest(asset.content).into();
    let word = |at: usize| hash[at * 8..].iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let rest = asset.content.iter().skip(usize::try_from(start).unwrap_or(usize::MAX));
    Ok(FilePiece {
        bytes: asset.content.len() as u64,
        modified_ms: None,
        version: Version([word(0), word(1), word(2), word(3)]),
        piece: rest.take(bytes).copied().collect(),
    })
}

/// Opens name by name. An empty path is the folder itself.
fn open_below(folder: OwnedFd, path: &str, links_max: u64) -> Result<(File, Metadata), FileFault> {
    let mut names = path.split('/').peekable();
    let mut folder = folder;
    while let Some(name) = names.next() {
        // The core lets no other name through; whoever else calls this must not get out either.
        if matches!(name, "" | "." | "..") || name.contains('\0') {
            return Err(if path.is_empty() { FileFault::Folder } else { FileFault::Missing });
        }
        let is_last = names.peek().is_none();
        let opened =
            openat(&folder, name, if is_last { FILE } else { FOLDER | OFlags::NOFOLLOW }, Mode::empty());
        let opened = match opened {
            Ok(opened) => opened,
            // No such file, something else in the place of a folder, a link, a socket, a device without a driver.
            Err(
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO | Errno::NODEV | Errno::NAMETOOLONG,
            ) => {
                return Err(FileFault::Missing);
            }
            #[cfg(target_os = "freebsd")]
            Err(Errno::MLINK) => return Err(FileFault::Missing),
            Err(why) => return Err(unreadable(path, &why.into())),
        };
        if !is_last {
            folder = opened;
            continue;
        }
        let file = File::from(opened);
        let about = file.metadata().map_err(|why| unreadable(path, &why))?;
        return if about.is_dir() {
            Err(FileFault::Folder)
        } else if about.is_file() && about.nlink() <= links_max {
            Ok((file, about))
        } else {
            Err(FileFault::Missing)
        };
    }
    Err(FileFault::Folder)
}

fn read_piece(
    path: &str,
    (file, about): (&File, &Metadata),
    start: u64,
    bytes: usize,
) -> Result<FilePiece, FileFault> {
    let wanted = about.len().saturating_sub(start).min(bytes as u64);
    let mut piece = vec![0; usize::try_from(wanted).unwrap_or(0)];
    let mut filled = 0;
    while filled < piece.len() {
        match file.read_at(&mut piece[filled..], start + filled as u64) {
            // Shorter than it was a moment ago: the next look finds another version.
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(unreadable(path, &why)),
        }
    }
    piece.truncate(filled);
    let since = about.modified().ok().and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
    let modified_ms = since.and_then(|since| u64::try_from(since.as_millis()).ok());
    Ok(FilePiece { bytes: about.len(), modified_ms, version: mark(about), piece })
}

fn unreadable(path: &str, why: &io::Error) -> FileFault {
    FileFault::Failed(format!("{path:?} cannot be read: {why}"))
}

/// Without a wait for somebody who writes into a pipe of that name, and without a terminal that would become ours.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
/// The root itself may be a link: its owner chose it.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn files_at(folder: PathBuf, a2ui: &'static [Asset]) -> Files {
        Files::new(Roots { canvas: Some(folder), a2ui, ..Roots::default() })
    }

    #[test]
    fn other_roots_hold_from_one_request_to_the_next() {
        let (folder, files) = canvas();
        assert!(!files.look(FileRoot::Canvas).unwrap());
        std::fs::create_dir(folder.path().join("second")).unwrap();
        std::fs::write(folder.path().join("second/a.txt"), "other").unwrap();
        let roots = Roots { canvas: Some(folder.path().join("second")), ..Roots::default() };
        files.set_roots(roots.clone());
        assert_eq!(read(&files, "a.txt").unwrap(), b"other");
        assert!(!files.look(FileRoot::Canvas).unwrap(), "another folder is watched from now on");
        std::fs::write(folder.path().join("second/a.txt"), "news").unwrap();
        assert!(files.look(FileRoot::Canvas).unwrap());
        files.set_roots(Roots { canvas: None, ..roots });
        assert_eq!(read(&files, "a.txt"), Err(FileFault::Nothing));
    }

    fn canvas() -> (Folder, Files) {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path().join("canvas/sub")).unwrap();
        std::fs::write(folder.path().join("canvas/a.txt"), "0123456789").unwrap();
        std::fs::write(folder.path().join("canvas/sub/b.txt"), "below").unwrap();
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        let files = files_at(folder.path().join("canvas"), &[]);
        (folder, files)
    }

    fn read(files: &Files, path: &str) -> Result<Vec<u8>, FileFault> {
        files.read(FileRoot::Canvas, path, 0, 100).map(|found| found.piece)
    }

    #[test]
    fn files_are_read_in_pieces_and_have_a_version() {
        let (folder, files) = canvas();
        let piece = |start, bytes| files.read(FileRoot::Canvas, "a.txt", start, bytes).unwrap();
        assert_eq!(piece(3, 4).piece, b"3456");
        assert_eq!(
            (piece(8, 100).piece, piece(10, 1).piece, piece(99, 1).piece),
            (b"89".to_vec(), vec![], vec![])
        );
        assert_eq!((piece(0, 0).bytes, piece(0, 0).version), (10, piece(5, 5).version));
        assert_eq!(read(&files, "sub/b.txt").unwrap(), b"below");
        let before = piece(0, 0).version;
        std::fs::write(folder.path().join("other"), "0123456789").unwrap();
        std::fs::rename(folder.path().join("other"), folder.path().join("canvas/a.txt")).unwrap();
        assert_ne!(piece(0, 0).version, before);
    }

    #[test]
    fn nothing_but_regular_files_below_the_root_is_opened() {
        let (folder, files) = canvas();
        let root = folder.path().join("canvas");
        symlink("../secret", root.join("link")).unwrap();
        symlink(folder.path(), root.join("up")).unwrap();
        symlink("a.txt", root.join("inside")).unwrap();
        symlink("sub", root.join("inside-folder")).unwrap();
        symlink("link", root.join("round")).unwrap();
        std::fs::hard_link(folder.path().join("secret"), root.join("second-name")).unwrap();
        rustix::fs::mkfifoat(CWD, root.join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        for path in [
            "link",
            "up/secret",
            "inside",
            "inside-folder/b.txt",
            "round",
            "second-name",
            "pipe",
            "socket",
            "../secret",
            "sub/../../secret",
            "/etc/passwd",
            "sub//b.txt",
            "./a.txt",
            "a.txt/x",
            "nothing",
            "a\0b",
        ] {
            assert_eq!(read(&files, path), Err(FileFault::Missing), "{path}");
        }
        assert_eq!(read(&files, "sub"), Err(FileFault::Folder));
        assert_eq!(read(&files, ""), Err(FileFault::Folder));
    }

    #[test]
    fn the_root_itself_may_be_a_link_or_not_be_there() {
        let (folder, _) = canvas();
        symlink("canvas", folder.path().join("by-link")).unwrap();
        let files = |name: &str| files_at(folder.path().join(name), &[]);
        assert_eq!(read(&files("by-link"), "a.txt").unwrap(), b"0123456789");
        assert_eq!(read(&files("nowhere"), "a.txt"), Err(FileFault::Nothing));
        assert!(matches!(read(&files("secret"), "a.txt"), Err(FileFault::Failed(_))));
    }

    /// A folder that is exchanged for a link between two looks leads nowhere, however fast.
    #[test]
    fn a_folder_that_becomes_a_link_leads_nowhere() {
        let (folder, files) = canvas();
        let root = folder.path().join("canvas");
        std::fs::create_dir(folder.path().join("out")).unwrap();
        std::fs::write(folder.path().join("out/b.txt"), "outside").unwrap();
        let exchange = |root: &Path| {
            for _ in 0..300 {
                std::fs::rename(root.join("sub"), root.join("away")).unwrap();
                symlink("../out", root.join("sub")).unwrap();
                std::fs::remove_file(root.join("sub")).unwrap();
                std::fs::rename(root.join("away"), root.join("sub")).unwrap();
            }
        };
        std::thread::scope(|scope| {
            let exchanging = scope.spawn(|| exchange(&root));
            while !exchanging.is_finished() {
                let found = read(&files, "sub/b.txt");
                assert!(found == Ok(b"below".to_vec()) || found == Err(FileFault::Missing), "{found:?}");
            }
        });
    }

    #[test]
    fn files_of_the_program_are_read_by_name() {
        static ASSETS: [Asset; 2] =
            [Asset { path: "index.html", content: b"<p>" }, Asset { path: "a.js", content: b"let a = 1" }];
        let files = files_at(PathBuf::from("/nowhere"), &ASSETS);
        let piece = files.read(FileRoot::A2ui, "a.js", 4, 3).unwrap();
        assert_eq!((piece.piece, piece.bytes, piece.modified_ms), (b"a =".to_vec(), 9, None));
        assert_eq!(files.read(FileRoot::A2ui, "b.js", 0, 1), Err(FileFault::Missing));
        let none = files_at(PathBuf::from("/nowhere"), &[]);
        assert_eq!(none.read(FileRoot::A2ui, "index.html", 0, 1), Err(FileFault::Nothing));
    }
}
