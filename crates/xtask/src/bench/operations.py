"""Times the operations that are named on the standard input, a JSON object a line, with PyTorch: operations.py THREADS.

Prints the least time of some repeats in ms, a line each.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]))


def images(o, channels):
    return torch.randn(o["batch"], channels, o["side"], o["side"])


def convolution(o):
    x, weight = images(o, o["from"]), torch.randn(o["to"], o["from"] // o["groups"], o["kernel"], o["kernel"])
    return lambda x, weight: F.conv2d(x, weight, None, o["stride"], o["padding"], 1, o["groups"]), (x, weight)


def batch_norm(o):
    ones = torch.ones(o["channels"])
    return lambda x, w, b: F.relu(F.batch_norm(x, None, None, w, b, True)), (images(o, o["channels"]), ones, ones.clone())


def rows(o):
    return torch.randn(o["rows"], o["channels"]), torch.randn(o["channels"])


def attention(o):
    width = o["heads"] * o["dim"]

    def run(qkv):
        q, k, v = qkv.reshape(o["batch"], o["tokens"], 3, o["heads"], o["dim"]).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(o["batch"], o["tokens"], width)
    return run, (torch.randn(o["batch"], o["tokens"], 3 * width),)


def lstm(o):
    """With a product of the inputs of the size of the hidden state, which ours does not count."""
    layer = torch.nn.LSTM(o["hidden"], o["hidden"], batch_first=True)
    return lambda x, *_: layer(x)[0], (torch.randn(o["batch"], o["length"], o["hidden"]), *layer.parameters())


OPERATIONS = {
    "convolution": convolution,
    "depthwise convolution": convolution,
    "product": lambda o: (F.linear, (torch.randn(o["rows"], o["from"]), torch.randn(o["to"], o["from"]))),
    "batch norm and ReLU": batch_norm,
    "max pool": lambda o: (lambda x: F.max_pool2d(x, 2), (images(o, o["channels"]),)),
    "layer norm": lambda o: (lambda x, w: F.layer_norm(x, x.shape[-1:], w, w, 1e-6), rows(o)),
    "bias and GELU": lambda o: (lambda x, b: F.gelu(x + b), rows(o)),
    "attention": attention,
    "LSTM": lstm,
}


def least(work, prepare=lambda: ()):
    times, begun = [], time.perf_counter()
    while len(times) < 50 and (len(times) < 3 or time.perf_counter() - begun < 0.5):
        given = prepare()
        start = time.perf_counter()
        work(*given)
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


for line in sys.stdin:
    case = json.loads(line)
    run, inputs = OPERATIONS[case["operation"]](case["sizes"])
    inputs = [value.requires_grad_() for value in inputs]
    grad = torch.randn_like(run(*inputs))
    if case["part"] == "forward":
        millis = least(lambda: run(*inputs))
    else:
        millis = least(lambda output: torch.autograd.grad(output, inputs, grad), lambda: (run(*inputs),))
    print(millis, flush=True)
print("PyTorch " + torch.__version__)
