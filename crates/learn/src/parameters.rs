//! The named tensors of a model: parameters that are learned and buffers that are kept.

use crate::random::{self, Purpose, between, normal};
use crate::{Device, LearnError, Result};
use candle_core::{DType, Tensor, Var};
use std::collections::{BTreeMap, HashMap};

/// How a parameter begins.
#[derive(Clone, Copy)]
pub(crate) enum Begin {
    /// All the same.
    Constant(f32),
    /// Uniform within plus and minus the bound.
    Uniform(f64),
    /// Normal around 0 with this standard deviation.
    Normal(f64),
}

/// The tensors of a model by name, the names being those of the reference implementation.
pub(crate) struct Parameters {
    device: Device,
    seed: u64,
    /// Those that are learned, once their group is.
    parameters: BTreeMap<String, Parameter>,
    buffers: BTreeMap<String, Var>,
    /// The group that layers are being made for.
    group: usize,
    /// The first group that learns; what comes before it stays as it is.
    first_learned: usize,
}

struct Parameter {
    values: Var,
    group: usize,
}

impl Parameters {
    pub(crate) fn new(seed: u64, device: &Device) -> Parameters {
        Parameters {
            device: device.clone(),
            seed,
            parameters: BTreeMap::new(),
            buffers: BTreeMap::new(),
            group: 0,
            first_learned: 0,
        }
    }

    /// What is made from now on belongs to this group of layers, counted from the images on.
    pub(crate) fn begin_group(&mut self, group: usize) {
        self.group = group;
    }

    /// A parameter that is learned; its first values depend on the seed and its name alone.
    pub(crate) fn learned(&mut self, name: &str, shape: &[usize], begin: Begin) -> Result<Var> {
        let mut random = random::stream(self.seed, Purpose::Parameter(name));
        let count = shape.iter().product();
        let values: Vec<f32> = match begin {
            Begin::Constant(value) => vec![value; count],
            Begin::Uniform(bound) => (0..count).map(|_| between(&mut random, -bound, bound) as f32).collect(),
            Begin::Normal(deviation) => (0..count).map(|_| (normal(&mut random) * deviation) as f32).collect(),
        };
        let var = Var::from_tensor(&Tensor::from_vec(values, shape, &self.device)?)?;
        self.parameters.insert(name.to_owned(), Parameter { values: var.clone(), group: self.group });
        Ok(var)
    }

    /// A buffer that is kept but not learned.
    pub(crate) fn buffer(&mut self, name: &str, size: usize, value: f32) -> Result<Var> {
        let var = Var::from_tensor(&Tensor::full(value, size, &self.device)?)?;
        self.buffers.insert(name.to_owned(), var.clone());
        Ok(var)
    }

    /// From now on the groups from this one on learn, and no others.
    pub(crate) fn learn_from(&mut self, group: usize) {
        self.first_learned = group;
    }

    /// Where they are.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The learned parameters by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Var)> {
        self.in_groups().map(|(name, values, _)| (name, values))
    }

    /// The learned parameters by name, each with its group.
    pub(crate) fn in_groups(&self) -> impl Iterator<Item = (&String, &Var, usize)> {
        let learned = self.parameters.iter().filter(|(_, parameter)| parameter.group >= self.first_learned);
        learned.map(|(name, parameter)| (name, &parameter.values, parameter.group))
    }

    /// The names of the parameters of a group, whether it learns or not.
    pub(crate) fn of_group(&self, group: usize) -> impl Iterator<Item = &String> {
        self.parameters.iter().filter(move |(_, parameter)| parameter.group == group).map(|(name, _)| name)
    }

    /// How many values learn, and how many parameters have in all.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let learned = self.iter().map(|(_, var)| var.elem_count()).sum();
        (learned, self.parameters.values().map(|parameter| parameter.values.elem_count()).sum())
    }

    /// All parameters by name, learned or not.
    pub(crate) fn without_buffers(&self) -> impl Iterator<Item = (&String, &Var)> {
        self.parameters.iter().map(|(name, parameter)| (name, &parameter.values))
    }

    /// All tensors by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&String, &Var)> {
        self.without_buffers().chain(&self.buffers)
    }

    /// All tensors as a safetensors file.
    pub(crate) fn save(&self) -> Result<Vec<u8>> {
        serialize(self.all().map(|(name, var)| (name.clone(), var.as_tensor().clone())))
    }

    /// Takes all tensors from a safetensors file; names and shapes must fit exactly.
    pub(crate) fn load(&self, file: &[u8]) -> Result<()> {
        let mut tensors = deserialize(file, &self.device)?;
        for (name, var) in self.all() {
            let tensor = tensors.remove(name).ok_or_else(|| {
                LearnError::Checkpoint(format!("it has no tensor {name:?}; was it made by this model?"))
            })?;
            if tensor.shape() != var.shape() {
                return Err(LearnError::Checkpoint(format!(
                    "tensor {name:?} has shape {:?}, the model wants {:?}",
                    tensor.dims(),
                    var.dims()
                )));
            }
            var.set(&tensor.to_dtype(DType::F32)?)?;
        }
        match tensors.keys().next() {
            Some(name) => Err(LearnError::Checkpoint(format!("its tensor {name:?} is not part of the model"))),
            None => Ok(()),
        }
    }
}

/// Tensors as a safetensors file.
pub(crate) fn serialize(tensors: impl Iterator<Item = (String, Tensor)>) -> Result<Vec<u8>> {
    let tensors: BTreeMap<String, Tensor> = tensors.collect();
    safetensors::serialize(tensors, None).map_err(|why| LearnError::Checkpoint(why.to_string()))
}

/// The tensors of a safetensors file.
pub(crate) fn deserialize(file: &[u8], device: &Device) -> Result<HashMap<String, Tensor>> {
    candle_core::safetensors::load_buffer(file, device)
        .map_err(|why| LearnError::Checkpoint(format!("not a safetensors file: {why}")))
}
