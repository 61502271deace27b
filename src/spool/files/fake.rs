//! Simulated disk for tests. It keeps what was written apart from what was synced.
//!
//! A [crash](FakeFiles::crash) keeps any part of the unsynced writes, torn at any byte and in any order, and any part
//! of the unsynced changes of the directory. All faults are drawn from a seeded generator.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Files;

/// Handle of a simulated disk. Clones share the disk.
#[derive(Debug, Clone)]
pub(crate) struct FakeFiles {
    disk: Arc<Mutex<Disk>>,
    owns_lock: bool,
}

/// Open file of a simulated disk.
#[derive(Debug)]
pub(crate) struct FakeFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
}

/// Probabilities of faults, from 0 to 1 per operation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Reads that fail.
    pub(crate) read: f64,
    /// Writes and changes of the size that fail after a part was written.
    pub(crate) write: f64,
    /// Syncs of a file that fail and discard the unsynced writes, as Linux does.
    pub(crate) sync: f64,
    /// Syncs of the directory that fail.
    pub(crate) sync_directory: f64,
    /// Creations, renames, and removals that fail.
    pub(crate) entry: f64,
}

#[derive(Debug)]
struct Disk {
    rng: fastrand::Rng,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// Directory as it is seen by the process, and as it is on the disk.
    entries: BTreeMap<String, u64>,
    durable_entries: BTreeMap<String, u64>,
    unsynced_entries: Vec<EntryChange>,
    locked: bool,
    faults: Faults,
    /// Number of syncs, and of writes, that fail next.
    failing_syncs: u32,
    failing_writes: u32,
    /// Maximum size of all files.
    capacity: u64,
    preallocates: bool,
    /// Number of changes until the power fails.
    changes_left: Option<u64>,
    is_down: bool,
    open_files: usize,
    max_open_files: usize,
    read_bytes: u64,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// Contents as they are seen by the process.
    contents: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// Whether the contents are not those of the disk although nothing is unsynced, because a sync failed.
    diverged: bool,
    open: usize,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetSize(usize),
}

#[derive(Debug, Clone)]
enum EntryChange {
    Create(String, u64),
    Rename(String, String, u64),
    Remove(String),
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(contents, *offset, bytes),
            Self::SetSize(size) => contents.resize(*size, 0),
        }
    }
}

fn write(contents: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[offset..end].copy_from_slice(bytes);
}

impl EntryChange {
    fn apply(&self, entries: &mut BTreeMap<String, u64>) {
        match self {
            Self::Create(name, inode) => drop(entries.insert(name.clone(), *inode)),
            Self::Rename(from, to, inode) => {
                entries.remove(from);
                entries.insert(to.clone(), *inode);
            }
            Self::Remove(name) => drop(entries.remove(name)),
        }
    }
}

impl FakeFiles {
    pub(crate) fn new(seed: u64) -> Self {
        let disk = Disk {
            rng: fastrand::Rng::with_seed(seed),
            inodes: BTreeMap::new(),
            next_inode: 0,
            entries: BTreeMap::new(),
            durable_entries: BTreeMap::new(),
            unsynced_entries: Vec::new(),
            locked: false,
            faults: Faults::default(),
            failing_syncs: 0,
            failing_writes: 0,
            read_bytes: 0,
            capacity: u64::MAX,
            preallocates: true,
            changes_left: None,
            is_down: false,
            open_files: 0,
            max_open_files: 0,
        };
        Self { disk: Arc::new(Mutex::new(disk)), owns_lock: false }
    }

    /// Returns a handle for another process.
    pub(crate) fn another(&self) -> Self {
        Self { disk: self.disk.clone(), owns_lock: false }
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.disk().faults = faults;
    }

    /// Lets the next syncs of files fail.
    pub(crate) fn fail_syncs(&self, count: u32) {
        self.disk().failing_syncs = count;
    }

    /// Lets the next writes fail.
    pub(crate) fn fail_writes(&self, count: u32) {
        self.disk().failing_writes = count;
    }

