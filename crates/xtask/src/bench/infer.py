"""Times predictions of PyTorch in eager mode: infer.py WARMUP REPEATS THREADS MODEL BATCH."""

import json
import sys
import time

import torch
import torchvision

warmup, repeats, threads = (int(word) for word in sys.argv[1:4])
name, batch = sys.argv[4], int(sys.argv[5])
torch.set_num_threads(threads)
model = getattr(torchvision.models, name)().eval()
images = torch.rand(batch, 3, 224, 224)
times = []
with torch.inference_mode():
    for _ in range(warmup + repeats):
        begun = time.perf_counter()
        model(images).softmax(1)
        times.append((time.perf_counter() - begun) * 1e3)
print(json.dumps({"total": sorted(times[warmup:])[repeats // 2], "version": "PyTorch " + torch.__version__}))
