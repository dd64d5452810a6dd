//! Acceptance: whether a model does what a file of demands says, without a workspace, a GPU or knowledge of learning.

mod labelled;

use crate::models::{CLASSES, CONFIG, WEIGHTS};
use crate::quantize::median_millis;
use crate::{Engine, EngineError, Result};
use assay_domain::scores::{Scored, Scores, decided};
use assay_domain::{ClassId, Label, RunId, counted};
use assay_learn::{Classifier, Config, DeviceChoice};
use assay_media::{RgbImage, blurred, brightened, coarsened, square, turned};
use assay_protocol::Verdict;
use labelled::LabelledImages;
use rayon::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Images that are predicted at once.
const BATCH: usize = 32;

/// The demands, as `acceptance.toml` has them. Paths begin at its folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Demands {
    /// Labelled images: a folder of class folders, or a CSV of path,label (or path,labels).
    images: Option<PathBuf>,
    #[serde(default)]
    minimum: Minimum,
    #[serde(default)]
    maximum: Maximum,
    #[serde(default)]
    golden: Vec<Golden>,
    #[serde(default)]
    invariance: Invariance,
}

/// What figures must at least be, as shares.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Minimum {
    accuracy: Option<f64>,
    macro_f1: Option<f64>,
    /// By class.
    recall: BTreeMap<String, f64>,
    /// By class.
    precision: BTreeMap<String, f64>,
}

/// What figures must at most be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Maximum {
    /// The median time of predicting one image, in milliseconds.
    latency_ms: Option<f64>,
    calibration_error: Option<f64>,
}

/// An image that must be recognised.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    image: PathBuf,
    class: String,
    /// How sure the model must be at least.
    #[serde(default)]
    probability: f64,
}

/// Changes that must leave the answer as it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Invariance {
    /// How many images are changed; spread over all of them.
    samples: usize,
    /// Brighter and darker by a share of the whole range.
    brightness: Option<Bound>,
    /// Blurred by a share of the shorter side.
    blur: Option<Bound>,
    /// Turned to the left and right by degrees.
    rotation: Option<Bound>,
    /// With sides that are a share of what they were.
    resolution: Option<Bound>,
}

impl Default for Invariance {
    fn default() -> Self {
        Invariance { samples: 200, brightness: None, blur: None, rotation: None, resolution: None }
    }
}

/// How much is changed, and the least share of answers that stay.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    by: f64,
    minimum: f64,
}

/// A model to check: its weights, config and class names.
struct Checked {
    classifier: Classifier,
    classes: Vec<String>,
}

/// Checks an exported model (a folder with model.safetensors, config.toml and classes.txt) against a file of demands.
///
/// # Errors
/// When the model, the file or the images that it names cannot be read.
pub fn check_model(folder: &Path, demands: &Path) -> Result<Vec<Verdict>> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|why| {
            EngineError::Invalid(format!(
                "the model cannot be read ({why}); is it a folder that assay export wrote? {}",
                path.display()
            ))
        })
    };
    let files = [WEIGHTS, CONFIG, CLASSES].map(read);
    let [weights, config, classes] = files;
    check(&Checked::new(&weights?, &config?, &classes?)?, demands)
}

impl Engine {
    /// Checks a run's model against a file of demands.
    pub fn check_run(&self, run: RunId, demands: &Path) -> Result<Vec<Verdict>> {
        let [weights, config, classes] = [WEIGHTS, CONFIG, CLASSES].map(|name| self.exported(run, None, name));
        check(&Checked::new(&weights?, &config?, &classes?)?, demands)
    }
}

impl Checked {
    fn new(weights: &[u8], config: &[u8], classes: &[u8]) -> Result<Checked> {
        let config = Config::resolve(&String::from_utf8_lossy(config), &[]).map_err(assay_learn::LearnError::from)?;
        let classes: Vec<String> = String::from_utf8_lossy(classes).lines().map(str::to_owned).collect();
        let device = DeviceChoice::Cpu.open()?;
        Ok(Checked { classifier: Classifier::load(&config, classes.len(), weights, &device)?, classes })
    }

    /// The probabilities of each image.
    fn predict(&self, images: &[RgbImage]) -> Result<Vec<Vec<f32>>> {
        let side = self.classifier.image_size() as u32;
        let mut found = Vec::with_capacity(images.len());
        for images in images.chunks(BATCH) {
            let squares: Vec<Vec<u8>> = images.par_iter().map(|image| square(image, side)).collect();
            found.extend(self.classifier.predict_all(&squares.concat())?);
        }
        Ok(found)
    }

    /// What the model says of each image.
    fn answers(&self, images: &[RgbImage]) -> Result<Vec<Label>> {
        let answer = |probabilities: &Vec<f32>| decided(probabilities, self.classifier.labelling());
        Ok(self.predict(images)?.iter().map(answer).collect())
    }

    fn class(&self, name: &str) -> Result<usize> {
        self.classes.iter().position(|class| class == name).ok_or_else(|| {
            EngineError::Invalid(format!(
                "the model knows no class {name:?}: its classes are {}",
                self.classes.join(", ")
            ))
        })
    }
}

