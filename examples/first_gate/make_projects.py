"""Two tiny projects as a third party has them: a pair of .onnx files, and a PyTorch package with its own quantizer."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from PIL import Image

HERE = Path(__file__).parent
SIZE, PER_CLASS = 32, {"train": 40, "test": 100}
CLASSES = ("blue", "green", "red")
CIFAR10 = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616)}


def make(folder: Path) -> None:
    """Writes both projects below a folder, which must not hold them yet."""
    for name in ("onnx_pair", "torch_package"):
        images(folder / name / "images")
    pair(folder / "onnx_pair")
    shutil.copytree(HERE / "torch_package" / "their_pkg", folder / "torch_package" / "their_pkg")
    try:
        import torch
    except ImportError:
        return
    weights = {"conv.weight": torch.eye(3)[:, :, None, None] + 0.0123, "conv.bias": torch.zeros(3)}
    torch.save(weights, folder / "torch_package" / "weights.pt")


def images(root: Path, per_class: dict[str, int] = PER_CLASS, size: int = SIZE) -> None:
    """Noisy pictures, each brighter in the colour of its class."""
    random = np.random.default_rng(0)
    for side, count in per_class.items():
        for label, name in enumerate(CLASSES):
            folder = root / side / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(60, 196, (size, size, 3))
                pixels[..., 2 - label] += random.integers(0, 30)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:03}.png")


def pair(folder: Path, is_broken: bool = False, stem: str = "net.", is_normalized: bool = False) -> None:
    """Writes `net.fp32.onnx` and `net.int8.onnx`, the mean of each colour as a logit.

    Args:
        folder: of the files.
        is_broken: the int8 file takes blue for green.
        stem: before `fp32.onnx` and `int8.onnx`.
        is_normalized: pictures come with the statistics of CIFAR-10 taken out, not in 0..1.
    """
    # blue, green, red from the channels red, green, blue.
    rows = np.eye(3, dtype=np.float32)[::-1].copy()
    tail = [
        helper.make_node("GlobalAveragePool", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["logits"]),
    ]
    first = "unit" if is_normalized else "x"
    head = [helper.make_node("Mul", ["x", "std"], ["m"]), helper.make_node("Add", ["m", "mean"], ["unit"])]
    statistics = {name: np.float32(values)[:, None, None] for name, values in CIFAR10.items()}
    before, beside = (head, statistics) if is_normalized else ([], {})
    conv = helper.make_node("Conv", [first, "weight"], ["a"], "conv")
    _save(folder / f"{stem}fp32.onnx", [*before, conv, *tail], {"weight": rows[:, :, None, None], **beside})
    wrong = rows[[1, 0, 2]] if is_broken else rows
    nodes = [
        *before,
        helper.make_node("QuantizeLinear", [first, "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["codes", "ws", "z"], ["w"]),
        helper.make_node("Conv", ["d", "w"], ["c"], "conv"),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["a"]),
        *tail,
    ]
    codes = np.rint(wrong * 127).astype(np.int8)[:, :, None, None]
    held = {"s": np.float32(0.008), "z": np.int8(0), "ws": np.float32(1 / 127), "codes": codes, **beside}
    _save(folder / f"{stem}int8.onnx", nodes, held)


def _save(path: Path, nodes: list, held: dict) -> None:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
