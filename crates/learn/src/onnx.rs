//! A model as an ONNX file: the plan by which it infers, with images as ONNX has them, (batch, channels, height, width).

mod proto;

use crate::inference::{Convolution, Inference, Slot, Step};
use crate::{LearnError, Result};
use assay_kernels::{Activation, GateKind, PreparedConv2d};
use candle_core::Tensor;
use prost::Message;
use proto::{
    Attribute, Constant, Dim, Entry, GraphMessage, Model, Node, OperatorSet, Shape, TensorType, Type, ValueInfo,
};

/// The version of the file format and of the operators.
const IR: i64 = 8;
const OPSET: i64 = 17;
/// The names of what goes in and comes out.
const INPUT: &str = "images";
const OUTPUT: &str = "logits";

/// What goes with a model besides its plan.
pub(crate) struct Besides<'a> {
    /// The side of the square input, in pixels.
    pub(crate) size: usize,
    /// What is subtracted from each channel of values in 0..=1, and what it is then divided by.
    pub(crate) mean: [f32; 3],
    pub(crate) std: [f32; 3],
    /// The names of the classes.
    pub(crate) classes: &'a [String],
}

/// The file: it takes RGB values in 0..=1, (batch, 3, size, size), and gives logits, (batch, classes).
pub(crate) fn file(plan: &Inference, besides: &Besides<'_>) -> Result<Vec<u8>> {
    let mut graph = Graph::default();
    let mean = graph.floats(besides.mean.to_vec(), &[1, 3, 1, 1]);
    let std = graph.floats(besides.std.to_vec(), &[1, 3, 1, 1]);
    let centred = graph.node("Sub", &[INPUT, &mean], []);
    let mut names = vec![graph.node("Div", &[&centred, &std], [])];
    for step in plan.steps() {
        let name = graph.step(step, &names)?;
        names.push(name);
    }
    let last = names.last().cloned().unwrap_or_default();
    graph.message.nodes.push(Node {
        inputs: vec![last],
        outputs: vec![OUTPUT.into()],
        operator: "Flatten".into(),
        attributes: vec![int("axis", 1)],
    });
    let size = besides.size as i64;
    graph.message.name = "classifier".into();
    graph.message.inputs = vec![value(INPUT, &[3, size, size])];
    graph.message.outputs = vec![value(OUTPUT, &[besides.classes.len() as i64])];
    let entry = |key: &str, value: String| Entry { key: key.into(), value };
    let model = Model {
        ir_version: IR,
        producer_name: "assay".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph.message),
        opset_import: vec![OperatorSet { version: OPSET }],
        metadata: vec![
            entry("classes", besides.classes.join("\n")),
            entry("input", "RGB values from 0 to 1; normalisation is part of the model".into()),
        ],
    };
    Ok(model.encode_to_vec())
}

/// f32 with an open number of samples.
fn value(name: &str, sizes: &[i64]) -> ValueInfo {
    let batch = Dim { value: None, name: Some("batch".into()) };
    let sizes = sizes.iter().map(|size| Dim { value: Some(*size), name: None });
    let shape = Some(Shape { dims: std::iter::once(batch).chain(sizes).collect() });
    ValueInfo { name: name.into(), of: Some(Type { tensor: Some(TensorType { element: 1, shape }) }) }
}

fn int(name: &str, value: i64) -> Attribute {
    Attribute { name: name.into(), int: Some(value), kind: 2, ..Attribute::default() }
}

fn float(name: &str, value: f32) -> Attribute {
    Attribute { name: name.into(), float: Some(value), kind: 1, ..Attribute::default() }
}

fn ints(name: &str, values: &[usize]) -> Attribute {
    let ints = values.iter().map(|value| *value as i64).collect();
    Attribute { name: name.into(), ints, kind: 7, ..Attribute::default() }
}

/// A graph that is being written.
#[derive(Default)]
struct Graph {
    message: GraphMessage,
    count: usize,
}

impl Graph {
    fn name(&mut self) -> String {
        self.count += 1;
        format!("t{}", self.count)
    }

