//! Dropout.

use super::Mode;
use crate::Result;
use crate::random::{self, Purpose, uniform};
use crate::tape::{Tape, Value};
use candle_core::Tensor;

/// In training, takes away a share of all values, others each time, and makes the rest greater by as much (Srivastava et
/// al. 2014). A model has at most one, since its random numbers are those of the step.
pub(crate) fn dropout(tape: &mut Tape, input: &Value, mode: Mode, share: f64) -> Result<Value> {
    let Mode::Train { seed, step } = mode else { return Ok(input.clone()) };
    tape.enter("dropout", "dropout");
    let mut random = random::stream(seed, Purpose::Dropout { step });
    let kept = (1.0 / (1.0 - share)) as f32;
    let factors: Vec<f32> =
        (0..input.tensor.elem_count()).map(|_| if uniform(&mut random) < share { 0.0 } else { kept }).collect();
    let factors = Tensor::from_vec(factors, input.tensor.shape(), input.tensor.device())?;
    let factors = factors.to_dtype(input.tensor.dtype())?;
    let place = input.place;
    tape.push((&input.tensor * &factors)?, move |grad, gradients| gradients.add(place, (grad * &factors)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn it_takes_its_share_by_the_step_and_nothing_when_inferring() {
        let input = Value::input(Tensor::ones((100, 100), candle_core::DType::F32, &Device::Cpu).unwrap());
        let values = |mode: Mode| -> Vec<f32> {
            let output = dropout(&mut Tape::silent(), &input, mode, 0.2).unwrap().tensor;
            output.flatten_all().unwrap().to_vec1().unwrap()
        };
        let first = values(Mode::Train { seed: 1, step: 1 });
        let gone = first.iter().filter(|value| **value == 0.0).count();
        assert!((1800..2200).contains(&gone), "{gone}");
        assert!(first.iter().all(|value| *value == 0.0 || *value == 1.25));
        assert_eq!(values(Mode::Train { seed: 1, step: 1 }), first);
        assert_ne!(values(Mode::Train { seed: 1, step: 2 }), first);
        assert_eq!(values(Mode::Infer), [1.0; 10_000]);
    }
}
