//! A disk whose changes may be kept in memory: for a state folder that cannot be written, where its owner asked for that.
//! What is on the disk is read; what is written stays here, bounded, and is gone with the process.

use super::disk::{Disk, FolderLock, RealDisk};
use clawgate_proto::host::Version;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The operating system's file systems, with what was changed in memory over them, if that was asked for.
#[derive(Debug, Default)]
pub struct Overlay {
    memory: Option<Mutex<Memory>>,
}

/// What was changed, by path; `None` is a file that was removed.
#[derive(Debug, Default)]
struct Memory {
    files: BTreeMap<PathBuf, Option<Arc<Content>>>,
    count: u64,
}

#[derive(Debug)]
struct Content {
    id: u64,
    bytes: Mutex<Vec<u8>>,
}

/// An open file of an [`Overlay`].
#[derive(Debug)]
pub struct OverlayFile(Place);

#[derive(Debug)]
enum Place {
    Disk(File),
    Memory(Arc<Content>),
}

impl Overlay {
    /// Everything is written to the disk.
    pub fn on_disk() -> Self {
        Self::default()
    }

    /// Nothing is.
    pub fn in_memory() -> Self {
        Self { memory: Some(Mutex::default()) }
    }

    /// Whether nothing is written.
    pub fn is_in_memory(&self) -> bool {
        self.memory.is_some()
    }

    fn memory(&self) -> Option<MutexGuard<'_, Memory>> {
        self.memory.as_ref().map(|memory| memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What memory knows of a path: nothing, that there is no such file, or its content.
    fn known(&self, path: &Path) -> Option<Option<Arc<Content>>> {
        self.memory()?.files.get(path).cloned()
    }
}

impl Memory {
    fn bytes(&self) -> usize {
        self.files.values().flatten().map(|content| content.lock().len()).sum()
    }

    fn add(&mut self, path: &Path, bytes: Vec<u8>) -> io::Result<Arc<Content>> {
        if self.files.len() >= FILES_MAX || self.bytes() + bytes.len() > BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.count += 1;
        let content = Arc::new(Content { id: self.count, bytes: Mutex::new(bytes) });
        self.files.insert(path.to_owned(), Some(Arc::clone(&content)));
        Ok(content)
    }

    /// Takes a name away. What was never on the disk leaves nothing behind.
    fn forget(&mut self, path: &Path) {
        if RealDisk.mark(path).is_ok_and(|mark| mark == Version::MISSING) {
            self.files.remove(path);
        } else {
            self.files.insert(path.to_owned(), None);
        }
    }
}

impl Content {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No file of a disk has such a time.
    fn version(&self) -> Version {
        Version([u64::MAX, self.lock().len() as u64, self.id, 0])
    }
}

impl Disk for Overlay {
    type File = OverlayFile;

    fn is_kept(&self) -> bool {
        !self.is_in_memory()
    }