    fn floats(&mut self, values: Vec<f32>, dims: &[usize]) -> String {
        self.constant(1, values.iter().flat_map(|value| value.to_le_bytes()).collect(), dims)
    }

    fn numbers(&mut self, values: &[i64]) -> String {
        self.constant(7, values.iter().flat_map(|value| value.to_le_bytes()).collect(), &[values.len()])
    }

    fn tensor(&mut self, tensor: &Tensor, dims: &[usize]) -> Result<String> {
        Ok(self.floats(tensor.flatten_all()?.to_vec1::<f32>()?, dims))
    }

    fn constant(&mut self, data_type: i32, raw: Vec<u8>, dims: &[usize]) -> String {
        let name = self.name();
        let dims = dims.iter().map(|dim| *dim as i64).collect();
        self.message.constants.push(Constant { dims, data_type, name: name.clone(), raw });
        name
    }

    /// An operation; the name of what it gives.
    fn node<const N: usize>(&mut self, operator: &str, inputs: &[&str], attributes: [Attribute; N]) -> String {
        let name = self.name();
        self.message.nodes.push(Node {
            inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
            outputs: vec![name.clone()],
            operator: operator.into(),
            attributes: attributes.into(),
        });
        name
    }

    /// The values in another shape; 0 keeps a size, -1 takes what is left.
    fn reshaped(&mut self, input: &str, shape: &[i64]) -> String {
        let shape = self.numbers(shape);
        self.node("Reshape", &[input, &shape], [])
    }

    /// A step of the plan; `names` are those of the slots before it.
    fn step(&mut self, step: &Step, names: &[String]) -> Result<String> {
        let of = |slot: &Slot| names[slot.number()].as_str();
        match step {
            Step::Conv { convolution, from, added, activation } => {
                let Convolution::Full(convolution) = convolution.as_ref() else {
                    return Err(LearnError::Data("a model with weights of eight bits is not written as ONNX".into()));
                };
                let output = self.convolution(convolution, of(from));
                let output = match added {
                    Some(added) => self.node("Add", &[&output, of(added)], []),
                    None => output,
                };
                Ok(self.activation(output, *activation))
            }
            Step::MaxPool { from, sizes: (kernel, stride, padding) } => Ok(self.node(
                "MaxPool",
                &[of(from)],
                [ints("kernel_shape", &[*kernel; 2]), ints("strides", &[*stride; 2]), ints("pads", &[*padding; 4])],
            )),
            Step::MeanOfPixels { from } => Ok(self.node("GlobalAveragePool", &[of(from)], [])),
            Step::Flatten { from } => Ok(self.reshaped(of(from), &[0, -1, 1, 1])),
            Step::Gate { from, logits, kind } => {
                let share = match kind {
                    GateKind::Sigmoid => self.node("Sigmoid", &[of(logits)], []),
                    GateKind::HardSigmoid => {
                        self.node("HardSigmoid", &[of(logits)], [float("alpha", 1.0 / 6.0), float("beta", 0.5)])
                    }
                };
                Ok(self.node("Mul", &[of(from), &share], []))
            }
            Step::LayerNorm { from, weight, bias, epsilon } => {
                let channels = weight.elem_count();
                let (weight, bias) = (self.tensor(weight, &[channels])?, self.tensor(bias, &[channels])?);
                let last = self.node("Transpose", &[of(from)], [ints("perm", &[0, 2, 3, 1])]);
                let attributes = [int("axis", -1), float("epsilon", *epsilon as f32)];
                let normal = self.node("LayerNormalization", &[&last, &weight, &bias], attributes);
                Ok(self.node("Transpose", &[&normal], [ints("perm", &[0, 3, 1, 2])]))
            }
            Step::Tokens { from, class, places } => self.tokens(of(from), class, places),
            Step::Attention { from, heads, dim } => Ok(self.attention(of(from), *heads, *dim)),
            Step::FirstToken { from } => {
                let [start, end, axis] = [0, 1, 2].map(|number| self.numbers(&[number]));
                Ok(self.node("Slice", &[of(from), &start, &end, &axis], []))
            }
        }
    }

