//! How busy the NVIDIA GPU is, asked of its driver; without one there is nothing to say.

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::TemperatureSensor;

/// The driver, while there is one.
pub(crate) struct Gpu(Nvml);

impl Gpu {
    /// Finds the driver of the first GPU.
    pub(crate) fn find() -> Option<Gpu> {
        let nvml = Nvml::init().ok()?;
        nvml.device_by_index(0).ok()?;
        Some(Gpu(nvml))
    }

    /// Its name, as the record keeps it.
    pub(crate) fn name(&self) -> Option<String> {
        self.0.device_by_index(0).ok()?.name().ok()
    }

    /// Metric keys and values: use in percent, memory in gigabytes, power in watts, temperature in degrees Celsius. What
    /// the GPU does not tell is left out.
    pub(crate) fn measure(&self) -> Vec<(&'static str, f64)> {
        let Ok(device) = self.0.device_by_index(0) else { return Vec::new() };
        let values = [
            ("system/gpu_percent", device.utilization_rates().map(|rates| f64::from(rates.gpu))),
            ("system/gpu_memory_gb", device.memory_info().map(|memory| memory.used as f64 / 1e9)),
            ("system/gpu_watts", device.power_usage().map(|milliwatts| f64::from(milliwatts) / 1e3)),
            ("system/gpu_celsius", device.temperature(TemperatureSensor::Gpu).map(f64::from)),
        ];
        values.into_iter().filter_map(|(key, value)| Some((key, value.ok()?))).collect()
    }
}
