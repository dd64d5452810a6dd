//! What a model makes of given weights and images, for a peer to compare: `models NAME SIZE CLASSES FOLDER` reads
//! NAME.safetensors and NAME.input.safetensors in the folder and writes NAME.ours.safetensors.

use assay_learn::{Classifier, Config, Device, Weights, outputs_and_gradients};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [name, size, classes, folder] = arguments.as_slice() else {
        return Err("usage: models NAME SIZE CLASSES FOLDER".into());
    };
    let file = |kind: &str| format!("{folder}/{name}{kind}.safetensors");
    let config = Config::resolve("", &[format!("model.name={name}"), format!("data.image_size={size}")])?;
    let weights = Weights { from: file(""), file: std::fs::read(file(""))? };
    let input = std::fs::read(file(".input"))?;
    let input = safetensors::SafeTensors::deserialize(&input)?;
    let images: Vec<f32> =
        input.tensor("images")?.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let labels: Vec<u32> =
        input.tensor("labels")?.data().as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
    let mean_of_one = Config {
        data: assay_learn::config::Data { mean: [0.0; 3], std: [1.0; 3], ..config.data.clone() },
        ..config.clone()
    };
    let count: usize = classes.parse()?;
    let classifier = Classifier::load(&mean_of_one, count, &weights.file, &Device::Cpu);
    let names: Vec<String> = (0..count).map(|class| class.to_string()).collect();
    std::fs::write(format!("{folder}/{name}.onnx"), classifier?.to_onnx(&names)?)?;
    std::fs::write(file(".ours"), outputs_and_gradients(&config, count, &weights, &images, &labels)?)?;
    Ok(())
}
