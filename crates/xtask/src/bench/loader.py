"""Times how torchvision loads training images: loader.py PHOTOS SIZE WORKERS BATCH EPOCHS.

Random resized crop and flip of every photo below the folder, decoded by Pillow in so many worker processes, which live on
from epoch to epoch.
"""

import json
import pathlib
import sys
import time

import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

photos, size, workers, batch, epochs = sys.argv[1], *(int(word) for word in sys.argv[2:6])
ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


class Photos(Dataset):
    def __init__(self, folder):
        self.paths = sorted(path for path in pathlib.Path(folder).rglob("*") if path.suffix.lower() in ENDINGS)
        self.change = transforms.Compose([
            transforms.RandomResizedCrop(size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return self.change(Image.open(self.paths[index]).convert("RGB")), 0


dataset = Photos(photos)
loader = DataLoader(dataset, batch, shuffle=True, num_workers=workers, persistent_workers=True)
rates = []
for _ in range(epochs):
    begun = time.perf_counter()
    for images, labels in loader:
        pass
    rates.append(len(dataset) / (time.perf_counter() - begun))
print(json.dumps({"images_per_s": rates, "version": f"torchvision {torchvision.__version__}, PyTorch {torch.__version__}"}))