    /// Returns the number of bytes that were read.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.disk().read_bytes
    }

    /// Sets the maximum size of all files.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.disk().capacity = bytes;
    }

    /// Sets whether the file system can reserve space.
    pub(crate) fn set_preallocates(&self, preallocates: bool) {
        self.disk().preallocates = preallocates;
    }

    /// Lets the power fail after a number of changes. All operations fail then until the disk is
    /// [restarted](Self::crash).
    pub(crate) fn fail_power_after(&self, changes: u64) {
        self.disk().changes_left = Some(changes);
    }

    /// Returns `true` if the power has failed.
    pub(crate) fn is_down(&self) -> bool {
        self.disk().is_down
    }

    /// Returns the size of all files.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.disk().used_bytes(|_| true)
    }

    /// Returns the size of all files in the directory, without subdirectories.
    pub(crate) fn main_bytes(&self) -> u64 {
        self.disk().used_bytes(|name| !name.contains('/'))
    }

    /// Returns the number of open files, and its maximum.
    pub(crate) fn open_files(&self) -> (usize, usize) {
        let disk = self.disk();
        (disk.open_files, disk.max_open_files)
    }

    /// Returns the names of all files.
    pub(crate) fn names(&self) -> Vec<String> {
        self.disk().entries.keys().cloned().collect()
    }

    /// Returns the contents of a file.
    pub(crate) fn contents(&self, name: &str) -> Vec<u8> {
        let disk = self.disk();
        disk.inodes[&disk.entries[name]].contents.clone()
    }

    /// Replaces the contents of a file, on the disk as well.
    pub(crate) fn set_contents(&self, name: &str, contents: &[u8]) {
        let mut disk = self.disk();
        let inode = match disk.entries.get(name) {
            Some(inode) => *inode,
            None => disk.add(name),
        };
        let file = disk.inodes.get_mut(&inode).expect("an entry has an inode");
        file.contents = contents.to_vec();
        file.durable = contents.to_vec();
        file.unsynced.clear();
        disk.durable_entries.insert(name.to_owned(), inode);
    }

    /// Kills the process: all writes remain, and the lock is released.
    pub(crate) fn kill(&self) {
        let mut disk = self.disk();
        disk.locked = false;
        disk.is_down = false;
        disk.changes_left = None;
    }

    /// Fails the power and starts again: any part of the unsynced changes remains.
    pub(crate) fn crash(&self) {
        let mut disk = self.disk();
        disk.locked = false;
        disk.is_down = false;
        disk.changes_left = None;
        let Disk { rng, inodes, durable_entries, unsynced_entries, entries, .. } = &mut *disk;
        // Cases in which everything or nothing remains are more likely than random ones.
        let kept = [0.0, 0.5, 0.9, 1.0][rng.usize(..4)];
        for change in unsynced_entries.drain(..) {
            if rng.f64() < kept {
                change.apply(durable_entries);
            }
        }
        *entries = durable_entries.clone();
        inodes.retain(|inode, _| entries.values().any(|other| other == inode));
        for file in inodes.values_mut() {
            let kept = [0.0, 0.5, 0.9, 1.0][rng.usize(..4)];
            for change in std::mem::take(&mut file.unsynced) {
                keep_part(rng, kept, change, &mut file.durable);
            }
            file.contents = file.durable.clone();
            file.diverged = false;
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    fn handle(&self, disk: &mut Disk, inode: u64) -> FakeFile {
        disk.open_files += 1;
        disk.max_open_files = disk.max_open_files.max(disk.open_files);
        disk.inodes.get_mut(&inode).expect("an entry has an inode").open += 1;
        FakeFile { disk: self.disk.clone(), inode }
    }
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take_one(count: &mut u32) -> bool {
    let positive = *count > 0;
    *count = count.saturating_sub(1);
    positive
}

/// Applies a part of an unsynced change.
fn keep_part(rng: &mut fastrand::Rng, kept: f64, change: Change, durable: &mut Vec<u8>) {
    match change {
        _ if rng.f64() < kept => change.apply(durable),
        // Sectors reach the disk in any order, so any part in the middle of a write can remain.
        Change::Write { offset, bytes } if rng.bool() && !bytes.is_empty() => {
            let start = rng.usize(..bytes.len());
            let end = rng.usize(start..=bytes.len());
            if rng.bool() {
                write(durable, offset, &bytes[..end]);
            } else {
                write(durable, offset + start, &bytes[start..end]);
            }
        }
        _ => {}
    }
}

impl Disk {
    fn used_bytes(&self, includes: impl Fn(&str) -> bool) -> u64 {
        let inodes = self.entries.iter().filter(|(name, _)| includes(name));
        inodes.map(|(_, inode)| self.inodes[inode].contents.len() as u64).sum()
    }

    fn add(&mut self, name: &str) -> u64 {
        self.next_inode += 1;
        self.inodes.insert(self.next_inode, Inode::default());
        self.entries.insert(name.to_owned(), self.next_inode);
        self.next_inode
    }

    fn check_power(&self) -> io::Result<()> {
        if self.is_down { Err(io::Error::other("the power has failed")) } else { Ok(()) }
    }

    /// Counts a change. Returns an error if the power fails before the change is complete.
    fn start_change(&mut self) -> io::Result<()> {
        self.check_power()?;
        if let Some(left) = &mut self.changes_left {
            if *left == 0 {
                self.is_down = true;
            } else {
                *left -= 1;
            }
        }
        self.check_power()
    }

    fn fails(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.f64() < probability
    }

    fn change(&mut self, inode: u64, change: Change) {
        let file = self.inodes.get_mut(&inode).expect("an open file has an inode");
        change.apply(&mut file.contents);
        file.unsynced.push(change);
    }

    fn size(&self, inode: u64) -> u64 {
        self.inodes[&inode].contents.len() as u64
    }

    /// Returns the size up to which a file can grow.
    fn limit(&self, inode: u64) -> u64 {
        let used = self.used_bytes(|_| true);
        self.size(inode) + self.capacity.saturating_sub(used)
    }

    /// Starts a change of an entry of the directory.
    fn start_entry_change(&mut self) -> io::Result<()> {
        self.start_change()?;
        let probability = self.faults.entry;
        if self.fails(probability) { Err(io::Error::other("injected")) } else { Ok(()) }
    }

    fn remove_unused(&mut self) {
        let Self { inodes, entries, durable_entries, unsynced_entries, .. } = self;
        inodes.retain(|inode, file| {
            file.open > 0
                || entries.values().any(|other| other == inode)
                || durable_entries.values().any(|other| other == inode)
                || unsynced_entries.iter().any(|change| match change {
                    EntryChange::Create(_, other) | EntryChange::Rename(_, _, other) => {
                        other == inode
                    }
                    EntryChange::Remove(_) => false,
                })
        });
    }
}

impl Drop for FakeFile {
    fn drop(&mut self) {
        let mut disk = lock(&self.disk);
        disk.open_files -= 1;
        if let Some(file) = disk.inodes.get_mut(&self.inode) {
            file.open -= 1;
        }
    }
}

impl Files for FakeFiles {
    type File = FakeFile;

    fn path(&self) -> &Path {
        Path::new("/simulated")
    }

    fn lock(&mut self) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        if disk.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        disk.locked = true;
        self.owns_lock = true;
        Ok(())
    }

    fn unlock(&mut self) {
        if std::mem::take(&mut self.owns_lock) {
            self.disk().locked = false;
        }
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let disk = self.disk();
        disk.check_power()?;
        let main = disk.entries.iter().filter(|(name, _)| !name.contains('/'));
        Ok(main.map(|(name, inode)| (name.clone(), disk.size(*inode))).collect())
    }

    fn list_in(&self, subdirectory: &str) -> io::Result<Vec<(String, u64)>> {
        let disk = self.disk();
        disk.check_power()?;
        let prefix = format!("{subdirectory}/");
        let inner = disk.entries.iter().filter_map(|(name, inode)| {
            Some((name.strip_prefix(&prefix)?.to_owned(), disk.size(*inode)))
        });
        Ok(inner.collect())
    }

    fn create(&self, name: &str) -> io::Result<FakeFile> {
        let mut disk = self.disk();
        disk.start_entry_change()?;
        if disk.entries.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = disk.add(name);
        disk.unsynced_entries.push(EntryChange::Create(name.to_owned(), inode));
        Ok(self.handle(&mut disk, inode))
    }

    fn open(&self, name: &str) -> io::Result<FakeFile> {
        let mut disk = self.disk();
        disk.check_power()?;
        let inode = *disk.entries.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&mut disk, inode))
    }

    fn open_read_only(&self, name: &str) -> io::Result<FakeFile> {
        self.open(name)
    }

    fn size(&self, file: &FakeFile) -> io::Result<u64> {
        Ok(self.disk().size(file.inode))
    }

    fn preallocate(&self, file: &FakeFile, size: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.start_change()?;
        if !disk.preallocates {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let limit = disk.limit(file.inode);
        let current = disk.size(file.inode);
        if size > limit {
            // A part is reserved.
            if limit > current && disk.rng.bool() {
                let part = disk.rng.u64(current..=limit) as usize;
                disk.change(file.inode, Change::SetSize(part));
            }
            return Err(io::ErrorKind::StorageFull.into());
        }
        if size > current {
            disk.change(file.inode, Change::SetSize(size as usize));
        }
        Ok(())
    }

    fn set_size(&self, file: &FakeFile, size: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.start_change()?;
        let probability = disk.faults.write;
        if disk.fails(probability) {
            return Err(io::Error::other("injected"));
        }
        if size > disk.limit(file.inode) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.change(file.inode, Change::SetSize(size as usize));
        Ok(())
    }

    fn read_at(&self, file: &FakeFile, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.disk();
        disk.check_power()?;
        let probability = disk.faults.read;
        if disk.fails(probability) {
            return Err(io::Error::other("injected"));
        }
        let contents = &disk.inodes[&file.inode].contents;
        let start = (offset as usize).min(contents.len());
        let length = buffer.len().min(contents.len() - start);
        buffer[..length].copy_from_slice(&contents[start..start + length]);
        disk.read_bytes += length as u64;
        Ok(length)
    }

    fn write_at(&self, file: &FakeFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        let powered = disk.check_power().and_then(|()| disk.start_change());
        let limit = disk.limit(file.inode);
        let probability = disk.faults.write;
        let end = offset + bytes.len() as u64;
        let error = match powered {
            // The last write before a power failure can be incomplete.
            Err(error) if disk.changes_left.take().is_some() => error,
            Err(error) => return Err(error),
            Ok(()) if end > limit && end > disk.size(file.inode) => {
                io::ErrorKind::StorageFull.into()
            }
            Ok(()) if disk.fails(probability) || take_one(&mut disk.failing_writes) => {
                io::Error::other("injected")
            }
            Ok(()) => {
                let change = Change::Write { offset: offset as usize, bytes: bytes.to_vec() };
                disk.change(file.inode, change);
                return Ok(());
            }
        };
        let most = bytes.len().min(limit.saturating_sub(offset) as usize);
        let part = disk.rng.usize(..=most);
        if part > 0 {
            let bytes = bytes[..part].to_vec();
            disk.change(file.inode, Change::Write { offset: offset as usize, bytes });
        }
        Err(error)
    }

    fn sync(&self, file: &FakeFile) -> io::Result<()> {
        let mut disk = self.disk();
        disk.start_change()?;
        let probability = disk.faults.sync;
        let fails = disk.fails(probability) || take_one(&mut disk.failing_syncs);
        let Disk { rng, inodes, .. } = &mut *disk;
        let inode = inodes.get_mut(&file.inode).expect("an open file has an inode");
        let unsynced = std::mem::take(&mut inode.unsynced);
        if fails {
            for change in unsynced {
                keep_part(rng, 0.3, change, &mut inode.durable);
            }
            // The pages are clean now, and can be read from the disk again at any time.
            inode.diverged = true;
            if rng.bool() {
                inode.contents = inode.durable.clone();
            }
            return Err(io::Error::other("injected"));
        }
        if inode.diverged {
            for change in unsynced {
                change.apply(&mut inode.durable);
            }
        } else {
            inode.durable.clone_from(&inode.contents);
        }
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.start_change()?;
        let probability = disk.faults.sync_directory;
        if disk.fails(probability) {
            return Err(io::Error::other("injected"));
        }
        disk.unsynced_entries.clear();
        disk.durable_entries = disk.entries.clone();
        disk.remove_unused();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.start_entry_change()?;
        let inode = disk.entries.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.entries.insert(to.to_owned(), inode);
        disk.unsynced_entries.push(EntryChange::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.start_entry_change()?;
        disk.entries.remove(name).ok_or(io::ErrorKind::NotFound)?;
        disk.unsynced_entries.push(EntryChange::Remove(name.to_owned()));
        Ok(())
    }

    fn create_subdirectory(&self, _name: &str) -> io::Result<()> {
        self.disk().check_power()
    }
}
