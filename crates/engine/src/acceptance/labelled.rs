//! The labelled images for checking a model, and the files left out.

use super::Checked;
use crate::{EngineError, Result};
use assay_domain::{ClassId, Label, counted};
use assay_media::RgbImage;
use assay_protocol::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Images of class folders or of a CSV, with their classes.
pub(super) struct LabelledImages {
    source: PathBuf,
    pub(super) images: Vec<(PathBuf, Label)>,
    /// Path and reason, from reading the source or opening images.
    left_out: Mutex<BTreeMap<String, String>>,
    passed_over: usize,
    /// Classes that the source declares without any image.
    without_images: Vec<String>,
}

impl LabelledImages {
    pub(super) fn read(model: &Checked, source: &Path) -> Result<LabelledImages> {
        let listing = assay_formats::read(source, model.classifier.labelling())?;
        let mut images = Vec::new();
        for entry in listing.entries {
            if let Some(classes) = entry.label {
                let class = |name: &String| Ok::<_, EngineError>(ClassId(model.class(name)? as i64));
                images.push((entry.file, classes.iter().map(class).collect::<Result<Label>>()?));
            }
        }
        if images.is_empty() {
            let left_out = assay_formats::left_out(listing.problems.iter().map(|(_, why)| why.as_str()));
            let why = format!("there are no labelled images here, {left_out}: {}", source.display());
            return Err(EngineError::Invalid(why));
        }
        Ok(LabelledImages {
            source: source.to_owned(),
            images,
            left_out: Mutex::new(listing.problems.into_iter().collect()),
            passed_over: listing.passed_over.len(),
            without_images: listing.classes_without_images,
        })
    }

    /// The image; `None` if unreadable, which `verdict` reports.
    pub(super) fn open(&self, path: &Path) -> Option<RgbImage> {
        let reason = match std::fs::read(path) {
            Ok(bytes) => match assay_media::decode(&bytes) {
                Ok(image) => return Some(image),
                Err(why) => why.to_string(),
            },
            Err(why) => format!("cannot be read: {why}"),
        };
        let below = path.strip_prefix(&self.source).unwrap_or(path);
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        left_out.insert(assay_formats::path_text(below), reason);
        None
    }

    pub(super) fn none_opens(&self) -> EngineError {
        EngineError::Invalid(format!("none of the labelled images can be read: {}", self.source.display()))
    }

    /// The files left out; it fails if a class has no usable image. `None` if all is well.
    pub(super) fn verdict(&self, classes: &[String], begun: Instant) -> Option<Verdict> {
        const TOLD: usize = 3;
        let left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        let below = |path: &Path| assay_formats::path_text(path.strip_prefix(&self.source).unwrap_or(path));
        let usable: BTreeSet<usize> = self
            .images
            .iter()
            .filter(|(path, _)| !left_out.contains_key(&below(path)))
            .flat_map(|(_, label)| label.classes().iter().map(|class| class.0 as usize))
            .collect();
        let named: BTreeSet<usize> =
            self.images.iter().flat_map(|(_, label)| label.classes().iter().map(|class| class.0 as usize)).collect();
        let name = |place: &usize| classes[*place].clone();
        let unusable = named.difference(&usable).map(name);
        let without: Vec<String> = self.without_images.iter().cloned().chain(unusable).collect();
        let absent: Vec<String> =
            (0..classes.len()).filter(|place| !named.contains(place)).map(|place| classes[place].clone()).collect();
        let absent: Vec<String> = absent.into_iter().filter(|name| !without.contains(name)).collect();
        if left_out.is_empty() && self.passed_over == 0 && without.is_empty() && absent.is_empty() {
            return None;
        }
        let count = self.images.iter().filter(|(path, _)| !left_out.contains_key(&below(path))).count();
        let mut text = format!("{} of {}", counted(count, "image"), counted(usable.len(), "class"));
        if !without.is_empty() {
            text += &format!("; no image that can be used of {}", without.join(", "));
        }
        if !absent.is_empty() {
            text += &format!("; none of {}", absent.join(", "));
        }
        if !left_out.is_empty() {
            let told: Vec<String> = left_out.iter().take(TOLD).map(|(path, why)| format!("{path}: {why}")).collect();
            let more = if left_out.len() > TOLD { " …" } else { "" };
            text += &format!("; {} left out ({}{more})", left_out.len(), told.join("; "));
        }
        if self.passed_over > 0 {
            text += &format!("; {} passed over", counted(self.passed_over, "other file"));
        }
        let secs = begun.elapsed().as_secs_f64();
        Some(Verdict { name: "images".into(), passed: without.is_empty(), text, secs })
    }
}
