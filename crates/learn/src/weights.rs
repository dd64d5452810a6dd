//! First weights from elsewhere: which tensor of a file belongs where in a model, and what does not fit.

use crate::learner::Learner;
use crate::parameters::deserialize;
use crate::{LearnError, Result};
use candle_core::{DType, Tensor, Var};
use std::collections::{BTreeMap, HashMap};

/// How many names a message lists.
const LISTED: usize = 5;

/// Weights that a model begins with.
#[derive(Clone)]
pub struct Weights {
    /// Where they come from, for people.
    pub from: String,
    /// A safetensors file.
    pub file: Vec<u8>,
}

/// What became of the tensors of a file.
#[derive(Debug, Default, PartialEq)]
struct Fit {
    taken: usize,
    /// Tensors of the head whose number of classes is another, or that the file lacks: they stay as they began.
    begun_anew: Vec<String>,
    /// Tensors that had to change their shape.
    reshaped: Vec<String>,
    /// Tensors of the file that the model has no place for.
    unexpected: Vec<String>,
}

impl Learner {
    /// Takes the tensors of a file that belong to the model; says what became of them.
    ///
    /// # Errors
    /// When the file is no safetensors, or a tensor before the head is missing or does not fit.
    pub(crate) fn adopt(&mut self, weights: &Weights) -> Result<Vec<String>> {
        let failed = |why: String| LearnError::Weights { from: weights.from.clone(), why };
        let found = deserialize(&weights.file, self.parameters.device()).map_err(|why| failed(why.to_string()))?;
        let head: Vec<String> = self.parameters.of_group(self.model.groups()).cloned().collect();
        let fit = fill(self.parameters.all(), &head, found)?.map_err(failed)?;
        self.begin_average()?;
        Ok(fit.lines(&weights.from))
    }
}

impl Fit {
    fn lines(&self, from: &str) -> Vec<String> {
        let mut lines = vec![format!("{} tensors begin with the weights of {from}", self.taken)];
        let mut tell = |names: &[String], what: &str| {
            if !names.is_empty() {
                lines.push(format!("{what}: {}", listed(names)));
            }
        };
        tell(&self.begun_anew, "the head begins anew, since it has other classes");
        tell(&self.reshaped, "reshaped");
        tell(&self.unexpected, "not part of the model");
        lines
    }
}

fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        text += &format!(" and {} more", names.len() - LISTED);
    }
    text
}

/// Sets the model's tensors from those that were found; or says why they do not fit.
fn fill<'a>(
    model: impl Iterator<Item = (&'a String, &'a Var)>,
    head: &[String],
    found: HashMap<String, Tensor>,
) -> Result<Result<Fit, String>> {
    let mut found = named_as_in_the_model(found);
    let (mut fit, mut set) = (Fit::default(), Vec::new());
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    for (name, var) in model {
        let tensor = found.remove(name).map(|tensor| tensor.to_dtype(DType::F32)).transpose()?;
        match tensor {
            Some(tensor) if tensor.dims() == var.dims() => set.push((var, tensor)),
            None if head.contains(name) => fit.begun_anew.push(name.clone()),
            None => missing.push(name.clone()),
            Some(tensor) => match reshaped(name, &tensor, var.dims())? {
                Some(reshaped) => {
                    fit.reshaped.push(format!("{name} from {:?} to {:?}", tensor.dims(), var.dims()));
                    set.push((var, reshaped));
                }
                None if head.contains(name) => fit.begun_anew.push(name.clone()),
                None => misshapen.push(format!("{name} is {:?}, not {:?}", tensor.dims(), var.dims())),
            },
        }
    }
    fit.unexpected.extend(found.into_keys());
    if !misshapen.is_empty() {
        return Ok(Err(format!(
            "tensors have other shapes than the model's ({}); is model.name right, and model.width? Small images change the first layer: set data.image_size as the weights were trained",
            listed(&misshapen)
        )));
    }
    if !missing.is_empty() {
        let instead = match fit.unexpected.is_empty() {
            true => String::new(),
            false => format!("; it has {}", listed(&fit.unexpected)),
        };
        return Ok(Err(format!(
            "the file lacks {} of the model's tensors ({}){instead}. Is model.name right? Names must be those of torchvision or timm",
            missing.len(),
            listed(&missing)
        )));
    }
    fit.taken = set.len();
    set.into_iter().try_for_each(|(var, tensor)| var.set(&tensor))?;
    Ok(Ok(fit))
}

