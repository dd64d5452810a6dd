//! The words that fields choose among.

use super::field::Field;
use serde::{Deserialize, Serialize};

/// An enum of words, each with a line of explanation. The first is the default.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident {
        #[doc = $first_help:literal] $first:ident = $first_word:literal,
        $(#[doc = $help:literal] $variant:ident = $word:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            #[doc = $first_help] #[default] #[serde(rename = $first_word)] $first,
            $(#[doc = $help] #[serde(rename = $word)] $variant,)+
        }

        impl Field for $name {
            const CHOICES: &'static [(&'static str, &'static str)] =
                &[($first_word, $first_help), $(($word, $help)),+];
        }
    };
}

choice! {
    /// Where a config begins.
    Recipe {
        /// The defaults of all fields.
        None = "none",
        /// A first answer in minutes: a small network, few epochs.
        Quick = "quick",
        /// The weights of another training, the head first, then all layers with lower rates towards the images.
        Finetune = "finetune",
        /// A residual network from nothing, with strong augmentation and many epochs.
        FromScratch = "from-scratch",
    }
}

choice! {
    /// What computes.
    DeviceWord {
        /// The GPU when there is one.
        Auto = "auto",
        /// The processor.
        Cpu = "cpu",
        /// The GPU.
        Cuda = "cuda",
    }
}

choice! {
    /// A network.
    ModelName {
        /// Two convolutions and two linear layers.
        SmallCnn = "small-cnn",
        /// The residual network of 18 layers.
        Resnet18 = "resnet18",
        /// The residual network of 34 layers.
        Resnet34 = "resnet34",
        /// The residual network of 50 layers, with bottlenecks.
        Resnet50 = "resnet50",
        /// The large MobileNet of the third version.
        MobilenetV3Large = "mobilenet-v3-large",
        /// The smallest EfficientNet.
        EfficientnetB0 = "efficientnet-b0",
        /// The tiny ConvNeXt.
        ConvnextTiny = "convnext-tiny",
        /// The tiny vision transformer, with patches of 16 pixels.
        VitTi16 = "vit-ti16",
        /// The small vision transformer, with patches of 16 pixels.
        VitS16 = "vit-s16",
    }
}

choice! {
    /// What of a model stays as it is.
    Frozen {
        /// Nothing: all of it learns.
        None = "none",
        /// All but the last layer.
        Backbone = "backbone",
    }
}

choice! {
    /// What begins to learn after a while.
    Unfreeze {
        /// All layers at once.
        All = "all",
        /// One more group of layers each time, from the head down.
        Gradual = "gradual",
    }
}

choice! {
    /// In which type a model computes.
    Precision {
        /// 32 bits throughout.
        Fp32 = "fp32",
        /// On a GPU: images and what is made of them in bfloat16; parameters, their gradients and all sums in 32 bits.
        Bf16 = "bf16",
    }
}

choice! {
    /// How much a sample's class counts.
    ClassWeights {
        /// All classes the same.
        None = "none",
        /// Each class by samples / (classes x samples of the class), as scikit-learn's "balanced"; where samples may have several, those of a class count as much as all others together.
        Balanced = "balanced",
    }
}

choice! {
    /// Which samples an epoch sees.
    Sampler {
        /// Each once, in another order each time.
        Shuffled = "shuffled",
        /// As many of each class, drawn with replacement.
        Balanced = "balanced",
    }
}

choice! {
    /// What a model is to make less.
    LossName {
        /// As the dataset has it: cross-entropy where images have one class, else binary cross-entropy.
        Auto = "auto",
        /// Of one class a sample, with probabilities that sum to 1.
        CrossEntropy = "cross-entropy",
        /// Of any number of classes, each with a probability of its own; the mean over classes.
        BinaryCrossEntropy = "binary-cross-entropy",
    }
}

choice! {
    /// An optimizer.
    OptimizerName {
        /// Adam with decoupled weight decay.
        Adamw = "adamw",
        /// Stochastic gradient descent with momentum.
        Sgd = "sgd",
    }
}

choice! {
    /// The learning rate over the steps, after the warm-up.
    ScheduleName {
        /// Half a cosine down to the floor.
        Cosine = "cosine",
        /// No change.
        Constant = "constant",
        /// Times `schedule.factor` every `schedule.every_epochs` epochs.
        Step = "step",
        /// Up in the first 30 % of the steps and down to nearly nothing, both by half a cosine; there is no other warm-up.
        OneCycle = "one-cycle",
        /// Times `schedule.factor` when the validation loss has not fallen for `schedule.every_epochs` epochs.
        Plateau = "plateau",
        /// Ever faster from nearly nothing until the loss explodes; what was found is told in the log.
        Find = "find",
    }
}
