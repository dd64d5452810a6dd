"""Times optimizer steps of PyTorch: train.py WARMUP STEPS THREADS MODEL WIDTH SIZE BATCH [DEVICE PRECISION MODE].

DEVICE is cpu (the default) or cuda, PRECISION fp32 or bf16, MODE eager or compile.
"""

import json
import sys
import time

import torch
import torchvision
from torch import nn
from vit import Vit

warmup, steps, threads = (int(word) for word in sys.argv[1:4])
name, (width, size, batch) = sys.argv[4], (int(word) for word in sys.argv[5:8])
device, precision, mode = sys.argv[8:11] or ("cpu", "fp32", "eager")
torch.set_num_threads(threads)
torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, start, end, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(start, end, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(end)
        self.conv2 = nn.Conv2d(end, end, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(end)
        self.downsample = None
        if stride > 1 or start != end:
            self.downsample = nn.Sequential(nn.Conv2d(start, end, 1, stride, bias=False), nn.BatchNorm2d(end))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


def resnet18():
    small = size <= 64
    layers = [nn.Conv2d(3, width, 3, 1, 1, bias=False) if small else nn.Conv2d(3, width, 7, 2, 3, bias=False)]
    layers += [nn.BatchNorm2d(width), nn.ReLU()] + ([] if small else [nn.MaxPool2d(3, 2, 1)])
    start = width
    for stage in range(4):
        for index in range(2):
            end = width << stage
            layers.append(Block(start, end, 2 if stage > 0 and index == 0 else 1))
            start = end
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(start, 10))


def small_cnn():
    pooled = (size - 4) // 2
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, 2 * width, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(2 * width * pooled * pooled, 128), nn.ReLU(), nn.Linear(128, 10),
    )


def frozen_resnet18():
    """Only the last layer learns; the rest infers."""
    network = torchvision.models.resnet18(num_classes=10)
    head, network.fc = network.fc, nn.Identity()
    network.requires_grad_(False).eval()
    return nn.Sequential(network, head)


def resnet50():
    return torchvision.models.resnet50(num_classes=10)


def mobilenet():
    return torchvision.models.mobilenet_v3_large(num_classes=10)


class Text(nn.Module):
    """A text classifier: (batch, length) words of 20,000."""

    def __init__(self):
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(20_000, width), nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, 10)

    def forward(self, words):
        return self.head(self.lstm(self.embedding(words))[0][:, -1])


def vit():
    return Vit(width, size)


networks = {
    "resnet18": resnet18,
    "small-cnn": small_cnn,
    "resnet18-frozen": frozen_resnet18,
    "resnet50": resnet50,
    "mobilenet-v3-large": mobilenet,
    "vit-s16": vit,
    "lstm": Text,
}
model = networks[name]().to(device)
if device == "cuda" and precision == "bf16":
    model = model.to(memory_format=torch.channels_last)  # what is quickest there
optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad])
criterion = nn.CrossEntropyLoss()
labels = torch.arange(batch, device=device) % 10
if name == "lstm":
    images = torch.randint(0, 20_000, (batch, size), device=device)
else:
    images = torch.rand(batch, 3, size, size, device=device) * 2 - 1
run = torch.compile(model) if mode == "compile" else model


def step():
    begun = time.perf_counter()
    with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
        loss = criterion(run(images), labels)
    forward = time.perf_counter()
    optimizer.zero_grad()
    loss.backward()
    backward = time.perf_counter()
    optimizer.step()
    updated = time.perf_counter()
    return forward - begun, backward - forward, updated - backward, updated - begun


version = "PyTorch " + torch.__version__
if device == "cuda":
    for _ in range(warmup):
        step()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    total = (time.perf_counter() - begun) / steps * 1e3
    print(json.dumps({"total": total, "peak_mb": torch.cuda.max_memory_allocated() / 1e6, "version": version}))
else:
    times = [step() for _ in range(warmup + steps)]
    median = [sorted(column)[steps // 2] * 1e3 for column in zip(*times[warmup:])]
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    figures = dict(zip(("forward", "backward", "update", "total"), median))
    print(json.dumps({**figures, "peak_mb": int(peak.split()[1]) / 1e3, "version": version}))
