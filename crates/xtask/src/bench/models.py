"""Reference implementations of our models: `models.py make FOLDER` writes random weights and images for each, `models.py
compare FOLDER` reads what ours made of them and prints JSON."""
import json
import sys
from pathlib import Path

import onnx
import onnxruntime
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

SIZE, CLASSES, BATCH = 96, 10, 4
# Among the many values of larger images one is so near to zero that rounding decides its sign, and a ReLU its gradient.
SMALL = 12


class SmallCnn(torch.nn.Module):
    def __init__(self):
        super().__init__()
        side = (SMALL - 4) // 2
        self.conv1, self.conv2 = torch.nn.Conv2d(3, 32, 3), torch.nn.Conv2d(32, 64, 3)
        self.fc1, self.fc2 = torch.nn.Linear(64 * side * side, 128), torch.nn.Linear(128, CLASSES)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.fc2(F.relu(self.fc1(F.max_pool2d(x, 2).flatten(1))))


def of_torchvision(name):
    return lambda: torchvision.models.get_model(name, weights=None, num_classes=CLASSES)


def of_timm(name, **options):
    return lambda: timm.create_model(name, pretrained=False, num_classes=CLASSES, **options)


MODELS = {
    "small-cnn": SmallCnn,
    "resnet18": of_torchvision("resnet18"),
    "resnet34": of_torchvision("resnet34"),
    "resnet50": of_torchvision("resnet50"),
    "mobilenet-v3-large": of_torchvision("mobilenet_v3_large"),
    "efficientnet-b0": of_timm("efficientnet_b0"),
    "convnext-tiny": of_timm("convnext_tiny"),
    "vit-ti16": of_timm("vit_tiny_patch16_224", img_size=SIZE),
    "vit-s16": of_timm("vit_small_patch16_224", img_size=SIZE),
}


def size(name):
    return SMALL if name == "small-cnn" else SIZE


def made(name):
    """The model with weights that leave no layer without effect, and running statistics that are not those of the beginning."""
    torch.manual_seed(1)
    model = MODELS[name]()
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif key.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif key.endswith("gamma"):
                value.uniform_(0.1, 0.3)
            elif value.dim() == 1 and value.is_floating_point():
                value.add_(torch.randn_like(value) * 0.1)
    images, labels = torch.randn(BATCH, 3, size(name), size(name)), torch.randint(CLASSES, (BATCH,))
    return model, images, labels


def make(folder):
    for name in MODELS:
        model, images, labels = made(name)
        tensors = {k: v.contiguous() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
        save_file(tensors, folder / f"{name}.safetensors")
        last = images.permute(0, 2, 3, 1).contiguous()
        save_file({"images": last, "labels": labels.int()}, folder / f"{name}.input.safetensors")
    print(json.dumps({"classes": CLASSES, "models": [[name, size(name)] for name in MODELS]}))


def far(ours, theirs):
    """The greatest distance, as a share of the greatest value where that is above 1."""
    return ((ours.double() - theirs).abs().max() / theirs.abs().max().clamp_min(1)).item()


def compare(folder):
    rows = []
    for name in MODELS:
        model, images, labels = made(name)
        ours = load_file(folder / f"{name}.ours.safetensors")
        model, images = model.double().eval(), images.double()
        logits = model(images)
        F.cross_entropy(logits, labels).backward()
        greatest = max(parameter.grad.abs().max() for parameter in model.parameters())
        gradients = max(
            ((ours[f"gradient of {key}"].double() - p.grad).abs().max() / p.grad.abs().max().clamp_min(1e-4 * greatest)).item()
            for key, p in model.named_parameters())
        row = {"model": name, "logits": far(ours["logits"], logits), "inferred": far(ours["inferred_logits"], logits),
               "gradients": gradients}
        onnx.checker.check_model(folder / f"{name}.onnx", full_check=True)
        session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
        exported = torch.from_numpy(session.run(["logits"], {"images": images.float().numpy()})[0])
        row["onnx"] = far(exported, ours["inferred_logits"].double())
        if "batch_logits" in ours:
            row["batch"] = far(ours["batch_logits"], model.train()(images).detach())
        rows.append(row)
    versions = f"onnxruntime {onnxruntime.__version__}, PyTorch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"
    print(json.dumps({"rows": rows, "versions": versions}))


if __name__ == "__main__":
    {"make": make, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
