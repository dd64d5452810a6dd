//! Times how a program that holds the engine logs a noisy loss, a point at a time, and prints it as JSON: `ingest WORKSPACE
//! POINTS`. The points are on disk in batches of a thousand, the last of them when the clock stops.

use assay_domain::{Point, Timestamp};
use assay_engine::{Batch, ClientRun, Engine, Options, Work};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [workspace, points] = arguments.as_slice() else { return Err("usage: ingest WORKSPACE POINTS".into()) };
    let points: i64 = points.parse()?;
    let engine = Engine::open(Options {
        root: workspace.into(),
        clock: Arc::new(|| Timestamp(0)),
        uid: Arc::new(|| "0123456789abcdef0123456789abcdef".into()),
        command: Vec::new(),
        work: Work::Own,
    })?;
    let experiment = engine.create_experiment("ingest".into(), None, BTreeMap::new())?;
    let run = engine.create_client_run(ClientRun {
        uid: String::new(),
        experiment,
        name: "loss".into(),
        client: "bench".into(),
        user: None,
        started: None,
        tags: BTreeMap::new(),
    })?;
    let begun = Instant::now();
    let mut waiting = Vec::with_capacity(BATCH);
    let mut noise = 1_u64;
    for step in 0..points {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let jitter = (noise >> 40) as f32 / (1 << 24) as f32;
        let value = f64::from(2.0 / (1.0 + step as f32 / 5_000.0) + 0.1 * (jitter - 0.5));
        waiting.push(("loss".to_owned(), Point { step, wall_ms: 1_700_000_000_000 + 17 * step, value }));
        if waiting.len() == BATCH || step + 1 == points {
            let batch = Batch { points: std::mem::take(&mut waiting), ..Batch::default() };
            engine.log_batch(run.id, batch)?;
            waiting.reserve(BATCH);
        }
    }
    let rate = points as f64 / begun.elapsed().as_secs_f64();
    engine.close();
    println!("{{\"points_per_s\":{rate}}}");
    Ok(())
}
