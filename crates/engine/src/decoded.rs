//! Decoded images, kept as training wants them: later epochs and later runs neither read nor decode the photos again.
//!
//! A shard is a file of records of one size, square images of RGB bytes, behind a table of what each record is. It is
//! mapped into memory, so that the system decides what of it stays there. Nothing depends on the cache: what is missing or damaged
//! is decoded again, and what does not fit is not kept.

use assay_store::Clock;
use memmap2::Mmap;
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::{Duration, SystemTime};

/// A change of how images are decoded or scaled, or of the layout of a shard, counts this up.
const VERSION: u32 = 1;
/// About so many bytes are in a shard.
const SHARD_BYTES: usize = 64 << 20;
/// The shards hold at most so many bytes; those that were used longest ago go first.
const MOST_BYTES: u64 = 32 << 30;
/// So many bytes of the disk are left to others.
const FREE_BYTES: u64 = 4 << 30;
/// A line of a shard's table: what the record was decoded from, and a checksum of its bytes.
const LINE: usize = HASH + CHECKSUM;
const HASH: usize = 32;
const CHECKSUM: usize = 8;
/// Records begin at a multiple of this.
const PAGE: usize = 4096;

/// The hash of the file that an image was decoded from.
pub(crate) type Key = [u8; HASH];

/// All decoded images of a workspace.
pub(crate) struct Decoded {
    folder: PathBuf,
    clock: Clock,
    most_bytes: u64,
    /// The sides that are in use.
    open: Mutex<HashMap<usize, Weak<Side>>>,
}

/// The decoded images of one side.
pub(crate) struct Side {
    decoded: Arc<Decoded>,
    folder: PathBuf,
    side: usize,
    known: RwLock<Known>,
    /// Where the next image goes; nothing once there is no room.
    filling: Mutex<Filling>,
}

#[derive(Default)]
struct Known {
    places: HashMap<Key, (u64, usize)>,
    shards: BTreeMap<u64, Arc<Shard>>,
}

enum Filling {
    /// This record of this shard is the next.
    At(u64, usize),
    /// A new shard is needed.
    New,
    /// There is no room for another shard.
    Full,
}

/// A file of records.
struct Shard {
    path: PathBuf,
    layout: Layout,
    file: Mutex<File>,
    map: Mmap,
    /// Whether a record was read or written by this process.
    used: AtomicBool,
    /// Which records have been compared with their checksums.
    verified: Box<[AtomicBool]>,
}

/// How a shard of images of one side is laid out, in bytes.
#[derive(Clone, Copy)]
struct Layout {
    record: usize,
    records: usize,
    first: usize,
}

impl Decoded {
    pub(crate) fn new(root: &Path, clock: Clock) -> Arc<Decoded> {
        Decoded::bounded(root, clock, MOST_BYTES)
    }

    fn bounded(root: &Path, clock: Clock, most_bytes: u64) -> Arc<Decoded> {
        Arc::new(Decoded { folder: root.join("cache/decoded"), clock, most_bytes, open: Mutex::default() })
    }

    /// The images of this side, `side` x `side` pixels each.
    pub(crate) fn side(self: &Arc<Self>, side: usize) -> Arc<Side> {
        let mut open = lock(&self.open);
        if let Some(found) = open.get(&side).and_then(Weak::upgrade) {
            return found;
        }
        let found = Arc::new(Side::open(self.clone(), side));
        open.insert(side, Arc::downgrade(&found));
        found
    }

    /// Makes room for another shard: removes those that were used longest ago, but none that this process uses.
    fn make_room(&self, bytes: u64) -> Result<bool> {
        let mut shards: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for folder in std::fs::read_dir(&self.folder)?.flatten() {
            for entry in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let facts = entry.metadata()?;
                shards.push((facts.modified()?, facts.len(), entry.path()));
            }
        }
        shards.sort();
        let mut held: u64 = shards.iter().map(|shard| shard.1).sum();
        for (_, length, path) in shards {
            let too_much = held + bytes > self.most_bytes;
            let too_full = fs4::available_space(&self.folder)? < bytes + FREE_BYTES;
            if !too_much && !too_full {
                return Ok(true);
            }
            if self.forget(&path) && std::fs::remove_file(&path).is_ok() {
                held -= length;
            }
        }
        Ok(held + bytes <= self.most_bytes && fs4::available_space(&self.folder)? >= bytes + FREE_BYTES)
    }

    /// Lets go of a shard, unless this process uses it.
    fn forget(&self, path: &Path) -> bool {
        let sides: Vec<Arc<Side>> = lock(&self.open).values().filter_map(Weak::upgrade).collect();
        sides.into_iter().all(|side| side.forget(path))
    }
}

