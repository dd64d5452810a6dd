//! Times optimizer steps of a config on noise and prints them as JSON: `train WARMUP STEPS key=value...`. The bench
//! commands of the project call it beside a peer.

use assay_learn::{Config, DeviceChoice, measure_steps};
use std::error::Error;

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [warmup, steps, overrides @ ..] = arguments.as_slice() else {
        return Err("usage: train WARMUP STEPS key=value...".into());
    };
    let config = Config::resolve("", overrides)?;
    let device = DeviceChoice::from(config.device).open()?;
    let counts = (warmup.parse()?, steps.parse()?);
    if !device.is_cpu() {
        // A GPU is not waited for within a step, so its parts have no times of their own.
        let step = assay_learn::measure_stream(&config, 10, &device, counts)?;
        let bytes = assay_learn::peak_device_bytes(&device)?.unwrap_or(0);
        println!("{{\"total\":{},\"peak_mb\":{}}}", step.as_secs_f64() * 1e3, bytes as f64 / 1e6);
        return Ok(());
    }
    let times = measure_steps(&config, 10, &device, counts)?;
    let median = |of: &dyn Fn(&assay_learn::StepTime) -> std::time::Duration| {
        let mut millis: Vec<f64> = times.iter().map(|time| of(time).as_secs_f64() * 1e3).collect();
        millis.sort_by(f64::total_cmp);
        millis.get(millis.len() / 2).copied().unwrap_or(f64::NAN)
    };
    println!(
        "{{\"forward\":{},\"backward\":{},\"update\":{},\"total\":{},\"peak_mb\":{}}}",
        median(&|time| time.forward),
        median(&|time| time.backward),
        median(&|time| time.update),
        median(&|time| time.total()),
        peak_memory_mb(),
    );
    Ok(())
}

/// The most memory that this process has had, where the system tells.
fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e3
}
