//! A disk in memory that behaves as badly as a real one may: what was not fsynced is lost or torn by a power
//! cut, names that were not made durable may or may not survive, and it can be cut at any step.

use clawgate::storage::Disk;
use clawgate_proto::host::Version;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A handle; clones see the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    files: Vec<Inode>,
    /// What programs see.
    names: BTreeMap<PathBuf, usize>,
    /// What a power cut cannot take away.
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names since their folder was last fsynced, in order.
    unsynced: Vec<Change>,
    steps: u64,
    cut_at: Option<u64>,
    fault: Option<(u64, io::ErrorKind)>,
    lying: bool,
    clock: u64,
    trace: Vec<&'static str>,
    watching: bool,
    moments: Vec<SimulatedDisk>,
}

#[derive(Clone, Debug)]
struct Inode {
    content: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    modified: u64,
    changed: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Set(PathBuf, usize),
    Remove(PathBuf),
}

impl SimulatedDisk {
    /// A copy with a life of its own, in the same state.
    pub(crate) fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// Steps (changes and fsyncs) made so far.
    pub(crate) fn steps(&self) -> u64 {
        self.state().steps
    }

    /// The names of the steps since the last call.
    pub(crate) fn take_trace(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.state().trace)
    }

    /// Power goes at this step: it does not happen (a write happens in part), and nothing does after it.
    pub(crate) fn cut_at(&self, step: u64) {
        self.state().cut_at = Some(step);
    }

    /// This step fails with this error, and only this one.
    pub(crate) fn fail_at(&self, step: u64, kind: io::ErrorKind) {
        self.state().fault = Some((step, kind));
    }

    /// From now on fsync of a file (or of a folder) says yes and does nothing.
    pub(crate) fn lie(&self) {
        self.state().lying = true;
    }

    /// From now on a copy is kept of the disk as it is before each step.
    pub(crate) fn watch(&self) {
        self.state().watching = true;
    }

    /// The copies made since the last call, in order.
    pub(crate) fn take_moments(&self) -> Vec<Self> {
        std::mem::take(&mut self.state().moments)
    }

    /// What is there when power is back. `luck` decides what happens to everything that was not made durable.
    pub(crate) fn reboot(&self, luck: u64) -> Self {
        let mut random = Luck(luck);
        let mut state = self.state().clone();
        for inode in &mut state.files {
            if inode.content != inode.durable {
                inode.content = match random.below(4) {
                    0 => inode.durable.clone(),
                    1 => inode.content.clone(),
                    2 => inode.content[..random.below(inode.content.len() + 1)].to_vec().into(),
                    // The length reached the disk, the data did not.
                    _ => vec![0; inode.content.len()].into(),
                };
                inode.durable.clone_from(&inode.content);
            }
        }
        // Each change may have reached the disk by itself, in any order.
        let mut changes = std::mem::take(&mut state.unsynced);
        let mut names = state.durable_names.clone();
        while !changes.is_empty() {
            let change = changes.remove(random.below(changes.len()));
            if random.below(2) == 0 {
                apply(&mut names, &change);
            }
        }
        state.names.clone_from(&names);
        state.durable_names = names;
        state.cut_at = None;
        state.fault = None;
        state.watching = false;
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while holding it")
    }
}

impl State {
    /// Counts a step, or fails it.
    fn step(&mut self, name: &'static str) -> io::Result<()> {
        if self.watching {
            let moment = Self { watching: false, moments: Vec::new(), ..self.clone() };
            self.moments.push(SimulatedDisk(Arc::new(Mutex::new(moment))));
        }
        let step = self.steps;
        self.steps += 1;
        self.clock += 1;
        if self.cut_at.is_some_and(|cut| step >= cut) {
            return Err(io::Error::other("the power is gone"));
        }
        if let Some((_, kind)) = self.fault.filter(|(at, _)| *at == step) {
            return Err(kind.into());
        }
        self.trace.push(name);
        Ok(())
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.unsynced.push(change);
    }

    fn mark(&self, file: usize) -> Version {
        let inode = &self.files[file];
        Version([inode.modified, inode.content.len() as u64, file as u64 + 1, inode.changed])
    }

    fn named(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &Change) {
    match change {
        Change::Set(path, file) => {
            names.insert(path.clone(), *file);
        }
        Change::Remove(path) => {
            names.remove(path);
        }
    }
}

impl Disk for SimulatedDisk {
    type File = usize;

    fn create_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<usize> {
        let mut state = self.state();
        state.step("create")?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (file, now) = (state.files.len(), state.clock);
        state.files.push(Inode {
            content: Arc::default(),
            durable: Arc::default(),
            modified: now,
            changed: now,
        });
        state.change(Change::Set(path.to_owned(), file));
        Ok(file)
    }

    fn write(&self, file: &mut usize, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let done = state.step("write");
        let bytes = if done.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let now = state.clock;
        let inode = &mut state.files[*file];
        Arc::make_mut(&mut inode.content).extend_from_slice(bytes);
        (inode.modified, inode.changed) = (now, now);
        done
    }

    fn sync(&self, file: &usize) -> io::Result<()> {
        let mut state = self.state();
        state.step("fsync")?;
        if state.lying {
            return Ok(());
        }
        let inode = &mut state.files[*file];
        inode.durable.clone_from(&inode.content);
        Ok(())
    }

    fn sync_named(&self, path: &Path) -> io::Result<()> {
        let file = self.state().named(path)?;
        self.sync(&file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step("rename")?;
        let file = state.named(from)?;
        state.files[file].changed = state.clock;
        state.change(Change::Set(to.to_owned(), file));
        state.change(Change::Remove(from.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step("fsync folder")?;
        if state.lying {
            return Ok(());
        }
        let all = std::mem::take(&mut state.unsynced);
        for change in all {
            let (Change::Set(path, _) | Change::Remove(path)) = &change;
            if path.parent() == Some(folder) {
                apply(&mut state.durable_names, &change);
            } else {
                state.unsynced.push(change);
            }
        }
        Ok(())
    }

    fn mark(&self, path: &Path) -> io::Result<Version> {
        let state = self.state();
        Ok(state.names.get(path).map_or(Version::MISSING, |file| state.mark(*file)))
    }

    fn mark_of(&self, file: &usize) -> io::Result<Version> {
        Ok(self.state().mark(*file))
    }

    fn read(&self, path: &Path) -> io::Result<Option<(Vec<u8>, Version)>> {
        let state = self.state();
        Ok(state.names.get(path).map(|file| (state.files[*file].content.to_vec(), state.mark(*file))))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step("remove")?;
        state.named(path)?;
        state.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn entries(&self, folder: &Path) -> io::Result<Vec<(String, Duration)>> {
        let state = self.state();
        let inside = state.names.keys().filter(|path| path.parent() == Some(folder));
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(inside.filter_map(name).map(|name| (name, Duration::from_secs(3600))).collect())
    }
}

/// SplitMix64: small, and the same on every machine.
pub(crate) struct Luck(pub(crate) u64);

impl Luck {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}
