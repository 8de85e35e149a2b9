"""The project that commands are killed in: a workload of small images, weights for it, and an ablation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

MODEL = """\
from torch import nn
from quantbench.models.quantizable import DeQuantStub, QuantStub, fuse

class Net(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.quant, self.dequant = QuantStub(), DeQuantStub()
        self.conv0, self.bn0, self.relu0 = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()
        self.conv1, self.bn1, self.relu1 = nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()
        self.pool, self.fc = nn.MaxPool2d(4), nn.Linear(4, n_classes)

    def forward(self, x):
        x = self.relu0(self.bn0(self.conv0(self.quant(x))))
        x = self.relu1(self.bn1(self.conv1(x)))
        return self.dequant(self.fc(self.pool(x).flatten(1)))

    def fuse_model(self, is_qat=False):
        fuse(self, [[f"conv{i}", f"bn{i}", f"relu{i}"] for i in range(2)], is_qat)

def net(n_classes=3):
    return Net(n_classes)
"""
CONFIG = """\
workload:
  model: {name: "net:net"}
  data: {name: image_folder, root: images, size: 8, calibration_pool: 20, search_pool: 60}
  baseline: tiny
  training: {epochs: 3, lr: 0.05, batch_size: 16, augment: []}
  latency: {batch_size: 4, rounds: 12}
experiments:
  ptq: {recipe: {name: static_int8, calibration_n: 16}, gates: {accuracy_drop_pp: 50.0}}
"""
ABLATION = """\
workload: tiny
rows:
  base: {}
  slower: {lr: 0.01}
"""
CLASSES, TRAIN_N, TEST_N = ("blue", "green", "red"), 50, 20
PASSED_OVER = ("__pycache__", ".pytest_cache", "log")


def make_project(root: Path, data: Path) -> None:
    """A workload of 8×8 images in three noisy colours, two sets of weights for it, and an ablation."""
    import numpy as np
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    pixels = np.random.RandomState(0)
    for side, count in {"train": TRAIN_N, "test": TEST_N}.items():
        for label, name in enumerate(CLASSES):
            folder = data / "images" / side / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = pixels.randint(60, 196, (8, 8, 3))
                image[..., label] += pixels.randint(0, 60)
                Image.fromarray(image.astype(np.uint8)).save(folder / f"{i:03}.png")
    for path, text in {
        "net.py": MODEL, "configs/tiny.yaml": CONFIG, "configs/ablations/rows.yaml": ABLATION,
        "pytest.ini": "[pytest]\naddopts = -p no:cacheprovider\n",
    }.items():  # fmt: skip
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    shutil.copytree(Path(__file__).parents[1] / "bench", root / "bench", ignore=shutil.ignore_patterns(*PASSED_OVER))
    namespace: dict[str, Any] = {}
    exec(MODEL, namespace)  # noqa: S102 — the text above
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        state = {key: value.contiguous() for key, value in namespace["net"]().state_dict().items()}
        save_file(state, root / f"{name}.safetensors")
