//! Tells when a file may have been changed, by the kernel's word: one thread that sleeps until there is some. It watches
//! the folders of the files, not the files, because a file is replaced by another one under its name; where a name is a
//! link, the folders of what it leads through, too. What it tells is a hint: whoever is told looks, and looks every so often
//! without it, because network file systems and other systems tell nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

pub use kernel::FileWatch;

/// The folders to watch, and the names in them that count.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    folders: BTreeSet<PathBuf>,
    names: BTreeSet<OsString>,
}

impl Places {
    fn of(paths: &[PathBuf]) -> Self {
        let mut places = Self::default();
        for path in paths {
            let mut path = path.clone();
            for _ in 0..LINKS_MAX {
                let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { break };
                if places.folders.len() >= FOLDERS_MAX && !places.folders.contains(folder) {
                    break;
                }
                places.folders.insert(folder.to_owned());
                places.names.insert(name.to_owned());
                // The name itself may be a link, or a folder on the way to it.
                let next = match std::fs::read_link(&path) {
                    Ok(to) => folder.join(to),
                    Err(_) => match std::fs::canonicalize(&path) {
                        Ok(real) if real != path => real,
                        Ok(_) | Err(_) => break,
                    },
                };
                path = next;
            }
        }
        places
    }

    /// Volumes that replace all of their files at once do so by a link whose name begins like this.
    fn counts(&self, name: &Path) -> bool {
        self.names.contains(name.as_os_str()) || name.as_os_str().as_encoded_bytes().starts_with(b"..")
    }
}

