//! Gradients on devices for which an operation has no code of its own yet: candle differentiates its own operations.

use candle_core::{Result, Tensor, Var};

/// The gradients of `inputs` through `forward` for the gradient `grad` of what comes out.
pub(crate) fn gradients<const N: usize>(
    inputs: [&Tensor; N],
    grad: &Tensor,
    forward: impl FnOnce([&Tensor; N]) -> Result<Tensor>,
) -> Result<[Tensor; N]> {
    let vars = inputs.iter().map(|input| Var::from_tensor(&input.detach())).collect::<Result<Vec<_>>>()?;
    let output = forward(std::array::from_fn(|index| vars[index].as_tensor()))?;
    let grads = (output * grad)?.sum_all()?.backward()?;
    let mut found = Vec::with_capacity(N);
    for (var, input) in vars.iter().zip(inputs) {
        found.push(match grads.get(var) {
            Some(grad) => grad.clone(),
            None => input.zeros_like()?,
        });
    }
    Ok(found.try_into().expect("BUG: as many gradients as inputs"))
}