impl Side {
    /// Reads the tables of the shards that are there.
    fn open(decoded: Arc<Decoded>, side: usize) -> Side {
        let folder = decoded.folder.join(format!("{VERSION}-{side}"));
        let layout = Layout::of(side);
        let (mut known, mut filling) = (Known::default(), Filling::New);
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut shards: Vec<(u64, PathBuf)> = files.filter_map(|path| Some((number_of(&path)?, path))).collect();
        shards.sort();
        for (number, path) in shards {
            match Shard::open(&path, layout) {
                Ok((shard, keys)) => {
                    if keys.len() < layout.records {
                        filling = Filling::At(number, keys.len());
                    }
                    // What was damaged was kept again, further behind: the last counts.
                    known.places.extend(keys.into_iter().enumerate().map(|(record, key)| (key, (number, record))));
                    known.shards.insert(number, Arc::new(shard));
                }
                Err(error) => {
                    tracing::debug!(%error, shard = %path.display(), "a shard of decoded images is of no use");
                    let _ = std::fs::remove_file(path); // what stays is not used again
                }
            }
        }
        Side { decoded, folder, side, known: RwLock::new(known), filling: Mutex::new(filling) }
    }

    /// Its length in pixels.
    pub(crate) fn pixels(&self) -> usize {
        self.side
    }

    /// Shows the image that was decoded from the file of this hash; returns whether it is here.
    pub(crate) fn show(&self, key: &Key, see: &mut dyn FnMut(&[u8])) -> bool {
        let known = self.known();
        let Some(&(number, record)) = known.places.get(key) else { return false };
        let shard = known.shards[&number].clone();
        drop(known);
        self.use_it(&shard);
        match shard.read(record) {
            Some(pixels) => see(pixels),
            None => {
                tracing::warn!(shard = %shard.path.display(), "a decoded image is damaged and is decoded again");
                self.known_mut().places.remove(key);
                return false;
            }
        }
        true
    }

    /// Keeps an image, as well as it goes: a cache that cannot be written costs time, nothing else.
    pub(crate) fn keep(&self, key: &Key, pixels: &[u8]) {
        let mut filling = lock(&self.filling);
        if matches!(*filling, Filling::Full) || self.known().places.contains_key(key) {
            return;
        }
        if let Err(error) = self.write(&mut filling, key, pixels) {
            tracing::warn!(%error, "decoded images are no longer kept, so that each epoch decodes them again");
            *filling = Filling::Full;
        }
    }

    fn write(&self, filling: &mut Filling, key: &Key, pixels: &[u8]) -> Result<()> {
        let layout = Layout::of(self.side);
        if let Filling::New = filling {
            std::fs::create_dir_all(&self.folder)?;
            if !self.decoded.make_room(layout.bytes() as u64)? {
                return Err(std::io::Error::other("there is no more room for them"));
            }
            let number = self.known().shards.last_key_value().map_or(1, |(last, _)| last + 1);
            let shard = Shard::create(&self.folder.join(format!("{number:06}.shard")), layout)?;
            self.known_mut().shards.insert(number, Arc::new(shard));
            *filling = Filling::At(number, 0);
        }
        let Filling::At(number, record) = *filling else { return Ok(()) };
        let Some(shard) = self.known().shards.get(&number).cloned() else {
            *filling = Filling::New; // it had to make room
            return self.write(filling, key, pixels);
        };
        self.use_it(&shard);
        shard.write(record, key, pixels)?;
        self.known_mut().places.insert(*key, (number, record));
        *filling = if record + 1 < layout.records { Filling::At(number, record + 1) } else { Filling::New };
        Ok(())
    }

    /// Notes that a shard is in use, on disk as well, where the next process that needs room looks.
    fn use_it(&self, shard: &Shard) {
        if !shard.used.swap(true, Ordering::Relaxed) {
            let since = Duration::from_millis((self.decoded.clock)().0.max(0) as u64);
            // Where that is not possible, it may go a little earlier.
            let _ = lock(&shard.file).set_modified(SystemTime::UNIX_EPOCH + since);
        }
    }

