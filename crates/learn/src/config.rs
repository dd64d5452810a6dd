//! The config of a training run: each field declared once, with its type, default, explanation and bounds.
//!
//! As typed -> resolved: [`Config::resolve`] takes TOML text and overrides by dotted path, and refuses what it does not
//! know, naming the nearest valid key.

mod choice;
mod error;
mod field;
mod resolve;

pub use choice::{
    ClassWeights, DeviceWord, Frozen, LossName, ModelName, OptimizerName, Precision, Recipe, Sampler, ScheduleName,
    Unfreeze,
};
pub use error::ConfigError;
pub use field::Explained;
pub use resolve::compose;

use assay_domain::Labelling;
use field::{Field, Section, section};
use serde::{Deserialize, Serialize};

/// Everything that decides what a run computes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where it begins.
    pub recipe: Recipe,
    /// What computes.
    pub device: DeviceWord,
    /// The seed of every random number.
    pub seed: u64,
    /// Training length and bookkeeping.
    pub train: Train,
    /// The model.
    pub model: Model,
    /// The input.
    pub data: Data,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The learning rate over the steps.
    pub schedule: Schedule,
    /// Random changes of the training images.
    pub augment: Augment,
}

impl From<DeviceWord> for crate::DeviceChoice {
    fn from(word: DeviceWord) -> Self {
        match word {
            DeviceWord::Auto => crate::DeviceChoice::Auto,
            DeviceWord::Cpu => crate::DeviceChoice::Cpu,
            DeviceWord::Cuda => crate::DeviceChoice::Cuda,
        }
    }
}

/// The metrics by which the best checkpoint may be chosen, and where those of classes begin.
const BEST_BY: [&str; 6] = ["auto", "val/loss", "val/accuracy", "val/macro_f1", "val/micro_f1", "val/top5"];
pub(crate) const F1_OF: &str = "val/f1/";

section! {
    /// Training length and bookkeeping.
    Train {
        /// How often every training sample is seen.
        epochs: u64 = 20, must be "at least 1" if |epochs| *epochs >= 1;
        /// Samples of a batch; 0 for as many as memory holds and speed gains from.
        batch_size: usize = 64;
        /// Batches whose gradients are gathered for one optimizer step.
        accumulate_batches: usize = 1, must be "at least 1" if |batches| *batches >= 1;
        /// The greatest norm of all gradients of a step together, to which greater ones are scaled down; 0 for no limit.
        clip_norm: f64 = 0.0, must be "at least 0" if |norm| *norm >= 0.0;
        /// What the moving mean of the weights keeps of itself each step; validated and kept as the best. 0 for no mean.
        ema_decay: f64 = 0.0, must be "from 0 up to 1" if |decay| (0.0..1.0).contains(decay);
        /// The loss that training minimises.
        loss: LossName = LossName::Auto;
        /// The share of the target that is spread over all classes, or over yes and no.
        label_smoothing: f64 = 0.0, must be "from 0 up to 1" if |share| (0.0..1.0).contains(share);
        /// How much a sample's class counts.
        class_weights: ClassWeights = ClassWeights::None;
        /// Which samples an epoch sees.
        sampler: Sampler = Sampler::Shuffled;
        /// The metric by which the best checkpoint is chosen, and by which training ends early: val/loss, val/accuracy, val/macro_f1, val/micro_f1, val/top5 or val/f1/CLASS; auto for val/accuracy, and for val/micro_f1 where images may have any number of classes.
        best_by: String = "auto".into(), must be "auto, val/loss, val/accuracy, val/macro_f1, val/micro_f1, val/top5 or val/f1/CLASS" if |metric| BEST_BY.contains(&metric.as_str()) || metric.starts_with(F1_OF);
        /// Epochs without a better checkpoint after which training ends; 0 for never.
        early_stop_epochs: u64 = 0;
        /// With a frozen backbone: epochs after which more layers begin to learn; 0 for never.
        unfreeze_epochs: u64 = 0;
        /// What begins to learn then.
        unfreeze: Unfreeze = Unfreeze::All;
        /// Steps between two points of the training curves.
        log_every_steps: u64 = 5, must be "at least 1" if |steps| *steps >= 1;
        /// Threads that read and augment images.
        loader_threads: usize = 2, must be "from 1 to 256" if |threads| (1..=256).contains(threads);
        /// The type in which images are computed; parameters are always fp32.
        precision: Precision = Precision::Fp32;
    }
}