fn check(model: &Checked, file: &Path) -> Result<Vec<Verdict>> {
    let text = std::fs::read_to_string(file)
        .map_err(|why| EngineError::Invalid(format!("the demands cannot be read ({why}): {}", file.display())))?;
    let demands: Demands = toml::from_str(&text)
        .map_err(|why| EngineError::Invalid(format!("the demands do not read: {why}: {}", file.display())))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut verdicts = Vec::new();
    for golden in &demands.golden {
        verdicts.push(check_golden(model, golden, folder)?);
    }
    let figures = demands.minimum.is_some() || demands.maximum.calibration_error.is_some();
    if figures || demands.invariance.bounds().next().is_some() || demands.maximum.latency_ms.is_some() {
        let images = demands.images.as_ref().ok_or_else(|| {
            EngineError::Invalid(format!("the demands name no images: add images = \"FOLDER\": {}", file.display()))
        })?;
        let begun = Instant::now();
        let images = LabelledImages::read(model, &folder.join(images))?;
        if figures {
            verdicts.extend(check_figures(model, &demands, &images)?);
        }
        verdicts.extend(check_invariance(model, &demands.invariance, &images)?);
        if let Some(most) = demands.maximum.latency_ms {
            verdicts.push(check_latency(model, &images, most)?);
        }
        verdicts.extend(images.verdict(&model.classes, begun));
    }
    if verdicts.is_empty() {
        return Err(EngineError::Invalid(format!("the demands demand nothing: {}", file.display())));
    }
    Ok(verdicts)
}

impl Minimum {
    fn is_some(&self) -> bool {
        self.accuracy.is_some() || self.macro_f1.is_some() || !self.recall.is_empty() || !self.precision.is_empty()
    }
}

/// A change of an image.
type Change = fn(&RgbImage, f64) -> RgbImage;

impl Invariance {
    /// Name, bound and change of each demand; both ways where there are two.
    fn bounds(&self) -> impl Iterator<Item = (&'static str, Bound, Vec<(Change, f64)>)> {
        let both = |change: Change, bound: Bound| vec![(change, bound.by), (change, -bound.by)];
        let all = [
            ("brightness", self.brightness, brightened as Change, true),
            ("blur", self.blur, blurred, false),
            ("rotation", self.rotation, turned, true),
            ("resolution", self.resolution, coarsened, false),
        ];
        all.into_iter().filter_map(move |(name, bound, change, two_ways)| {
            let bound = bound?;
            Some((name, bound, if two_ways { both(change, bound) } else { vec![(change, bound.by)] }))
        })
    }
}

fn open(path: &Path) -> Result<RgbImage> {
    let failed = |why: String| EngineError::Invalid(format!("the image cannot be read ({why}): {}", path.display()));
    if !std::fs::metadata(path).map_err(|why| failed(why.to_string()))?.is_file() {
        return Err(failed("it is not a file".into()));
    }
    let bytes = std::fs::read(path).map_err(|why| failed(why.to_string()))?;
    assay_media::decode(&bytes).map_err(|why| failed(why.to_string()))
}

fn timed(name: String, judge: impl FnOnce() -> Result<(bool, String)>) -> Result<Verdict> {
    let begun = Instant::now();
    let (passed, text) = judge()?;
    Ok(Verdict { name, passed, text, secs: begun.elapsed().as_secs_f64() })
}

fn check_golden(model: &Checked, golden: &Golden, folder: &Path) -> Result<Verdict> {
    let wanted = model.class(&golden.class)?;
    timed(format!("golden {}", golden.image.display()), || {
        let probabilities = model.predict(&[open(&folder.join(&golden.image))?])?.remove(0);
        let said = decided(&probabilities, model.classifier.labelling());
        let sure = f64::from(probabilities[wanted]);
        let class = |class: &ClassId| {
            let place = class.0 as usize;
            format!("{:.1} % {}", 100.0 * f64::from(probabilities[place]), model.classes[place])
        };
        let found: Vec<String> = said.classes().iter().map(class).collect();
        let found = if found.is_empty() { "none of the classes".to_owned() } else { found.join(", ") };
        let passed = said.contains(ClassId(wanted as i64)) && sure >= golden.probability;
        Ok((passed, format!("{found}, wanted {} with at least {:.1} %", golden.class, 100.0 * golden.probability)))
    })
}