    fn convolution(&mut self, convolution: &PreparedConv2d, from: &str) -> String {
        let (kernel, shape) = convolution.kernel();
        let kernel = self.floats(kernel.to_vec(), &shape);
        let bias = self.floats(convolution.bias().to_vec(), &[shape[0]]);
        let options = convolution.options();
        let ((rows, columns), (top, left)) = (options.stride, options.padding);
        let attributes = [
            ints("kernel_shape", &shape[2..]),
            ints("strides", &[rows, columns]),
            ints("pads", &[top, left, top, left]),
            ints("dilations", &[options.dilation.0, options.dilation.1]),
            int("group", options.groups as i64),
        ];
        self.node("Conv", &[from, &kernel, &bias], attributes)
    }

    fn activation(&mut self, input: String, activation: Activation) -> String {
        match activation {
            Activation::None => input,
            Activation::Relu => self.node("Relu", &[&input], []),
            Activation::HardSwish => self.node("HardSwish", &[&input], []),
            Activation::Silu => {
                let share = self.node("Sigmoid", &[&input], []);
                self.node("Mul", &[&input, &share], [])
            }
            Activation::Gelu => {
                let [root, one, half] =
                    [std::f32::consts::FRAC_1_SQRT_2, 1.0, 0.5].map(|number| self.floats(vec![number], &[]));
                let scaled = self.node("Mul", &[&input, &root], []);
                let erf = self.node("Erf", &[&scaled], []);
                let twice = self.node("Add", &[&erf, &one], []);
                let share = self.node("Mul", &[&twice, &half], []);
                self.node("Mul", &[&input, &share], [])
            }
        }
    }

    /// (batch, channels, height, width) to (batch, channels, 1 + pixels, 1).
    fn tokens(&mut self, from: &str, class: &Tensor, places: &Tensor) -> Result<String> {
        let (_, count, channels) = places.dims3()?;
        let pixels = self.reshaped(from, &[0, channels as i64, -1]);
        let class = self.tensor(class, &[1, channels, 1])?;
        let shape = self.node("Shape", &[&pixels], []);
        let [zero, one] = [0, 1].map(|number| self.numbers(&[number]));
        let batch = self.node("Slice", &[&shape, &zero, &one], []);
        let rest = self.numbers(&[channels as i64, 1]);
        let shape = self.node("Concat", &[&batch, &rest], [int("axis", 0)]);
        let class = self.node("Expand", &[&class, &shape], []);
        let tokens = self.node("Concat", &[&class, &pixels], [int("axis", 2)]);
        let places = self.tensor(&places.transpose(1, 2)?.contiguous()?, &[1, channels, count])?;
        let placed = self.node("Add", &[&tokens, &places], []);
        Ok(self.reshaped(&placed, &[0, channels as i64, count as i64, 1]))
    }

    /// Of queries, keys and values, (batch, 3 heads dim, tokens, 1), to (batch, heads dim, tokens, 1).
    fn attention(&mut self, from: &str, heads: usize, dim: usize) -> String {
        let all = self.reshaped(from, &[0, 3, heads as i64, dim as i64, -1]);
        let [queries, keys, values] = [0i64, 1, 2].map(|part| {
            let part = self.constant(7, part.to_le_bytes().to_vec(), &[]);
            self.node("Gather", &[&all, &part], [int("axis", 1)])
        });
        let transposed = || [ints("perm", &[0, 1, 3, 2])];
        let queries = self.node("Transpose", &[&queries], transposed());
        let scale = self.floats(vec![1.0 / (dim as f32).sqrt()], &[]);
        let queries = self.node("Mul", &[&queries, &scale], []);
        let scores = self.node("MatMul", &[&queries, &keys], []);
        let shares = self.node("Softmax", &[&scores], [int("axis", -1)]);
        let shares = self.node("Transpose", &[&shares], transposed());
        let seen = self.node("MatMul", &[&values, &shares], []);
        self.reshaped(&seen, &[0, (heads * dim) as i64, -1, 1])
    }
}