impl Train {
    /// How many classes a model says of an image.
    pub fn labelling(&self) -> Labelling {
        match self.loss {
            LossName::Auto | LossName::CrossEntropy => Labelling::OneClass,
            LossName::BinaryCrossEntropy => Labelling::AnyClasses,
        }
    }

    /// The metric by which the best checkpoint is chosen.
    pub fn best_by(&self) -> &str {
        match (self.best_by.as_str(), self.labelling()) {
            ("auto", Labelling::OneClass) => "val/accuracy",
            ("auto", Labelling::AnyClasses) => "val/micro_f1",
            (metric, _) => metric,
        }
    }
}

section! {
    /// The model.
    Model {
        /// The network.
        name: ModelName = ModelName::SmallCnn;
        /// Channels of the first stage, or values of a token; 0 for the network's own.
        width: usize = 0;
        /// First weights: a safetensors file with the names of torchvision or timm, a folder that holds model.safetensors (also of a Hugging Face cache), or run:NAME for those of another run; empty for random ones.
        weights: String = String::new();
        /// What stays as it is.
        frozen: Frozen = Frozen::None;
    }
}

section! {
    /// The input.
    Data {
        /// The side of the square input, in pixels; 0 to take it from the images.
        image_size: usize = 0, must be "0, or from 8 to 1024" if |size| matches!(size, 0 | 8..=1024);
        /// What is subtracted from each channel of values in 0..1.
        mean: [f64; 3] = [0.485, 0.456, 0.406];
        /// What each channel is then divided by.
        std: [f64; 3] = [0.229, 0.224, 0.225], must be "above 0" if |std| std.iter().all(|std| *std > 0.0);
    }
}

section! {
    /// The optimizer.
    Optimizer {
        /// The rule by which parameters follow their gradients.
        name: OptimizerName = OptimizerName::Adamw;
        /// The learning rate after the warm-up.
        lr: f64 = 2e-3, must be "above 0" if |lr| *lr > 0.0 && lr.is_finite();
        /// The learning rate of each group of layers as a share of that of the group after it; 1 for the same everywhere.
        layer_decay: f64 = 1.0, must be "above 0 and at most 1" if |decay| *decay > 0.0 && *decay <= 1.0;
        /// Weight decay; norms and biases have none.
        weight_decay: f64 = 1e-2, must be "at least 0" if |decay| *decay >= 0.0;
        /// The share of the old velocity that SGD keeps.
        momentum: f64 = 0.9, must be "from 0 up to 1" if |momentum| (0.0..1.0).contains(momentum);
        /// Whether SGD looks ahead along its velocity.
        nesterov: bool = true;
        /// The decay of AdamW's first moment.
        beta1: f64 = 0.9, must be "from 0 up to 1" if |beta| (0.0..1.0).contains(beta);
        /// The decay of AdamW's second moment.
        beta2: f64 = 0.999, must be "from 0 up to 1" if |beta| (0.0..1.0).contains(beta);
    }
}

section! {
    /// The learning rate over the steps.
    Schedule {
        /// How it changes after the warm-up.
        name: ScheduleName = ScheduleName::Cosine;
        /// Epochs over which the learning rate rises from 0.
        warmup_epochs: f64 = 1.0, must be "at least 0" if |epochs| *epochs >= 0.0;
        /// The share of the learning rate that is left at the end of a cosine, and at least left of a plateau.
        floor: f64 = 0.01, must be "from 0 to 1" if |floor| (0.0..=1.0).contains(floor);
        /// Epochs between steps, or that a plateau lasts.
        every_epochs: u64 = 10, must be "at least 1" if |epochs| *epochs >= 1;
        /// What a step, or the end of a plateau, leaves of the learning rate.
        factor: f64 = 0.1, must be "above 0 and below 1" if |factor| *factor > 0.0 && *factor < 1.0;
    }
}

