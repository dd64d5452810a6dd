//! Images of samples: read, verified, upright; thumbnails in a bounded cache.

use crate::decoded::{Decoded, Side};
use crate::{Engine, EngineError, Result};
use assay_domain::SampleId;
use assay_domain::entity::Sample;
use assay_learn::Samples;
use assay_media::RgbImage;
use assay_store::Hash;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The thumbnail cache holds at most so many bytes; the oldest go first.
const CACHE_BYTES: u64 = 512 << 20;
/// An image of at most so many pixels is sent without loss.
const LOSSLESS_PIXELS: u64 = 1 << 20;

/// The thumbnail cache.
pub(crate) struct Images {
    folder: PathBuf,
    bytes: AtomicU64,
    pruning: Mutex<bool>,
}

impl Images {
    pub(crate) fn new(root: &Path) -> Images {
        // An earlier version kept thumbnails without comparing the file with its hash.
        let _ = std::fs::remove_dir_all(root.join("cache/thumbnails")); // it is only disk space
        Images { folder: root.join("cache/previews"), bytes: AtomicU64::new(0), pruning: Mutex::new(false) }
    }

    /// Keeps a thumbnail, as well as it goes: a cache that cannot be written costs time, nothing else.
    fn keep(&self, path: &Path, thumbnail: &[u8]) {
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let folder = path.parent().unwrap_or(&self.folder);
        let kept = std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&temporary, thumbnail))
            .and_then(|()| std::fs::rename(&temporary, path));
        match kept {
            Ok(()) => {
                let bytes = self.bytes.fetch_add(thumbnail.len() as u64, Ordering::Relaxed) + thumbnail.len() as u64;
                let mut known = self.pruning.lock().unwrap_or_else(PoisonError::into_inner);
                if !*known || bytes > CACHE_BYTES {
                    *known = true;
                    self.prune();
                }
            }
            Err(error) => tracing::debug!(%error, "a thumbnail is not cached"),
        }
    }

    /// Measures the cache, and frees its oldest tenth when it is too large.
    fn prune(&self) {
        let mut files: Vec<(std::time::SystemTime, u64, PathBuf)> = Vec::new();
        for folder in std::fs::read_dir(&self.folder).into_iter().flatten().filter_map(|entry| entry.ok()) {
            for entry in std::fs::read_dir(folder.path()).into_iter().flatten().filter_map(|entry| entry.ok()) {
                if let Ok(facts) = entry.metadata() {
                    files.push((facts.modified().unwrap_or(std::time::UNIX_EPOCH), facts.len(), entry.path()));
                }
            }
        }
        let mut bytes: u64 = files.iter().map(|file| file.1).sum();
        files.sort();
        let limit = if bytes > CACHE_BYTES { CACHE_BYTES / 10 * 9 } else { CACHE_BYTES };
        for (_, length, path) in files {
            if bytes <= limit {
                break;
            }
            if std::fs::remove_file(path).is_ok() {
                bytes -= length;
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Engine {
    /// The folder that the paths of a dataset's samples are below.
    pub(crate) fn source_folder(source: &str) -> PathBuf {
        assay_formats::folder_of(&assay_formats::path_of_text(source))
    }

    /// The upright image of a sample, whose file must have the contents that the sample has.
    fn image_of(&self, sample: &Sample) -> Result<RgbImage> {
        let dataset = self.store.read(|reader| reader.dataset(sample.dataset))?;
        let path = Engine::source_folder(&dataset.source).join(assay_formats::path_of_text(&sample.path));
        let bytes = std::fs::read(&path).map_err(|why| EngineError::NotFound(unreadable(&why, &sample.path)))?;
        if Hash::of(&bytes).as_str() != sample.hash {
            self.distrust(vec![sample.id])?;
            return Err(EngineError::Conflict(format!(
                "the file has changed since it was imported; import {} again: {}",
                dataset.name, sample.path
            )));
        }
        Ok(assay_media::decode(&bytes)?)
    }

    /// The upright image of a sample, as PNG (small ones) or JPEG.
    pub fn sample_image(&self, sample: SampleId) -> Result<Vec<u8>> {
        let sample = self.store.read(|reader| reader.sample(sample))?;
        encode(&self.image_of(&sample)?)
    }

    /// The sample scaled into `side` x `side` pixels, from the cache where it is.
    pub fn sample_thumbnail(&self, sample: SampleId, side: u32) -> Result<Vec<u8>> {
        // A few sizes only, so that the cache holds few copies.
        let side = side.clamp(16, 512).next_power_of_two();
        let sample = self.store.read(|reader| reader.sample(sample))?;
        let hash = Hash::parse(&sample.hash)?;
        let cached = self.images.folder.join(&hash.as_str()[..2]).join(format!("{hash}-{side}"));
        if let Ok(thumbnail) = std::fs::read(&cached) {
            return Ok(thumbnail);
        }
        let image = self.image_of(&sample)?;
        let thumbnail = encode(&assay_media::thumbnail(&image, side))?;
        if !self.store.is_read_only() {
            self.images.keep(&cached, &thumbnail);
        }
        Ok(thumbnail)
    }
}

fn encode(image: &RgbImage) -> Result<Vec<u8>> {
    let pixels = u64::from(image.width()) * u64::from(image.height());
    Ok(if pixels <= 64 * 64 || (pixels <= LOSSLESS_PIXELS && pixels > 512 * 512) {
        assay_media::encode_png(image)?
    } else {
        assay_media::encode_jpeg(image, 90)?
    })
}

fn unreadable(why: &std::io::Error, name: &str) -> String {
    format!("the image cannot be read ({why}); was it moved? import its folder again to find it: {name}")
}

/// One sample of a snapshot for the trainer.
#[derive(Clone)]
pub(crate) struct SnapshotSample {
    pub(crate) id: SampleId,
    pub(crate) path: PathBuf,
    /// Whether the file looks changed since the last import: it is verified before cached pixels are used.
    pub(crate) is_suspect: bool,
    pub(crate) hash: Hash,
    pub(crate) classes: Vec<u32>,
}

/// An unusable sample.
pub(crate) struct LostSample {
    pub(crate) id: SampleId,
    /// The path, and why.
    pub(crate) reason: String,
    /// Whether the file exists with other contents.
    pub(crate) is_changed: bool,
}

/// Samples of a snapshot. Each file is verified against its hash when it is decoded; unusable ones are remembered, so
/// that each is reported once and not retried.
pub(crate) struct SnapshotSamples {
    files: Vec<SnapshotSample>,
    /// The folder that an archive was unpacked into, and the archive: messages name the archive.
    archive: Option<(PathBuf, String)>,
    decoded: Arc<Decoded>,
    /// The decoded images of the side that was asked for last.
    side: Mutex<Option<Arc<Side>>>,
    lost: Mutex<Lost>,
}

#[derive(Default)]
struct Lost {
    reasons: BTreeMap<usize, String>,
    verified: BTreeSet<usize>,
    untold: Vec<LostSample>,
}

impl SnapshotSamples {
    pub(crate) fn new(
        files: Vec<SnapshotSample>,
        archive: Option<(PathBuf, String)>,
        decoded: &Arc<Decoded>,
    ) -> Arc<SnapshotSamples> {
        let decoded = decoded.clone();
        Arc::new(SnapshotSamples { files, archive, decoded, side: Mutex::default(), lost: Mutex::default() })
    }

    /// The place of a file as people know it.
    fn name(&self, path: &Path) -> String {
        let within =
            self.archive.as_ref().and_then(|(folder, archive)| Some((path.strip_prefix(folder).ok()?, archive)));
        match within {
            Some((within, archive)) => format!("{} in {archive}", within.display()),
            None => path.display().to_string(),
        }
    }

    fn side(&self, pixels: usize) -> Arc<Side> {
        let mut side = self.side.lock().unwrap_or_else(PoisonError::into_inner);
        match side.as_ref().filter(|side| side.pixels() == pixels) {
            Some(side) => side.clone(),
            None => side.insert(self.decoded.side(pixels)).clone(),
        }
    }

    fn lost(&self) -> MutexGuard<'_, Lost> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the unusable samples found since the last call.
    pub(crate) fn take_lost(&self) -> Vec<LostSample> {
        std::mem::take(&mut self.lost().untold)
    }

    /// Reads, verifies and scales a file.
    fn pixels(&self, file: &SnapshotSample, side: usize) -> Result<Vec<u8>, LostSample> {
        let lost = |reason: String, is_changed: bool| LostSample { id: file.id, reason, is_changed };
        let name = self.name(&file.path);
        let bytes = std::fs::read(&file.path).map_err(|why| lost(unreadable(&why, &name), false))?;
        if Hash::of(&bytes) != file.hash {
            return Err(lost(format!("it has changed since the snapshot; import its folder again: {name}"), true));
        }
        let image = assay_media::decode(&bytes).map_err(|why| lost(format!("{why}: {name}"), false))?;
        Ok(assay_media::square(&image, side as u32))
    }
}

impl Samples for SnapshotSamples {
    fn count(&self) -> usize {
        self.files.len()
    }

    fn classes(&self, index: usize) -> &[u32] {
        &self.files[index].classes
    }

    fn show(&self, index: usize, side: usize, see: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        let file = &self.files[index];
        let is_trusted = {
            let known = self.lost();
            if let Some(reason) = known.reasons.get(&index) {
                return Err(reason.clone());
            }
            !file.is_suspect || known.verified.contains(&index)
        };
        let kept = self.side(side);
        let key = file.hash.bytes();
        if is_trusted && kept.show(&key, see) {
            return Ok(());
        }
        match self.pixels(file, side) {
            Ok(pixels) => {
                kept.keep(&key, &pixels);
                if file.is_suspect {
                    self.lost().verified.insert(index);
                }
                see(&pixels);
                Ok(())
            }
            Err(lost) => {
                let reason = lost.reason.clone();
                let mut known = self.lost();
                if known.reasons.insert(index, reason.clone()).is_none() {
                    known.untold.push(lost);
                }
                Err(reason)
            }
        }
    }
}
