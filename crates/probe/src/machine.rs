//! The machine and how busy it is.

use crate::gpu::Gpu;
use assay_domain::record::Machine;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System};

/// The machine that this process runs on; `device` is what computes.
pub fn machine(device: &str) -> Machine {
    let kinds = RefreshKind::nothing().with_memory(MemoryRefreshKind::everything()).with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(kinds).ok();
    let cpu = system.as_ref().and_then(|system| system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()));
    let os = [System::long_os_version().ok(), System::kernel_version().ok()];
    Machine {
        host: System::host_name().unwrap_or_default(),
        os: os.into_iter().flatten().collect::<Vec<_>>().join(", kernel "),
        cpu: cpu.unwrap_or_default(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: system.map_or(0, |system| system.total_memory()),
        device: match device.starts_with("cuda").then(Gpu::find).flatten().and_then(|gpu| gpu.name()) {
            Some(name) => format!("{device} ({name})"),
            None => device.to_owned(),
        },
    }
}

/// How many bytes of memory this process may still take: what the machine has free, within the limits of its container and
/// its own (`ulimit -v`).
pub fn free_memory() -> u64 {
    let kinds = RefreshKind::nothing().with_memory(MemoryRefreshKind::everything());
    let of_machine = System::new_with_specifics(kinds).map_or(u64::MAX, |system| {
        let of_container = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory);
        system.available_memory().min(of_container)
    });
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).ok();
    let own = || -> Option<u64> {
        let taken: u64 = read("status")?.lines().find_map(|line| number(line.strip_prefix("VmSize:")?))? << 10;
        let limits = read("limits")?;
        let limit = limits.lines().find_map(|line| number(line.strip_prefix("Max address space")?))?;
        Some(limit.saturating_sub(taken))
    };
    own().map_or(of_machine, |own| own.min(of_machine))
}

/// The first word, where it is a number.
fn number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Measures how busy the machine is, each time since the last.
pub struct Telemetry {
    system: System,
    process: Pid,
    gpu: Option<Gpu>,
}

impl Telemetry {
    /// Starts measuring; `None` on a system that gives no figures.
    pub fn start() -> Option<Telemetry> {
        let system =
            System::new_with_specifics(RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing().with_usage())).ok()?;
        Some(Telemetry { system, process: sysinfo::get_current_pid().ok()?, gpu: Gpu::find() })
    }

    /// Metric keys and values: CPU in percent of all cores, memory in gigabytes, and the GPU where there is one.
    pub fn measure(&mut self) -> Vec<(&'static str, f64)> {
        const GIGABYTE: f64 = 1e9;
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        let kinds = ProcessRefreshKind::nothing().with_memory().without_tasks();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[self.process]), true, kinds);
        let used = self.system.total_memory().saturating_sub(self.system.available_memory());
        let mut values = vec![
            ("system/cpu_percent", f64::from(self.system.global_cpu_usage())),
            ("system/memory_gb", used as f64 / GIGABYTE),
        ];
        values.extend(
            self.system.process(self.process).map(|own| ("system/process_memory_gb", own.memory() as f64 / GIGABYTE)),
        );
        values.extend(self.gpu.iter().flat_map(Gpu::measure));
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_cores_memory_and_a_name() {
        let machine = machine("cpu");
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && !machine.os.is_empty());
        assert_eq!(machine.device, "cpu");
    }

    #[test]
    fn some_memory_is_free_and_no_more_than_there_is() {
        let free = free_memory();
        assert!(free > 0 && free <= machine("cpu").memory_bytes);
        assert_eq!(number("   1234 kB"), Some(1234));
        assert_eq!(number("   unlimited  unlimited bytes"), None);
    }

    #[test]
    fn telemetry_measures_this_process() {
        let values = Telemetry::start().unwrap().measure();
        assert!(values.iter().any(|(key, value)| *key == "system/process_memory_gb" && *value > 0.0));
    }
}