/// Without what wrappers put before names, and without counters that nothing depends on.
fn named_as_in_the_model(found: HashMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let mut found: BTreeMap<String, Tensor> =
        found.into_iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")).collect();
    for prefix in ["module.", "model."] {
        if found.keys().all(|name| name.starts_with(prefix)) {
            found = found.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect();
        }
    }
    found
}

/// The tensor in the shape that the model wants, where that means the same: the same values with other dimensions of one,
/// or position embeddings of another number of patches.
fn reshaped(name: &str, tensor: &Tensor, wanted: &[usize]) -> Result<Option<Tensor>> {
    let significant = |dims: &[usize]| dims.iter().copied().filter(|dim| *dim != 1).collect::<Vec<_>>();
    if significant(tensor.dims()) == significant(wanted) {
        return Ok(Some(tensor.reshape(wanted)?));
    }
    match (name, tensor.dims(), wanted) {
        ("pos_embed", [1, from, width], [1, to, same]) if width == same => resampled(tensor, (*from, *to)),
        _ => Ok(None),
    }
}

/// Position embeddings of a class token and a square of patches for a square of another size, by cubic interpolation, as
/// timm's `resample_abs_pos_embed`.
fn resampled(embeddings: &Tensor, (from, to): (usize, usize)) -> Result<Option<Tensor>> {
    let side = |tokens: usize| ((tokens.saturating_sub(1)) as f64).sqrt() as usize;
    let (old, new) = (side(from), side(to));
    if old * old + 1 != from || new * new + 1 != to || old == 0 {
        return Ok(None);
    }
    let width = embeddings.dims()[2];
    let weights = Tensor::from_vec(cubic(old, new), (new, old), embeddings.device())?;
    let class = embeddings.narrow(1, 0, 1)?;
    let grid = embeddings.narrow(1, 1, from - 1)?.reshape((old, old * width))?;
    // Rows first, then columns.
    let rows = weights.matmul(&grid.contiguous()?)?.reshape((new, old, width))?.transpose(0, 1)?.contiguous()?;
    let both = weights.matmul(&rows.reshape((old, new * width))?)?.reshape((new, new, width))?;
    let grid = both.transpose(0, 1)?.contiguous()?.reshape((1, new * new, width))?;
    Ok(Some(Tensor::cat(&[&class, &grid], 1)?))
}

