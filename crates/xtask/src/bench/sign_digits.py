"""Trains configs/sign-digits.toml's recipe with PyTorch: sign_digits.py PHOTOS EPOCHS THREADS.

The same network, splits, batches, optimizer, schedule and augmentation; images are decoded by torchvision in as many
worker processes as our loader has threads.
"""

import json
import math
import sys
import time

import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.transforms import v2

photos, epochs, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(1)
BATCH, SIZE, WIDTH, RATE = 32, 64, 16, 2e-3


class Block(nn.Module):
    def __init__(self, start, end, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(start, end, 3, stride, 1, bias=False), nn.BatchNorm2d(end)
        self.conv2, self.bn2 = nn.Conv2d(end, end, 3, 1, 1, bias=False), nn.BatchNorm2d(end)
        self.downsample = None
        if stride > 1 or start != end:
            self.downsample = nn.Sequential(nn.Conv2d(start, end, 1, stride, bias=False), nn.BatchNorm2d(end))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


layers, start = [nn.Conv2d(3, WIDTH, 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()], WIDTH
for stage in range(4):
    for index in range(2):
        layers.append(Block(start, WIDTH << stage, 2 if stage > 0 and index == 0 else 1))
        start = WIDTH << stage
model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(start, 10))

whole = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
changed = [
    v2.RandomAffine(0, translate=(0.1, 0.1)), v2.RandomResizedCrop(SIZE, (0.6, 1.0), (1.0, 1.0)),
    v2.RandomHorizontalFlip(), v2.ColorJitter(0.3, 0.3, 0.3), *whole,
]
train = torchvision.datasets.ImageFolder(photos, v2.Compose([v2.Resize((SIZE, SIZE)), *changed]))
test = torchvision.datasets.ImageFolder(photos, v2.Compose([v2.Resize((SIZE, SIZE)), *whole]))
order = torch.randperm(len(train)).tolist()
fifth, tenth = len(order) // 5, len(order) // 10
loader = DataLoader(Subset(train, order[fifth + tenth:]), BATCH, shuffle=True, num_workers=threads)
watched = DataLoader(Subset(test, order[fifth:fifth + tenth]), BATCH, num_workers=threads)
tested = DataLoader(Subset(test, order[:fifth]), BATCH, num_workers=threads)


def accuracy(batches):
    model.eval()
    with torch.inference_mode():
        right = [(model(images).argmax(1) == labels).sum().item() for images, labels in batches]
    model.train()
    return sum(right) / len(batches.dataset)


optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.05)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
steps, warmup = epochs * len(loader), 2 * len(loader)


def factor(step):
    if step < warmup:
        return (step + 1) / warmup
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
begun = time.perf_counter()
for epoch in range(epochs):
    for images, labels in loader:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()
        schedule.step()
    accuracy(watched)
found = accuracy(tested)
figures = {"total": time.perf_counter() - begun, "accuracy": found, "version": "PyTorch " + torch.__version__}
print(json.dumps(figures))
