//! The batches since the last report.

use crate::Result;
use crate::loader::Loader;
use crate::train::Sink;
use candle_core::Tensor;
use std::time::Instant;

/// What one batch gave, still on the device.
pub(crate) struct Seen {
    pub(crate) loss: Tensor,
    pub(crate) right: Tensor,
    pub(crate) count: usize,
    /// The norm of the gradients before they were clipped.
    pub(crate) norm: Option<Tensor>,
}

/// What was seen since the last report.
pub(crate) struct Window {
    seen: Vec<Seen>,
    begun: Instant,
    waited_before: f64,
}

impl Window {
    pub(crate) fn new() -> Window {
        Window { seen: Vec::new(), begun: Instant::now(), waited_before: 0.0 }
    }

    pub(crate) fn add(&mut self, seen: Seen) {
        self.seen.push(seen);
    }

    /// Mean loss and accuracy: the one place where the host waits for the device.
    fn read(&self) -> Result<(f64, f64)> {
        let column = |of: fn(&Seen) -> &Tensor| -> Result<Vec<f32>> {
            let scalars = self.seen.iter().map(of).collect::<Vec<_>>();
            Ok(Tensor::stack(&scalars, 0)?.to_vec1::<f32>()?)
        };
        let total: usize = self.seen.iter().map(|seen| seen.count).sum();
        let weighted = column(|seen| &seen.loss)?.into_iter().zip(&self.seen);
        let loss: f64 = weighted.map(|(loss, seen)| f64::from(loss) * seen.count as f64).sum();
        let right: f64 = column(|seen| &seen.right)?.into_iter().map(f64::from).sum();
        Ok((loss / total as f64, right / total as f64))
    }

    /// Tells what was seen and begins anew; returns the mean loss.
    pub(crate) fn report(
        &mut self,
        sink: &mut dyn Sink,
        step: u64,
        learning_rate: f64,
        loader: &Loader,
    ) -> Result<f64> {
        let (loss, accuracy) = self.read()?;
        let elapsed = self.begun.elapsed().as_secs_f64().max(1e-9);
        let images: usize = self.seen.iter().map(|seen| seen.count).sum();
        let waited = loader.waited().as_secs_f64();
        let mut values = vec![
            ("train/loss", loss),
            ("train/accuracy", accuracy),
            ("lr", learning_rate),
            ("system/images_per_s", images as f64 / elapsed),
            ("system/loader_wait", ((waited - self.waited_before) / elapsed).clamp(0.0, 1.0)),
        ];
        if let Some(norm) = self.seen.iter().rev().find_map(|seen| seen.norm.as_ref()) {
            values.push(("train/grad_norm", f64::from(norm.to_scalar::<f32>()?)));
        }
        sink.metrics(step, &values);
        *self = Window { waited_before: waited, ..Window::new() };
        Ok(loss)
    }
}