    /// Lets go of a shard, unless it is used.
    fn forget(&self, path: &Path) -> bool {
        let mut known = self.known_mut();
        let found = known.shards.iter().find(|(_, shard)| shard.path == path);
        let Some((number, used)) = found.map(|(number, shard)| (*number, shard.used.load(Ordering::Relaxed))) else {
            return true;
        };
        if !used {
            known.shards.remove(&number);
            known.places.retain(|_, place| place.0 != number);
        }
        !used
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layout {
    fn of(side: usize) -> Layout {
        let record = side * side * 3;
        let records = (SHARD_BYTES / record.max(1)).max(1);
        Layout { record, records, first: (records * LINE).next_multiple_of(PAGE) }
    }

    fn bytes(self) -> usize {
        self.first + self.records * self.record
    }
}

impl Shard {
    fn create(path: &Path, layout: Layout) -> Result<Shard> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        // Parts that nothing was written to take no room on most file systems, and read as zeros.
        file.set_len(layout.bytes() as u64)?;
        Shard::map(path, layout, file)
    }

    /// An existing shard and the keys of its records.
    fn open(path: &Path, layout: Layout) -> Result<(Shard, Vec<Key>)> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() != layout.bytes() as u64 {
            return Err(std::io::Error::other("it has another length than it should"));
        }
        let mut table = vec![0; layout.records * LINE];
        file.read_exact(&mut table)?;
        let lines = table.as_chunks::<LINE>().0.iter().take_while(|line| **line != [0; LINE]);
        let keys = lines.filter_map(|line| line.first_chunk::<HASH>().copied()).collect();
        Ok((Shard::map(path, layout, file)?, keys))
    }

