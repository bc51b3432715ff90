//! CPU time, memory and files of the process, under the usual Prometheus names. Read from `/proc`
//! on request; on systems without it, these metrics are left out.

use std::{
    fs,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

/// Clock ticks per second of Linux, on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds the process's metrics.
pub fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process { files: Mutex::default() }));
}

/// How long a number of files that had to be counted serves further requests.
const COUNT_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Process {
    /// The number of open files when they were last counted.
    files: Mutex<Option<(Instant, f64)>>,
}

impl Process {
    /// Since version 6.2, Linux reports the number as the size of the directory; before, its entries
    /// have to be counted, which takes a microsecond each.
    fn open_files(&self) -> Option<f64> {
        const FILES: &str = "/proc/self/fd";
        let reported = fs::metadata(FILES).ok()?.len();
        if reported > 0 {
            return Some(reported as f64);
        }
        let mut last = self.files.lock();
        if let Some((counted, files)) = *last
            && counted.elapsed() < COUNT_EVERY
        {
            return Some(files);
        }
        let files = fs::read_dir(FILES).ok()?.count() as f64;
        *last = Some((Instant::now(), files));
        Some(files)
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut counter = |name, help, value: Option<f64>| match value {
            Some(value) => ConstCounter::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Counter,
            )?),
            None => Ok(()),
        };
        counter("process_cpu_seconds", "CPU time used", cpu_seconds())?;
        let mut gauge = |name, help, value: Option<f64>| match value {
            Some(value) => ConstGauge::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Gauge,
            )?),
            None => Ok(()),
        };
        gauge("process_resident_memory_bytes", "Memory in use", resident_bytes())?;
        gauge("process_open_fds", "Files and sockets open", self.open_files())?;
        gauge("process_max_fds", "Files and sockets that may be open", max_files())?;
        gauge("process_start_time_seconds", "When it started, since 1970", start_time())
    }
}

/// A field of `/proc/self/stat`, counted after the second one, which may contain spaces.
fn stat_field(number: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(number - 3)?.parse().ok()
}

fn cpu_seconds() -> Option<f64> {
    let (user, system) = (stat_field(14)?, stat_field(15)?);
    Some((user + system) / TICKS_PER_SECOND)
}

fn start_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 =
        stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(booted + stat_field(22)? / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn max_files() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
