//! What a workspace of 100 million points in 10,000 runs under 12,000 keys takes and how fast it answers, as JSON:
//! `scale WORKSPACE`.

use assay_domain::{Point, Timestamp};
use assay_engine::{Batch, ClientRun, Engine, Options, Work};
use assay_protocol::{RunsQuery, SeriesQuery};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RUNS: usize = 10_000;
const SERIES: usize = 10;
const POINTS: i64 = 1_000;
const KEYS: usize = 12_000;
/// How often each question is asked; the median counts.
const TIMES: usize = 9;

fn open(root: &Path) -> Result<Arc<Engine>, Box<dyn Error>> {
    let next = AtomicU64::new(0);
    Ok(Engine::open(Options {
        root: root.to_owned(),
        clock: Arc::new(|| Timestamp(0)),
        uid: Arc::new(move || format!("{:032x}", next.fetch_add(1, Ordering::Relaxed))),
        command: Vec::new(),
        work: Work::Own,
    })?)
}

fn fill(engine: &Engine) -> Result<(), Box<dyn Error>> {
    let experiment = engine.create_experiment("scale".into(), None, BTreeMap::new())?;
    let mut noise = 1_u64;
    for number in 0..RUNS {
        let run = engine.create_client_run(ClientRun {
            uid: String::new(),
            experiment,
            name: format!("run {number}"),
            client: "bench".into(),
            user: None,
            started: None,
            tags: BTreeMap::new(),
        })?;
        for series in 0..SERIES {
            let key = format!("metric/{}", (number * SERIES + series) % KEYS);
            let points = (0..POINTS).map(|step| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let jitter = (noise >> 40) as f32 / (1 << 24) as f32;
                let value = f64::from(2.0 / (1.0 + step as f32 / 200.0) + 0.1 * (jitter - 0.5));
                (key.clone(), Point { step, wall_ms: 1_700_000_000_000 + 17 * step, value })
            });
            engine.log_batch(run.id, Batch { points: points.collect(), ..Batch::default() })?;
        }
    }
    Ok(())
}

fn median_ms<T>(mut ask: impl FnMut() -> assay_engine::Result<T>) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let begun = Instant::now();
        ask()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[TIMES / 2])
}

fn bytes(folder: &Path) -> std::io::Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        total += if entry.file_type()?.is_dir() { bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(total)
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args().skip(1).find(|argument| argument != "--bench").ok_or("usage: scale WORKSPACE")?;
    let root = Path::new(&root);
    let engine = open(root)?;
    let begun = Instant::now();
    fill(&engine)?;
    let points = (RUNS * SERIES) as f64 * POINTS as f64;
    let rate = points / begun.elapsed().as_secs_f64();
    engine.close();
    drop(engine);
    let begun = Instant::now();
    let engine = open(root)?;
    let opened = begun.elapsed().as_secs_f64() * 1e3;
    let page = |filter: &str, sort: Option<&str>| {
        let query = RunsQuery { filter: filter.into(), sort: sort.map(str::to_owned), ..RunsQuery::default() };
        engine.runs(&query)
    };
    let run = page("", None)?.runs[RUNS.min(200) / 2].clone();
    let key = run.metrics.keys().next().ok_or("a run without metrics")?.clone();
    let series =
        SeriesQuery { runs: run.id.to_string(), key: key.clone(), buckets: Some(1000), ..SeriesQuery::default() };
    let figures = [
        ("points", points),
        ("points/s", rate),
        ("bytes a point", bytes(root)? as f64 / points),
        ("open ms", opened),
        ("runs table ms", median_ms(|| page("", None))?),
        ("runs of a metric ms", median_ms(|| page(&format!("{key}>0"), Some(&format!("-{key}"))))?),
        ("one run ms", median_ms(|| engine.run_detail(run.id))?),
        ("chart ms", median_ms(|| engine.series(&series))?),
    ];
    let figures: Vec<String> = figures.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    println!("{{{}}}", figures.join(","));
    engine.close();
    Ok(())
}