    fn lock(&self, folder: &Path) -> io::Result<FolderLock> {
        RealDisk.lock(folder)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.memory.is_none() {
            return RealDisk.link(from, to);
        }
        if self.mark(to)? != Version::MISSING {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (content, _) = self.read(from)?.ok_or(io::ErrorKind::NotFound)?;
        self.memory().map_or(Ok(()), |mut memory| memory.add(to, content).map(drop))
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if self.memory.is_some() { Ok(()) } else { RealDisk.create_folder(folder) }
    }

    fn create(&self, path: &Path) -> io::Result<OverlayFile> {
        if self.memory.is_some() && self.mark(path)? != Version::MISSING {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(OverlayFile(match self.memory() {
            Some(mut memory) => Place::Memory(memory.add(path, Vec::new())?),
            None => Place::Disk(RealDisk.create(path)?),
        }))
    }

    fn write(&self, file: &mut OverlayFile, bytes: &[u8]) -> io::Result<()> {
        match &mut file.0 {
            Place::Disk(file) => RealDisk.write(file, bytes),
            Place::Memory(content) => {
                if self.memory().is_some_and(|memory| memory.bytes() + bytes.len() > BYTES_MAX) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                content.lock().extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn sync(&self, file: &OverlayFile) -> io::Result<()> {
        match &file.0 {
            Place::Disk(file) => RealDisk.sync(file),
            Place::Memory(_) => Ok(()),
        }
    }

    fn sync_named(&self, path: &Path) -> io::Result<()> {
        if self.memory.is_some() { Ok(()) } else { RealDisk.sync_named(path) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.memory.is_none() {
            return RealDisk.rename(from, to);
        }
        let content = match self.known(from) {
            Some(content) => content.ok_or(io::ErrorKind::NotFound)?,
            None => {
                let (bytes, _) = RealDisk.read(from)?.ok_or(io::ErrorKind::NotFound)?;
                self.memory().ok_or(io::ErrorKind::Unsupported)?.add(from, bytes)?
            }
        };
        let mut memory = self.memory().ok_or(io::ErrorKind::Unsupported)?;
        memory.forget(from);
        memory.files.insert(to.to_owned(), Some(content));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if self.memory.is_some() { Ok(()) } else { RealDisk.sync_folder(folder) }
    }

    fn mark(&self, path: &Path) -> io::Result<Version> {
        match self.known(path) {
            Some(Some(content)) => Ok(content.version()),
            Some(None) => Ok(Version::MISSING),
            None => RealDisk.mark(path),
        }
    }

    fn mark_of(&self, file: &OverlayFile) -> io::Result<Version> {
        match &file.0 {
            Place::Disk(file) => RealDisk.mark_of(file),
            Place::Memory(content) => Ok(content.version()),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Option<(Vec<u8>, Version)>> {
        match self.known(path) {
            Some(Some(content)) => {
                let version = content.version();
                let bytes = content.lock().clone();
                Ok(Some((bytes, version)))
            }
            Some(None) => Ok(None),
            None => RealDisk.read(path),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if self.memory.is_none() {
            return RealDisk.remove(path);
        }
        if self.mark(path)? == Version::MISSING {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.memory().iter_mut().for_each(|memory| memory.forget(path));
        Ok(())
    }

    fn entries(&self, folder: &Path) -> io::Result<Vec<(String, Duration)>> {
        let mut entries = RealDisk.entries(folder)?;
        if let Some(memory) = self.memory() {
            let below = memory.files.iter().filter(|(path, _)| path.parent() == Some(folder));
            for (path, content) in below {
                let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
                entries.retain(|(known, _)| known != name);
                entries.extend(content.as_ref().map(|_| (name.to_owned(), Duration::ZERO)));
            }
        }
        Ok(entries)
    }
}

/// Files that memory holds, and their bytes: many times what the documents of a gateway need. One more is refused as on a
/// disk that is full.
const FILES_MAX: usize = 1_024;
const BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::scratch::Folder;
    use crate::storage::{Put, PutFault, Storage};
    use std::fs;

    #[test]
    fn what_is_written_is_read_again_and_the_disk_stays_as_it_is() {
        let folder = Folder::new();
        let (old, new) = (folder.path().join("old.json"), folder.path().join("sub/new.json"));
        fs::write(&old, "on the disk").unwrap();
        let storage = Storage::new(Overlay::in_memory(), 1);
        let (text, mark) = storage.read(&old).unwrap().unwrap();
        assert_eq!(text, b"on the disk");
        let marks = storage
            .put(&[
                Put { path: &old, expected: Some(mark), content: b"changed" },
                Put { path: &new, expected: Some(Version::MISSING), content: b"made" },
            ])
            .unwrap();
        assert_eq!(storage.read_durable(&old).unwrap().unwrap(), (b"changed".to_vec(), marks[0]));
        assert_eq!(storage.read(&new).unwrap().unwrap(), (b"made".to_vec(), marks[1]));
        // Who was faster is noticed as on a disk.
        let late = storage.put(&[Put { path: &old, expected: Some(mark), content: b"late" }]);
        assert!(matches!(late, Err(PutFault::Conflict(_))));
        assert_eq!(fs::read(&old).unwrap(), b"on the disk");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // No temporary file stays in memory either.
        let disk = storage.disk();
        assert_eq!(disk.entries(folder.path()).unwrap().len(), 1);
        disk.remove(&old).unwrap();
        assert_eq!(
            (disk.mark(&old).unwrap(), disk.entries(folder.path()).unwrap().len()),
            (Version::MISSING, 0)
        );
        assert!(disk.remove(&old).is_err() && fs::read(&old).is_ok());
        disk.rename(&new, &old).unwrap();
        disk.link(&old, &new).unwrap();
        assert_eq!(disk.read(&new).unwrap().unwrap().0, b"made");
        assert!(disk.link(&old, &new).is_err() && disk.create(&old).is_err());
    }

    #[test]
    fn memory_is_bounded_like_a_disk_that_is_full() {
        let folder = Folder::new();
        let storage = Storage::new(Overlay::in_memory(), 1);
        let path = folder.path().join("x");
        let large = vec![0; BYTES_MAX + 1];
        let fault = storage.put(&[Put { path: &path, expected: None, content: &large }]).unwrap_err();
        assert!(matches!(fault, PutFault::Failed(why) if why.contains("no space is left")));
        storage.put(&[Put { path: &path, expected: None, content: b"small" }]).unwrap();
        for n in 0..FILES_MAX {
            let _ = storage.disk().create(&folder.path().join(n.to_string()));
        }
        assert!(storage.disk().create(&folder.path().join("more")).is_err());
    }

    #[test]
    fn without_that_everything_is_on_the_disk() {
        let folder = Folder::new();
        let path = folder.path().join("x");
        let storage = Storage::new(Overlay::on_disk(), 1);
        storage.put(&[Put { path: &path, expected: None, content: b"there" }]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"there");
    }
}
