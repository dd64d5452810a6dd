//! Times predictions of a model with its first weights and prints them as JSON: `infer WARMUP REPEATS BATCH key=value...`.
//! The bench commands of the project call it beside a peer.

use assay_learn::{Classifier, Config, DeviceChoice};
use std::error::Error;
use std::time::Instant;

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [warmup, repeats, batch, overrides @ ..] = arguments.as_slice() else {
        return Err("usage: infer WARMUP REPEATS BATCH key=value...".into());
    };
    let (warmup, repeats, batch): (usize, usize, usize) = (warmup.parse()?, repeats.parse()?, batch.parse()?);
    let config = Config::resolve("", overrides)?;
    let device = DeviceChoice::from(config.device).open()?;
    let classifier = Classifier::untrained(&config, 1000, &device)?;
    let pixels: Vec<u8> =
        (0..batch * classifier.image_size().pow(2) * 3).map(|index| ((index * 2_654_435_761) >> 7) as u8).collect();
    let mut millis = Vec::new();
    for _ in 0..warmup + repeats {
        let begun = Instant::now();
        let found = classifier.predict_all(&pixels)?;
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
        assert_eq!(found.len(), batch);
    }
    let mut millis = millis.split_off(warmup);
    millis.sort_by(f64::total_cmp);
    println!("{{\"total\":{}}}", millis[millis.len() / 2]);
    Ok(())
}