/// Folders that are watched; the rest is only looked at.
const FOLDERS_MAX: usize = 32;
/// Links behind one name.
const LINKS_MAX: usize = 8;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod kernel {
    use super::{Path, PathBuf, Places, io};
    use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
    use rustix::io::Errno;
    use std::collections::BTreeMap;
    use std::ffi::OsStr;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt as _;
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    /// A watch over some files. It ends when this is dropped.
    #[derive(Debug)]
    pub struct FileWatch(Arc<Shared>);

    #[derive(Debug)]
    struct Shared {
        inotify: OwnedFd,
        state: Mutex<State>,
    }

    #[derive(Debug, Default)]
    struct State {
        places: Places,
        watches: BTreeMap<PathBuf, i32>,
        is_over: bool,
    }

    impl FileWatch {
        /// Begins to watch; `tell` is called whenever one of the files may have been changed.
        ///
        /// # Errors
        /// The system does not watch, has no more watches, or has no thread.
        pub fn begin(paths: &[PathBuf], tell: impl Fn() + Send + 'static) -> io::Result<Self> {
            let inotify = inotify::init(CreateFlags::CLOEXEC)?;
            let watch = Self(Arc::new(Shared { inotify, state: Mutex::default() }));
            watch.follow(paths)?;
            let shared = Arc::clone(&watch.0);
            let thread = std::thread::Builder::new().name("config-watch".to_owned()).stack_size(STACK_BYTES);
            thread.spawn(move || shared.run(&tell))?;
            Ok(watch)
        }

        /// Watches these files from now on.
        ///
        /// # Errors
        /// Not all of them can be.
        pub fn follow(&self, paths: &[PathBuf]) -> io::Result<()> {
            let places = Places::of(paths);
            let mut state = self.0.lock();
            let mut watches = BTreeMap::new();
            let mut outcome = Ok(());
            for folder in &places.folders {
                // One that is watched already keeps its number, unless another folder has taken its name.
                match inotify::add_watch(&self.0.inotify, folder, CHANGES) {
                    Ok(watch) => {
                        watches.insert(folder.clone(), watch);
                    }
                    // It is looked at.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
                    Err(why) => outcome = Err(why.into()),
                }
            }
            let before = std::mem::replace(&mut state.watches, watches);
            let gone = before.into_values().filter(|watch| !state.watches.values().any(|kept| kept == watch));
            gone.for_each(|watch| self.0.forget(watch));
            state.places = places;
            outcome
        }
    }

    impl Drop for FileWatch {
        fn drop(&mut self) {
            let mut state = self.0.lock();
            state.is_over = true;
            // The end of a watch is an event, which wakes the thread.
            let watches = std::mem::take(&mut state.watches);
            watches.into_values().for_each(|watch| self.0.forget(watch));
        }
    }

    impl Shared {
        fn lock(&self) -> MutexGuard<'_, State> {
            self.state.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn forget(&self, watch: i32) {
            // One whose folder is gone has ended by itself.
            let _ = inotify::remove_watch(&self.inotify, watch);
        }

        fn run(&self, tell: &dyn Fn()) {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
            loop {
                let (events, name) = match reader.next() {
                    Ok(event) => (
                        event.events(),
                        event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()),
                    ),
                    Err(Errno::INTR) => continue,
                    Err(_) => return,
                };
                let state = self.lock();
                if state.is_over {
                    return;
                }
                let is_folder = events
                    .intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::QUEUE_OVERFLOW);
                let counts = is_folder || name.is_some_and(|name| state.places.counts(Path::new(&name)));
                drop(state);
                if counts {
                    tell();
                    // Who writes without a pause is told of now and then, not each time.
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Rights count as well.
    const CHANGES: WatchFlags = crate::host::watch::CHANGES.union(WatchFlags::ATTRIB);
    /// Between two words of changes; less than any look takes to come.
    const PAUSE: Duration = Duration::from_millis(5);
    const STACK_BYTES: usize = 64 * 1024;
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod kernel {
    use super::{PathBuf, io};

    /// There is no such watch on this system.
    #[derive(Debug)]
    pub struct FileWatch(());

    impl FileWatch {
        /// Nothing is told here.
        ///
        /// # Errors
        /// Always.
        pub fn begin(_: &[PathBuf], _: impl Fn() + Send + 'static) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        /// Nothing is told here.
        ///
        /// # Errors
        /// Always.
        pub fn follow(&self, _: &[PathBuf]) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use std::fs;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    fn watch(paths: &[PathBuf]) -> (FileWatch, Receiver<()>) {
        let (told, hears) = channel();
        let watch = FileWatch::begin(paths, move || {
            let _ = told.send(());
        });
        (watch.unwrap(), hears)
    }

    /// Whether something is told. The bound is for what never comes.
    fn is_told(hears: &Receiver<()>) -> bool {
        hears.recv_timeout(Duration::from_secs(10)).is_ok()
    }

    fn drain(hears: &Receiver<()>) {
        while hears.recv_timeout(Duration::from_millis(300)).is_ok() {}
    }

    #[test]
    fn a_change_is_told_however_it_is_made() {
        let folder = Folder::new();
        let file = folder.path().join("c.json");
        fs::write(&file, "1").unwrap();
        let (_watch, hears) = watch(std::slice::from_ref(&file));
        let changes: [&dyn Fn(); 4] = [
            &|| fs::write(&file, "2").unwrap(),
            &|| {
                fs::write(folder.path().join("other"), "3").unwrap();
                fs::rename(folder.path().join("other"), &file).unwrap();
            },
            &|| fs::remove_file(&file).unwrap(),
            &|| fs::write(&file, "4").unwrap(),
        ];
        for change in changes {
            change();
            assert!(is_told(&hears));
            drain(&hears);
        }
        // A neighbour does not count: what is told next is the file's own.
        fs::write(folder.path().join("neighbour"), "1").unwrap();
        assert!(hears.recv_timeout(Duration::from_millis(100)).is_err());
        fs::write(&file, "5").unwrap();
        assert!(is_told(&hears));
    }

    #[test]
    fn what_a_link_leads_to_counts_and_so_does_what_comes_later() {
        let folder = Folder::new();
        let (real, link, more) = (
            folder.path().join("a/real.json"),
            folder.path().join("b/c.json"),
            folder.path().join("c/inc.json"),
        );
        for path in [&real, &link, &more] {
            fs::create_dir(path.parent().unwrap()).unwrap();
        }
        fs::write(&real, "1").unwrap();
        std::os::unix::fs::symlink("../a/real.json", &link).unwrap();
        let (watch, hears) = watch(std::slice::from_ref(&link));
        fs::write(&real, "2").unwrap();
        assert!(is_told(&hears), "behind the link");
        drain(&hears);
        watch.follow(&[link.clone(), more.clone()]).unwrap();
        fs::write(&more, "1").unwrap();
        assert!(is_told(&hears), "an included file");
        drain(&hears);
        watch.follow(std::slice::from_ref(&more)).unwrap();
        fs::write(&real, "3").unwrap();
        assert!(hears.recv_timeout(Duration::from_millis(100)).is_err(), "no longer one of them");
        drop(watch);
        // The thread has ended, or the channel would stay open.
        let ended = hears.recv_timeout(Duration::from_secs(10));
        assert!(matches!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected)), "{ended:?}");
    }

    #[test]
    fn only_so_many_folders_are_watched() {
        let paths: Vec<PathBuf> =
            (0..FOLDERS_MAX + 10).map(|at| PathBuf::from(format!("/none/{at}/f"))).collect();
        assert_eq!(Places::of(&paths).folders.len(), FOLDERS_MAX);
    }
}
