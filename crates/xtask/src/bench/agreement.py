"""Computes operations again in f64: agreement.py FILE.npz, a JSON line for each case on the standard input.

Prints the greatest distance of any value, as a share of the greatest value of its tensor, for each operation.
"""

import json
import sys

import numpy
import torch
import torch.nn.functional as F

tensors = numpy.load(sys.argv[1])


def first(images):
    """(batch, height, width, channels) to (batch, channels, height, width)."""
    return images.permute(0, 3, 1, 2)


def last(images):
    return images.permute(0, 2, 3, 1)


def conv2d(o, x, kernel):
    return last(F.conv2d(first(x), kernel, None, o["stride"], o["padding"], o["dilation"], o["groups"]))


def batch_norm(o, x, weight, bias, added, mean, variance):
    train = o["moments"] == "batch"
    x = last(F.batch_norm(first(x), mean.detach().clone(), variance.detach().clone(), weight, bias, train, 0.1, 1e-5))
    x = x + added if o["adds"] else x
    return {"none": lambda x: x, "relu": F.relu, "hardswish": F.hardswish, "silu": F.silu}[o["activation"]](x)


def attention(o, qkv):
    batch, tokens, width = qkv.shape
    q, k, v = qkv.reshape(batch, tokens, 3, o["heads"], -1).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width // 3)


def lstm(o, projected, weight):
    batch, _, hidden = *projected.shape[:2], weight.shape[1]
    zeros = torch.zeros(1, batch, hidden, dtype=torch.float64)
    weights = [torch.eye(4 * hidden, dtype=torch.float64), weight]
    return torch.lstm(projected, (zeros, zeros), weights, False, 1, 0.0, True, False, True)[0]


def steps(optimizer):
    """The parameter after three steps with the gradient."""
    def run(o, parameter):
        parameter = torch.nn.Parameter(parameter.detach().clone())
        optimizer_of_it = optimizer(o, [parameter])
        for _ in range(3):
            parameter.grad = grad
            optimizer_of_it.step()
        return parameter.detach()
    return run


OPERATIONS = {
    "conv2d": conv2d,
    "batch_norm": batch_norm,
    "layer_norm": lambda o, x, weight, bias: F.layer_norm(x, x.shape[-1:], weight, bias, 1e-6),
    "max_pool2d": lambda o, x: last(F.max_pool2d(first(x), o["kernel"], o["stride"], o["padding"])),
    "mean_of_pixels": lambda o, x: x.mean((1, 2)),
    "gate": lambda o, x, logits: x * getattr(F, o["kind"])(logits)[:, None, None],
    "linear": lambda o, x, weight: F.linear(x, weight),
    "add_bias": lambda o, x, bias: F.relu(x + bias) if o["activation"] == "relu" else x + bias,
    "add_bias_gelu": lambda o, x, bias: F.gelu(x + bias),
    "activate": lambda o, x: getattr(F, o["activation"])(x),
    "attention": attention,
    "cross_entropy": lambda o, x, labels: F.cross_entropy(
        x, labels.long(), reduction="none", label_smoothing=o["smoothing"]),
    "lstm": lstm,
    "embedding": lambda o, table, numbers: F.embedding(numbers.long(), table),
    "adamw": steps(lambda o, p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.05)),
    "sgd": steps(lambda o, p: torch.optim.SGD(
        p, lr=1e-2, momentum=o["momentum"], nesterov=o["nesterov"], weight_decay=0.05)),
}


def distance(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float(abs(ours - theirs).max() / max(1.0, abs(theirs).max()))


found = {}
for number, line in enumerate(sys.stdin):
    case = json.loads(line)
    names = [f"{number}.input.{index}" for index in range(9) if f"{number}.input.{index}" in tensors]
    inputs = [torch.from_numpy(tensors[name]).double().requires_grad_() for name in names]
    grad = torch.from_numpy(tensors[f"{number}.grad"]).double()
    output = OPERATIONS[case["operation"]](case["options"], *inputs)
    distances = [distance(tensors[f"{number}.output"], output)]
    wanted = [index for index in range(9) if f"{number}.gradient.{index}" in tensors]
    if wanted:
        gradients = torch.autograd.grad(output, [inputs[index] for index in wanted], grad)
        distances += [distance(tensors[f"{number}.gradient.{index}"], of) for index, of in zip(wanted, gradients)]
    count, worst = found.get(case["operation"], (0, 0.0))
    found[case["operation"]] = (count + 1, max(worst, *distances))
rows = [{"operation": name, "cases": count, "distance": worst} for name, (count, worst) in found.items()]
print(json.dumps({"rows": rows, "version": "PyTorch " + torch.__version__}))