    fn map(path: &Path, layout: Layout, file: File) -> Result<Shard> {
        // Safety: the file is as long as the layout says and only this module writes to it: one process has the
        // workspace, and records are written before anything reads them, behind the length that they have from the beginning.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Shard {
            path: path.to_owned(),
            layout,
            file: Mutex::new(file),
            map,
            used: AtomicBool::new(false),
            verified: (0..layout.records).map(|_| AtomicBool::new(false)).collect(),
        })
    }

    /// The bytes of a record, unless they are damaged.
    fn read(&self, record: usize) -> Option<&[u8]> {
        let pixels = &self.map[self.layout.first + record * self.layout.record..][..self.layout.record];
        if !self.verified[record].load(Ordering::Relaxed) {
            let expected = &self.map[record * LINE + HASH..][..CHECKSUM];
            if checksum(pixels) != expected {
                return None;
            }
            self.verified[record].store(true, Ordering::Relaxed);
        }
        Some(pixels)
    }

    /// Writes a record, and then its line in the table.
    fn write(&self, record: usize, key: &Key, pixels: &[u8]) -> Result<()> {
        let mut file = lock(&self.file);
        file.seek(SeekFrom::Start((self.layout.first + record * self.layout.record) as u64))?;
        file.write_all(pixels)?;
        file.seek(SeekFrom::Start((record * LINE) as u64))?;
        file.write_all(&[key.as_slice(), &checksum(pixels)].concat())?;
        self.verified[record].store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The first bytes of the BLAKE3 hash.
fn checksum(pixels: &[u8]) -> [u8; CHECKSUM] {
    let hash = blake3::hash(pixels);
    std::array::from_fn(|byte| hash.as_bytes()[byte])
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".shard")?.parse().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 64;

    /// A workspace's images, at this time of day.
    fn at(root: &Path, millis: i64, most_bytes: u64) -> Arc<Decoded> {
        Decoded::bounded(root, Arc::new(move || assay_domain::Timestamp(millis)), most_bytes)
    }

    fn decoded(root: &Path) -> Arc<Decoded> {
        at(root, 0, MOST_BYTES)
    }

    fn image(number: u8) -> (Key, Vec<u8>) {
        ([number; HASH], (0..SIDE * SIDE * 3).map(|index| (index as u8).wrapping_mul(number)).collect())
    }

    fn shown(side: &Side, key: &Key) -> Option<Vec<u8>> {
        let mut found = None;
        let here = side.show(key, &mut |pixels| found = Some(pixels.to_vec()));
        assert_eq!(here, found.is_some());
        found
    }

    fn shard_files(root: &Path) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(root.join("cache/decoded")).unwrap().flatten();
        let mut files: Vec<PathBuf> = folders
            .flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten())
            .map(|file| file.path())
            .collect();
        files.sort();
        files
    }

    #[test]
    fn what_was_kept_is_there_again_in_another_process() {
        let root = tempfile::tempdir().unwrap();
        let images = [image(1), image(2), image(3)];
        let first = decoded(root.path()).side(SIDE);
        for (key, pixels) in &images {
            assert_eq!(shown(&first, key), None);
            first.keep(key, pixels);
            assert_eq!(shown(&first, key).as_ref(), Some(pixels));
        }
        let second = decoded(root.path()).side(SIDE);
        second.keep(&image(4).0, &image(4).1);
        for (key, pixels) in images.iter().chain([&image(4)]) {
            assert_eq!(shown(&second, key).as_ref(), Some(pixels));
        }
        assert_eq!(shown(&decoded(root.path()).side(SIDE * 2), &images[0].0), None, "of another side");
        assert_eq!(shard_files(root.path()).len(), 1);
    }

    /// A power cut may leave a line in the table without the pixels that it is of.
    #[test]
    fn a_damaged_image_is_not_shown_and_can_be_kept_again() {
        let root = tempfile::tempdir().unwrap();
        let (key, pixels) = image(7);
        decoded(root.path()).side(SIDE).keep(&key, &pixels);
        let mut file = OpenOptions::new().write(true).open(&shard_files(root.path())[0]).unwrap();
        file.seek(SeekFrom::Start(Layout::of(SIDE).first as u64 + 99)).unwrap();
        file.write_all(&[1]).unwrap();
        let side = decoded(root.path()).side(SIDE);
        assert_eq!(shown(&side, &key), None);
        side.keep(&key, &pixels);
        assert_eq!(shown(&side, &key), Some(pixels.clone()));
        assert_eq!(shown(&decoded(root.path()).side(SIDE), &key), Some(pixels));
    }

    #[test]
    fn a_shard_that_is_cut_off_or_no_shard_at_all_is_no_use() {
        let root = tempfile::tempdir().unwrap();
        let (key, pixels) = image(7);
        decoded(root.path()).side(SIDE).keep(&key, &pixels);
        let path = &shard_files(root.path())[0];
        OpenOptions::new().write(true).open(path).unwrap().set_len(5000).unwrap();
        std::fs::write(path.with_file_name("000009.shard"), "hello").unwrap();
        std::fs::write(path.with_file_name("notes.txt"), "hello").unwrap();
        let side = decoded(root.path()).side(SIDE);
        assert_eq!(shown(&side, &key), None);
        side.keep(&key, &pixels);
        assert_eq!(shown(&side, &key), Some(pixels));
    }

    #[test]
    fn what_was_used_longest_ago_makes_room_and_what_is_used_stays() {
        let root = tempfile::tempdir().unwrap();
        // Images so large that each fills a shard; room for two.
        let large = 4800;
        let most = 2 * Layout::of(large).bytes() as u64;
        let pixels = vec![5; large * large * 3];
        let keys = [[1; HASH], [2; HASH], [3; HASH]];
        let keep = |millis: i64, which: &[usize]| {
            let side = at(root.path(), millis, most).side(large);
            which.iter().for_each(|index| side.keep(&keys[*index], &pixels));
            keys.map(|key| side.show(&key, &mut |_| ()))
        };
        assert_eq!(keep(1_000, &[0, 1]), [true, true, false]);
        assert_eq!(keep(2_000, &[2]), [false, true, true], "the oldest went first");
        let side = at(root.path(), 3_000, most).side(large);
        assert!(side.show(&keys[1], &mut |_| ()) && side.show(&keys[2], &mut |_| ()));
        side.keep(&keys[0], &pixels);
        assert!(!side.show(&keys[0], &mut |_| ()), "both are used by this process");
    }

    #[test]
    fn a_folder_that_cannot_be_made_costs_nothing_but_time() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("cache"), "a file where the folder should be").unwrap();
        let side = decoded(root.path()).side(SIDE);
        let (key, pixels) = image(1);
        side.keep(&key, &pixels);
        assert_eq!(shown(&side, &key), None);
    }

    #[test]
    fn threads_may_keep_and_show_at_once() {
        let root = tempfile::tempdir().unwrap();
        let side = decoded(root.path()).side(SIDE);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let side = &side;
                scope.spawn(move || {
                    for number in (0..40).map(|turn: usize| (turn * 7 + thread * 13) % 40) {
                        let (key, pixels) = image(number as u8);
                        side.keep(&key, &pixels);
                        assert_eq!(shown(side, &key), Some(pixels));
                    }
                });
            }
        });
    }
}