section! {
    /// Random changes of the training images.
    Augment {
        /// The greatest shift, as a share of the image's side.
        shift: f64 = 0.1, must be "from 0 to 0.5" if |shift| (0.0..=0.5).contains(shift);
        /// Whether to mirror half of the images left to right.
        flip: bool = false;
        /// The least share of the image's area that a random crop keeps; 1 for no crop.
        crop: f64 = 1.0, must be "above 0 and at most 1" if |crop| *crop > 0.0 && *crop <= 1.0;
        /// The greatest ratio of the longer side of a random crop to the shorter; 1 for square crops.
        ratio: f64 = 1.0, must be "from 1 to 4" if |ratio| (1.0..=4.0).contains(ratio);
        /// The greatest change of brightness, contrast and saturation, as a share.
        color: f64 = 0.0, must be "from 0 to 1" if |color| (0.0..=1.0).contains(color);
        /// RandAugment: how many changes each image goes through, drawn from fourteen kinds; 0 for none.
        rand_count: usize = 0, must be "at most 14" if |count| *count <= 14;
        /// RandAugment: how strong its changes are.
        rand_magnitude: f64 = 9.0, must be "from 0 to 30" if |magnitude| (0.0..=30.0).contains(magnitude);
        /// Mixup: alpha of the Beta distribution that says how much of another image is mixed in; 0 for none.
        mixup: f64 = 0.0, must be "at least 0" if |alpha| *alpha >= 0.0;
        /// CutMix: alpha of the Beta distribution that says how large a part of another image is pasted; 0 for none.
        cutmix: f64 = 0.0, must be "at least 0" if |alpha| *alpha >= 0.0;
    }
}

impl Augment {
    /// The side of the square images that crops of `size` pixels are taken from: large enough that a crop of mean area
    /// is not enlarged.
    pub fn source_side(&self, size: usize) -> usize {
        let mean_area = (1.0 + self.crop) / 2.0;
        (size as f64 / mean_area.sqrt()).ceil() as usize
    }

    /// Whether images are always seen as they are.
    pub fn is_none(&self) -> bool {
        let Augment { shift, flip, crop, ratio, color, rand_count, rand_magnitude: _, mixup, cutmix } = self;
        let plain = *shift == 0.0 && !flip && *crop == 1.0 && *ratio == 1.0 && *color == 0.0;
        plain && *rand_count == 0 && *mixup == 0.0 && *cutmix == 0.0
    }
}

impl Config {
    /// Every field with its explanation, in the order of a config file.
    pub fn explained() -> Vec<Explained> {
        let top = |key: &str, help: &str, choices| Explained { key: key.into(), help: help.into(), choices };
        let mut out = vec![
            top("recipe", "Where the config begins: other fields are changes of it.", Recipe::CHOICES),
            top("device", "What computes.", DeviceWord::CHOICES),
            top("seed", "The seed of every random number.", &[]),
        ];
        Train::explain("train.", &mut out);
        Model::explain("model.", &mut out);
        Data::explain("data.", &mut out);
        Optimizer::explain("optimizer.", &mut out);
        Schedule::explain("schedule.", &mut out);
        Augment::explain("augment.", &mut out);
        out
    }

    /// Whether each field is within its bounds, and they go together.
    fn check(&self) -> Result<(), ConfigError> {
        self.train.check("train.")?;
        self.model.check("model.")?;
        self.data.check("data.")?;
        self.optimizer.check("optimizer.")?;
        self.schedule.check("schedule.")?;
        self.augment.check("augment.")?;
        if self.train.unfreeze_epochs > 0 && self.model.frozen == Frozen::None {
            return Err(ConfigError::Apart(
                "train.unfreeze_epochs needs layers that are frozen: set model.frozen=backbone",
            ));
        }
        Ok(())
    }
}
