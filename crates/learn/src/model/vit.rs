//! The vision transformer (Dosovitskiy et al. 2021) with timm's names.

use crate::inference::{Inference, Slot};
use crate::layers::{Bias, Conv, DEVIATION, LayerNorm, Linear, Mode, TransformerBlock};
use crate::model::Network;
use crate::parameters::{Begin, Parameters};
use crate::tape::{Tape, Value};
use crate::{LearnError, Result};
use assay_kernels::Activation;
use candle_core::{Tensor, Var};

/// The side of a patch, in pixels.
const PATCH: usize = 16;
const BLOCKS: usize = 12;
/// Values of a head.
const HEAD: usize = 64;

pub(crate) struct Vit {
    patch_embed: (Conv, Bias),
    cls_token: Var,
    pos_embed: Var,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
    head: Linear,
}

impl Vit {
    /// `width` is 192 for the tiny and 384 for the small one.
    pub(super) fn new(p: &mut Parameters, width: usize, size: usize, classes: usize) -> Result<Vit> {
        if !size.is_multiple_of(PATCH) || size == 0 {
            return Err(LearnError::Data(format!(
                "a vision transformer cuts images into patches of {PATCH} pixels; set data.image_size to a multiple of {PATCH}, not {size}"
            )));
        }
        if !width.is_multiple_of(HEAD) {
            return Err(LearnError::Data(format!(
                "the heads of a vision transformer have {HEAD} values each; set model.width to a multiple of {HEAD}, not {width}"
            )));
        }
        let tokens = (size / PATCH).pow(2) + 1;
        let patch_embed = Conv::patches(p, "patch_embed.proj", (3, width), PATCH)?;
        let cls_token = p.learned("cls_token", &[1, 1, width], Begin::Normal(1e-6))?;
        let pos_embed = p.learned("pos_embed", &[1, tokens, width], Begin::Normal(0.02))?;
        let mut blocks = Vec::new();
        for number in 0..BLOCKS {
            p.begin_group(number + 1);
            blocks.push(TransformerBlock::new(p, &format!("blocks.{number}"), width, width / HEAD)?);
        }
        let norm = LayerNorm::new(p, "norm", width)?;
        p.begin_group(BLOCKS + 1);
        let head = Linear::normal(p, "head", (width, classes), DEVIATION)?;
        Ok(Vit { patch_embed, cls_token, pos_embed, blocks, norm, head })
    }

    /// Patches (batch, rows, columns, width) as tokens (batch, 1 + patches, width): the class token first, and to each
    /// where it lies.
    fn tokens(&self, tape: &mut Tape, patches: &Value) -> Result<Value> {
        let (batch, rows, columns, width) = patches.tensor.dims4()?;
        let dtype = patches.tensor.dtype();
        let class = self.cls_token.as_tensor().detach().to_dtype(dtype)?.broadcast_as((batch, 1, width))?;
        let tokens = Tensor::cat(&[&class.contiguous()?, &patches.tensor.reshape((batch, rows * columns, width))?], 1)?;
        tape.enter("pos_embed", "tokens");
        let tokens = tokens.broadcast_add(&self.pos_embed.as_tensor().detach().to_dtype(dtype)?)?;
        let (class, place, of) = (self.cls_token.clone(), self.pos_embed.clone(), patches.place);
        tape.push(tokens, move |grad, gradients| {
            let of_places = grad.sum_keepdim(0)?.to_dtype(place.dtype())?;
            gradients.add_to(&class, of_places.narrow(1, 0, 1)?.contiguous()?)?;
            gradients.add_to(&place, of_places)?;
            let of_patches = grad.narrow(1, 1, rows * columns)?.contiguous()?;
            gradients.add(of, of_patches.reshape((batch, rows, columns, width))?)
        })
    }
}

impl Network for Vit {
    fn groups(&self) -> usize {
        1 + BLOCKS
    }

    fn group(&self, number: usize, tape: &mut Tape, input: &Value, _mode: Mode) -> Result<Value> {
        if number == 0 {
            let (conv, bias) = &self.patch_embed;
            let x = conv.forward(tape, input)?;
            let x = bias.forward(tape, &x, Activation::None)?;
            return self.tokens(tape, &x);
        }
        let x = self.blocks[number - 1].forward(tape, input)?;
        if number < BLOCKS {
            return Ok(x);
        }
        let x = class_token(tape, &x)?;
        self.norm.forward(tape, &x)
    }

    fn inference(&self, plan: &mut Inference) -> Result<Slot> {
        let (conv, bias) = &self.patch_embed;
        let x = plan.conv_bias((conv, bias), Inference::INPUT, Activation::None)?;
        let mut x = plan.tokens(x, self.cls_token.as_tensor().detach(), self.pos_embed.as_tensor().detach());
        for block in &self.blocks {
            x = block.inference(plan, x)?;
        }
        let x = plan.first_token(x);
        Ok(self.norm.inference(plan, x))
    }

    fn head(&self) -> &Linear {
        &self.head
    }
}

/// The first token of each image; the last normalisation needs no others.
fn class_token(tape: &mut Tape, tokens: &Value) -> Result<Value> {
    tape.enter("cls_token", "select");
    let (_, count, _) = tokens.tensor.dims3()?;
    let of = tokens.place;
    tape.push(tokens.tensor.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?, move |grad, gradients| {
        gradients.add(of, grad.unsqueeze(1)?.pad_with_zeros(1, 0, count - 1)?)
    })
}
