"""Modules of quantizers as users write them, one text for each, put beside a project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

NAME = "own_quantize"
LONG_AGO = 1_700_000_000 * 10**9

TORCHAO = """\
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_


def int8(model, batches, activations: bool = False):
    quantize_(model, Int8DynamicActivationInt8WeightConfig() if activations else Int8WeightOnlyConfig())
    return model
"""
# Weights rounded to so many bits, calibration seen, and what goes wrong in many ways.
PLAIN = """\
import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

SEEN = []


def rounded(model, batches, *, bits=8, leave=()):
    levels = 2 ** (bits - 1) - 1
    for batch in batches:
        SEEN.append(batch)
        break
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in leave:
                continue
            scale = weight.abs().max() / levels
            weight.copy_((weight / scale).round() * scale)
    return model


def drawn(model, batches, by="torch"):
    with torch.no_grad():
        model.fc.bias += torch.rand(3) if by == "torch" else torch.from_numpy(np.random.rand(3))
    return model


def same(model, batches):
    return model


def half(model, batches):
    return nn.Sequential(model)


def hidden(model, batches):
    model.fc.register_forward_hook(lambda layer, given, output: output.round())
    return model


def unsafe(model, batches):
    model.__class__ = type("Odd", (type(model),), {"get_extra_state": lambda self: Path("x")})
    return model


def strange(model, batches):
    return {"model": model}


def state(model, batches):
    torch.save(rounded(model, batches).state_dict(), "own.pt")
    return "own.pt"


def elsewhere(model, batches):
    return Path("elsewhere.onnx")


def absent(model, batches):
    return "nowhere.onnx"


def other(model, batches):
    Path("own.onnx").write_bytes(b"x")
    return "own.onnx"


def raising(model, batches):
    raise KeyError("width")


def leaving(model, batches):
    os.chdir("/")
    os.environ["CI"] = "yes"
    torch.set_num_threads(3)
    torch.manual_seed(0)
    return rounded(model, batches)


def needy(model, batches, bits):
    return model


def wrapped(model):
    return nn.Sequential(model)


def nothing(model):
    return None


CONSTANT = 1
"""
EAGER = """\
import torch
from torch.ao.quantization import convert, get_default_qconfig, prepare


def int8(model, batches):
    model.fuse_model()
    model.qconfig = get_default_qconfig("x86")
    prepared = prepare(model)
    for batch in batches:
        prepared(batch)
    return convert(prepared)


def structure(model):
    return int8(model, [torch.zeros(1, 3, 8, 8)])
"""
ONNX = """\
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static


class Reader(CalibrationDataReader):
    def __init__(self, batches):
        self.left = iter(batches)

    def get_next(self):
        batch = next(self.left, None)
        return None if batch is None else {"x": batch}


def int8(path, batches):
    made = path.with_name("int8.onnx")
    quantize_static(path, made, Reader(batches), quant_format=QuantFormat.QDQ)
    return made


def in_place(path, batches):
    path.write_bytes(path.read_bytes())
    return str(path)


def module(path, batches):
    import torch

    return torch.nn.Linear(1, 1)


def vandal(path, batches):
    from pathlib import Path

    Path("net.onnx").write_bytes(b"gone")
    return path
"""


def write(root: Path, text: str) -> None:
    """Puts a module there, as one of long ago, and unloads what was there."""
    path = root / f"{NAME}.py"
    path.write_text(text)
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    forget()


def edit(root: Path, old: str, new: str) -> None:
    """Edits the module, and unloads it as a new process would find it."""
    path = root / f"{NAME}.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    # Later than what Python compiled, and before the run.
    os.utime(path, ns=(LONG_AGO + 10**9, LONG_AGO + 10**9))
    forget()


def forget() -> None:
    """Nothing of it is loaded."""
    sys.modules.pop(NAME, None)
