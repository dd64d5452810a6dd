//! Times how training images are loaded and prints it as JSON: `loader WORKSPACE DATASET EPOCHS key=value...`. The bench
//! commands of the project call it beside a peer.

use assay_domain::Timestamp;
use assay_engine::{Engine, Options, Work};
use std::error::Error;
use std::sync::Arc;

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [workspace, dataset, epochs, overrides @ ..] = arguments.as_slice() else {
        return Err("usage: loader WORKSPACE DATASET EPOCHS key=value...".into());
    };
    let engine = Engine::open(Options {
        root: workspace.into(),
        clock: Arc::new(|| Timestamp(0)),
        uid: Arc::new(String::new),
        command: Vec::new(),
        work: Work::Own,
    })?;
    let dataset = engine.find_dataset(dataset)?;
    let (images, times) = engine.measure_loading(dataset, overrides, epochs.parse()?)?;
    engine.close();
    let rates: Vec<String> = times.iter().map(|time| (images as f64 / time.as_secs_f64()).to_string()).collect();
    println!("{{\"images_per_s\":[{}]}}", rates.join(","));
    Ok(())
}