/// The weight of each old place in each new one, (new, old): cubic convolution (Keys 1981, a = -1/2), antialiased, as
/// `torch.nn.functional.interpolate(mode="bicubic", antialias=True)`.
fn cubic(old: usize, new: usize) -> Vec<f32> {
    let scale = old as f64 / new as f64;
    let reach = scale.max(1.0);
    let kernel = |x: f64| match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    };
    let mut weights = Vec::with_capacity(old * new);
    for place in 0..new {
        let centre = (place as f64 + 0.5) * scale - 0.5;
        let row: Vec<f64> = (0..old).map(|at| kernel((at as f64 - centre) / reach)).collect();
        let sum: f64 = row.iter().sum();
        weights.extend(row.iter().map(|weight| (weight / sum) as f32));
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::serialize;
    use crate::{Config, Device};

    fn learner(overrides: &[&str], classes: usize) -> Learner {
        let all = [&["data.image_size=32", "model.width=64"], overrides].concat();
        let config = Config::resolve("", &all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap();
        Learner::begin(&config, classes, &Device::Cpu).unwrap()
    }

    fn weights(tensors: impl IntoIterator<Item = (String, Tensor)>) -> Weights {
        Weights { from: "w.safetensors".into(), file: serialize(tensors.into_iter()).unwrap() }
    }

    fn tensors(of: &Learner) -> BTreeMap<String, Tensor> {
        of.parameters.all().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
    }

    #[test]
    fn a_head_of_other_classes_begins_anew_and_is_said_so() {
        let pretrained = learner(&["model.name=vit-ti16", "seed=1"], 10);
        let mut model = learner(&["model.name=vit-ti16", "seed=2"], 3);
        let before = tensors(&model)["head.weight"].to_vec2::<f32>().unwrap();
        let mut given = tensors(&pretrained);
        given.insert("fc_norm.weight".into(), Tensor::ones(3, DType::F32, &Device::Cpu).unwrap());
        given.insert("x.num_batches_tracked".into(), Tensor::ones((), DType::F32, &Device::Cpu).unwrap());
        let given = given.into_iter().map(|(name, tensor)| (format!("module.{name}"), tensor));
        let lines = model.adopt(&weights(given)).unwrap().join("\n");
        assert!(lines.contains("150 tensors begin with the weights of w.safetensors"), "{lines}");
        assert!(lines.contains("head begins anew") && lines.contains("head.bias, head.weight"), "{lines}");
        assert!(lines.contains("not part of the model: fc_norm.weight") && !lines.contains("tracked"), "{lines}");
        let (ours, theirs) = (tensors(&model), tensors(&pretrained));
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&ours["blocks.3.attn.qkv.weight"]), values(&theirs["blocks.3.attn.qkv.weight"]));
        assert_eq!(ours["head.weight"].to_vec2::<f32>().unwrap(), before);
    }

    #[test]
    fn what_is_missing_or_misshapen_before_the_head_is_an_error_and_nothing_is_taken() {
        let mut model = learner(&["model.name=resnet18"], 3);
        let before = tensors(&model)["bn1.weight"].to_vec1::<f32>().unwrap();
        let mut given = tensors(&learner(&["model.name=resnet18"], 3));
        given.insert("bn1.weight".into(), Tensor::zeros(64, DType::F32, &Device::Cpu).unwrap());
        let lost = given.remove("layer2.0.conv1.weight").unwrap();
        let message = model.adopt(&weights(given.clone())).unwrap_err().to_string();
        assert!(message.contains("lacks 1 of the model's tensors (layer2.0.conv1.weight)"), "{message}");
        given.insert("layer2.0.conv1.weight".into(), lost.narrow(0, 0, 5).unwrap());
        let message = model.adopt(&weights(given)).unwrap_err().to_string();
        assert!(message.contains("layer2.0.conv1.weight is [5, 64, 3, 3], not [128, 64, 3, 3]"), "{message}");
        assert_eq!(tensors(&model)["bn1.weight"].to_vec1::<f32>().unwrap(), before);
        let message = model.adopt(&Weights { from: "x".into(), file: b"PK".to_vec() }).unwrap_err().to_string();
        assert!(message.contains("safetensors"), "{message}");
    }

    #[test]
    fn position_embeddings_are_resampled_to_the_size_of_the_images() {
        let pretrained = learner(&["model.name=vit-ti16", "data.image_size=64"], 3);
        let mut model = learner(&["model.name=vit-ti16", "data.image_size=96"], 3);
        let lines = model.adopt(&weights(tensors(&pretrained))).unwrap().join("\n");
        assert!(lines.contains("reshaped: pos_embed from [1, 17, 64] to [1, 37, 64]"), "{lines}");
        // What is the same everywhere stays so, also when it is made smaller.
        for (old, new) in [(4, 6), (6, 4), (3, 9)] {
            assert!(cubic(old, new).chunks(old).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-6));
        }
        // torch.nn.functional.interpolate(torch.eye(4).reshape(1, 4, 4, 1), size=(2, 1), mode="bicubic", antialias=True)
        let right = [0.458_7, 0.458_7, 0.119_8, -0.037_2];
        for (ours, right) in cubic(4, 2)[..4].iter().zip(right) {
            assert!((ours - right).abs() < 1e-4, "{ours} {right}");
        }
    }
}
