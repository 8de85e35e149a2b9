"""Cost of `quantbench compare` on a pair of MobileNetV2: `python benchmarks/compare_mobilenet.py [--folder DIR]`.

Makes 1,000 JPEGs of 224×224 pixels in ten classes of colours, torchvision's MobileNetV2 with random features and a
head that is fitted to them (so that it is accurate, and int8 has something to lose), written as `.onnx`, and the same
quantized by ONNX Runtime's own `quantize_static` (QDQ, per channel). Then the command is run on the two files in a
process of its own, with its seconds by phase. What was made is kept in the folder. About two minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from colorsys import hsv_to_rgb
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE, CLASSES, N, N_FITTED, N_CALIBRATED = 224, 10, 1_000, 400, 100
IMAGENET = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
TARGET_S = 60.0
BATCH = 50
COMPARE = ["--max-drop", "1.0", "--min-speedup", "1.5"]


def pixels(label: int, seed: int) -> NDArray[np.uint8]:
    """A picture `[224, 224, 3]` of a class: waves of its hue, in any direction and length, and disturbed."""
    random = np.random.RandomState(seed)
    angle, length = random.rand() * np.pi, 6 + 20 * random.rand()
    bright, dark = (np.array(hsv_to_rgb(label / CLASSES, *rest)) for rest in ((0.9, 0.9), (0.8, 0.7)))
    y, x = np.mgrid[:SIZE, :SIZE]
    wave = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) / length + 7 * random.rand())
    picture = wave[..., None] * bright + (1 - wave[..., None]) * dark
    coarse = random.randn(28, 28, 3).repeat(8, 0).repeat(8, 1) * 0.1
    disturbed: NDArray[np.float64] = picture + coarse + random.randn(SIZE, SIZE, 3) * 0.05
    return (disturbed.clip(0, 1) * 255).astype(np.uint8)


def batches(n: int, first_seed: int) -> NDArray[np.float32]:
    """Normalized pictures `[n, 3, 224, 224]`, of each class in turn."""
    found = np.stack([pixels(at % CLASSES, first_seed + at) for at in range(n)]).astype(np.float32) / 255
    return np.ascontiguousarray(((found - IMAGENET[0]) / IMAGENET[1]).transpose(0, 3, 1, 2))


def make_pictures(folder: Path) -> None:
    """Writes the test pictures, a folder for each class."""
    from PIL import Image

    for at in range(N):
        place = folder / f"class{at % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(at % CLASSES, 10_000 + at)).save(place / f"{at:04}.jpg", quality=92)


def make_model() -> Any:
    """MobileNetV2 with random features, its batch norms set by data, and a head fitted to its answers."""
    import torch
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    model = mobilenet_v2(num_classes=CLASSES)
    x = torch.from_numpy(batches(N_FITTED, 1_000))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()
        for part in torch.split(x, BATCH):
            model(part)
        model.eval()
        features = torch.cat([model.features(part).mean((2, 3)) for part in torch.split(x, BATCH)]).double()
        wanted = torch.eye(CLASSES, dtype=torch.double)[torch.arange(N_FITTED) % CLASSES]
        mean = features.mean(0)
        own = features - mean
        ridge = own.T @ own + own.square().sum() / own.shape[1] * torch.eye(own.shape[1], dtype=torch.double)
        weight = torch.linalg.solve(ridge, own.T @ wanted).T
        model.classifier[1].weight.copy_(weight.float())
        model.classifier[1].bias.copy_((wanted.mean(0) - weight @ mean).float())
    return model


class Reader:
    """Calibration samples as ONNX Runtime asks for them."""

    def __init__(self) -> None:
        self._waiting = [{"input": part} for part in np.split(batches(N_CALIBRATED, 5_000), N_CALIBRATED)]

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """One sample; None once there is none left."""
        return self._waiting.pop() if self._waiting else None


def make_files(folder: Path) -> None:
    """Writes `fp32.onnx` and `int8.onnx`."""
    import torch
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    fp32, prepared = folder / "fp32.onnx", folder / "prepared.onnx"
    torch.onnx.export(
        make_model(),
        (torch.zeros(2, 3, SIZE, SIZE),),
        str(fp32),
        dynamo=True,
        external_data=False,
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(folder / "int8.onnx"),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


def compare(folder: Path) -> tuple[str, float, int]:
    """Runs the command with a clock around its phases; gives what it prints, its seconds and its exit status."""
    command = ["compare", *(str(folder / name) for name in ("fp32.onnx", "int8.onnx")), "--data", str(folder / "data")]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run(  # noqa: S603 — the script beside this one
            [sys.executable, str(Path(__file__).with_name("phases.py")), *command, *COMPARE],
            env={**os.environ, "QUANTBENCH_CACHE": cache},
            capture_output=True,
            text=True,
            check=False,
        )
    return done.stdout + done.stderr, time.perf_counter() - began, done.returncode


def main() -> None:
    """Makes what is missing, runs the command, prints its table, its phases and its seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("out/compare_mobilenet"))
    folder: Path = parser.parse_args().folder
    if not (folder / "int8.onnx").exists():
        make_pictures(folder / "data")
        make_files(folder)
    text, seconds, status = compare(folder)
    print(text)
    met = "met" if seconds < TARGET_S else "missed"
    print(f"{N:,} pictures, exit status {status}: {seconds:.1f} s; target under {TARGET_S:.0f} s: {met}")


if __name__ == "__main__":
    main()
