//! The one place where a device is chosen.

use crate::{LearnError, Result};

/// What computes.
pub type Device = candle_core::Device;

/// What a config may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The GPU when there is one.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The GPU, or an error.
    Cuda,
}

impl DeviceChoice {
    /// The choice of this word.
    pub fn parse(word: &str) -> Result<DeviceChoice> {
        match word {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda),
            other => Err(LearnError::NoDevice(other.into())),
        }
    }

    /// Opens the device.
    pub fn open(self) -> Result<Device> {
        match self {
            DeviceChoice::Cpu => Ok(Device::Cpu),
            DeviceChoice::Auto => Ok(gpu().unwrap_or(Device::Cpu)),
            DeviceChoice::Cuda => gpu().map_err(|_| LearnError::NoDevice("cuda".into())),
        }
    }

    /// The name that the record keeps.
    pub fn name(device: &Device) -> &'static str {
        if device.is_cuda() { "cuda:0" } else { "cpu" }
    }
}

/// The first GPU, with one stream for all threads: what is computed on it is in order.
fn gpu() -> candle_core::Result<Device> {
    let device = Device::new_cuda_with_stream(0)?;
    assay_kernels::prepare_device(&device)?;
    Ok(device)
}
