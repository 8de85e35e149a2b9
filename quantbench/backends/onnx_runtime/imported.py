"""Imports what writing a torch model as `.onnx` imports at its first call, so that many processes begin with it."""

import warnings
from importlib import import_module

# Torch imports these itself, one by one, where it needs them.
MODULES = (
    "onnxscript",
    "onnxscript.rewriter",
    "networkx",
    "torch._dynamo",
    "torch._functorch.aot_autograd",
    "torch.export._trace",
    "torch.onnx._internal.exporter._core",
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for _name in MODULES:
        # Where one is missing, or is called otherwise by another torch, whoever needs it says so.
        try:
            import_module(_name)
        except Exception:  # noqa: S112
            continue