fn check_figures(model: &Checked, demands: &Demands, labelled: &LabelledImages) -> Result<Vec<Verdict>> {
    let begun = Instant::now();
    let mut predicted: Vec<(&Label, Vec<f32>)> = Vec::with_capacity(labelled.images.len());
    for some in labelled.images.chunks(BATCH) {
        let opened: Vec<(&Label, RgbImage)> =
            some.par_iter().filter_map(|(path, label)| Some((label, labelled.open(path)?))).collect();
        let (labels, images): (Vec<&Label>, Vec<RgbImage>) = opened.into_iter().unzip();
        predicted.extend(labels.into_iter().zip(model.predict(&images)?));
    }
    if predicted.is_empty() {
        return Err(labelled.none_opens());
    }
    let samples: Vec<Scored<'_>> =
        predicted.iter().map(|(label, probabilities)| Scored { label, probabilities, loss: None }).collect();
    let of_images = format!(" of {}", counted(samples.len(), "image"));
    let scores = Scores::new(&model.classes, model.classifier.labelling(), &samples)
        .ok_or_else(|| EngineError::Invalid("no image has one class, as the model wants it".into()))?;
    let secs = begun.elapsed().as_secs_f64();
    let percent = |value: f64| format!("{:.2} %", 100.0 * value);
    let mut verdicts = Vec::new();
    let mut least = |name: String, found: Option<f64>, wanted: f64| {
        let found_of_images = found.map_or("none".into(), percent) + &of_images;
        let text = format!("{found_of_images}, wanted at least {}", percent(wanted));
        verdicts.push(Verdict { name, passed: found.is_some_and(|found| found >= wanted), text, secs });
    };
    let of_class = |name: &str| Ok::<_, EngineError>(scores.classes[model.class(name)?].score);
    let Minimum { accuracy, macro_f1, recall, precision } = &demands.minimum;
    if let Some(wanted) = accuracy {
        least("accuracy".into(), Some(scores.accuracy.value), *wanted);
    }
    if let Some(wanted) = macro_f1 {
        least("macro F1".into(), Some(scores.macro_f1.value), *wanted);
    }
    for (class, wanted) in recall {
        least(format!("recall of {class}"), of_class(class)?.recall, *wanted);
    }
    for (class, wanted) in precision {
        least(format!("precision of {class}"), of_class(class)?.precision, *wanted);
    }
    if let Some(wanted) = demands.maximum.calibration_error {
        let found = scores.calibration_error;
        let text = format!("{}{of_images}, wanted at most {}", percent(found), percent(wanted));
        verdicts.push(Verdict { name: "calibration error".into(), passed: found <= wanted, text, secs });
    }
    Ok(verdicts)
}

fn check_invariance(model: &Checked, demands: &Invariance, labelled: &LabelledImages) -> Result<Vec<Verdict>> {
    if demands.bounds().next().is_none() {
        return Ok(Vec::new());
    }
    let step = labelled.images.len().div_ceil(demands.samples.max(1));
    let images: Vec<RgbImage> =
        labelled.images.par_iter().step_by(step).filter_map(|(path, _)| labelled.open(path)).collect();
    if images.is_empty() {
        return Err(labelled.none_opens());
    }
    let before = model.answers(&images)?;
    let check = |(name, bound, changes): (&str, Bound, Vec<(Change, f64)>)| {
        timed(format!("invariance under {name}"), || {
            let mut stayed = 0;
            for (change, by) in &changes {
                let changed: Vec<RgbImage> = images.par_iter().map(|image| change(image, *by)).collect();
                stayed +=
                    model.answers(&changed)?.iter().zip(&before).filter(|(after, before)| after == before).count();
            }
            let share = stayed as f64 / (images.len() * changes.len()) as f64;
            let text = format!(
                "{:.2} % of {} answers stay by {}, wanted at least {:.2} %",
                100.0 * share,
                images.len() * changes.len(),
                bound.by,
                100.0 * bound.minimum
            );
            Ok((share >= bound.minimum, text))
        })
    };
    demands.bounds().map(check).collect()
}

fn check_latency(model: &Checked, labelled: &LabelledImages, most: f64) -> Result<Verdict> {
    timed("latency".into(), || {
        let image = labelled.images.iter().find_map(|(path, _)| labelled.open(path));
        let image = image.ok_or_else(|| labelled.none_opens())?;
        let side = model.classifier.image_size() as u32;
        let median = median_millis(&model.classifier, &square(&image, side))?;
        Ok((median <= most, format!("{median:.2} ms for an image, wanted at most {most} ms")))
    })
}

/// Verdicts in the form that CI systems show: a JUnit test suite.
pub fn junit(verdicts: &[Verdict]) -> String {
    let escaped =
        |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let failures = verdicts.iter().filter(|verdict| !verdict.passed).count();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"assay check\" tests=\"{}\" failures=\"{failures}\">\n",
        verdicts.len()
    );
    for Verdict { name, passed, text, secs } in verdicts {
        let head = format!("  <testcase classname=\"assay.check\" name=\"{}\" time=\"{secs:.3}\">", escaped(name));
        let body = match passed {
            true => format!("<system-out>{}</system-out>", escaped(text)),
            false => format!("<failure message=\"{}\"/>", escaped(text)),
        };
        xml += &format!("{head}{body}</testcase>\n");
    }
    xml + "</testsuite>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_junit_report_counts_failures_and_escapes_text() {
        let verdict =
            |name: &str, passed| Verdict { name: name.into(), passed, text: "1 < 2 & \"3\"".into(), secs: 0.5 };
        let xml = junit(&[verdict("accuracy", true), verdict("recall of <b>", false)]);
        assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
        assert!(xml.contains("name=\"recall of &lt;b&gt;\""), "{xml}");
        assert!(xml.contains("<failure message=\"1 &lt; 2 &amp; &quot;3&quot;\"/>"), "{xml}");
    }
}
