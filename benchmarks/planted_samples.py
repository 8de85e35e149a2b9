"""Faults that are more than a changed number in a file: other calibration samples, another reference, no code for zero.

Of samples: a layer has the range of those that a candidate was calibrated with, which were few, or others than those
of the test set. Of the reference: one channel is scaled up, and what reads it scaled down, which changes nothing in
floating point; then the model is quantized anew. Of zero: a quantizer of few levels whose grid passes zero by.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from planted_faults import Fault, planted

from quantbench.backends.checkpoint import read_checkpoint, write_checkpoint
from quantbench.backends.insides import InnerLayer
from quantbench.backends.interface import Artifact
from quantbench.blame.errors import by_channel
from quantbench.data.splits import Split
from quantbench.experiment.artifact import _calibration
from quantbench.experiment.built import BuiltArtifact
from quantbench.experiment.run import Run
from quantbench.measure.evaluation import inputs_of
from quantbench.recipes.spec import PER_TENSOR_ACTIVATION, PER_TENSOR_WEIGHT, StaticInt8

# Kind → strengths, weak ones first: the rank among 96 samples of the narrowest that were shown, the factor that inputs
# were too small by, the factor of a channel, the levels of a quantizer.
OF_SAMPLES = {"few_samples": (16.0, 4.0, 0.0), "other_samples": (2.0, 4.0, 8.0, 16.0)}
OF_REFERENCE = {"outlier_channel": (8.0, 32.0, 128.0), "weight_spread": (8.0, 32.0, 128.0)}
OF_ZERO = {"zero_off_grid": (64.0, 32.0, 16.0, 8.0)}
FEW, LOOKED = 2, 96


@dataclass(frozen=True)
class Smaller:
    """A normalization that makes inputs smaller.

    Attributes:
        normalization: of the data.
        factor: that its results are divided by.
    """

    normalization: Any
    factor: float

    def __call__(self, array: Any) -> Any:
        """Inputs of a model."""
        return np.asarray(self.normalization(array) / self.factor, np.float32)


def fits_samples(kind: str, layer: InnerLayer, state: dict[str, Any]) -> bool:
    """True if a layer can have such a fault.

    Args:
        kind: of the fault.
        layer: of the candidate.
        state: of the reference's torch module.
    """
    if layer.grid is None or layer.weight is None:
        return False
    return kind not in OF_REFERENCE or reader_of(layer.name, state) is not None


def reader_of(name: str, state: dict[str, Any]) -> str | None:
    """The convolution that alone reads the results of one, through a batch norm, ReLU and pooling; None without one."""
    head, conv, number = name.rpartition("conv")
    if not conv or not number.isdigit() or f"{name}.weight" not in state:
        return None
    if head and number != "1":
        # The second of a residual block, whose results are added.
        return None
    reader = f"{head}conv{int(number) + 1}"
    weights = state.get(f"{reader}.weight"), state[f"{name}.weight"]
    return reader if weights[0] is not None and weights[0].shape[1] == weights[1].shape[0] else None


def run_with(fault: Fault, layer: InnerLayer, base: Run, insides: Any, folder: Path) -> Run:
    """A run whose candidate has a fault."""
    if fault.kind in OF_SAMPLES:
        return _of_samples(fault, layer, base, insides, folder)
    if fault.kind in OF_REFERENCE:
        return _of_reference(fault, layer, base, insides, folder)
    run = Run(base.experiment, base.baseline, base.settings)
    vars(run)["candidate"] = BuiltArtifact(_without_zero(fault, layer, base, folder), base.candidate.probe)
    return run


def _of_samples(fault: Fault, layer: InnerLayer, base: Run, insides: Any, folder: Path) -> Run:
    split = base.opened.splits.calibration
    if fault.kind == "other_samples":
        n, other = 256, replace_split(split, normalization=Smaller(split.normalization, fault.strength))
        _, low, high = _reach(insides, layer, other)
        ends = float(low.min()), float(high.max())
    else:
        n = FEW
        _, low, high = _reach(insides, layer, split)
        order = np.argsort(np.maximum(high, -low), kind="stable")
        first = np.roll(order, -int(fault.strength))[:n]
        indices = split.settled().indices
        own = np.arange(len(split.side)) if indices is None else indices
        rest = np.setdiff1d(np.arange(len(own)), first)
        other = replace_split(split, indices=own[np.concatenate([first, rest])])
        ends = float(low[first].min()), float(high[first].max())
    run = _altered(base, other, n)
    made = replace(fault, ends=(min(ends[0], 0.0), max(ends[1], 1e-6)))
    artifact = planted(made, layer, base.artifact, base.backend, insides, folder)
    vars(run)["candidate"] = BuiltArtifact(artifact, base.candidate.probe)
    return run


def replace_split(split: Split, **changes: Any) -> Split:
    """A split with other samples, which are not checked again."""
    return replace(split.settled(), settle=None, passed=None, **changes)


def _reach(insides: Any, layer: InnerLayer, split: Split) -> tuple[Any, Any, Any]:
    """Results of a layer of the reference on some samples, with the smallest and largest of each sample."""
    values = [insides.run(batch).layers[layer.name].reference for batch in inputs_of(split, 32, LOOKED)]
    whole = np.concatenate(values)
    flat = whole.reshape(len(whole), -1)
    return whole, flat.min(axis=1), flat.max(axis=1)


def _altered(base: Run, calibration: Split, n: int) -> Run:
    """A run of the same experiment that was calibrated on so many samples of another split."""
    experiment, baseline, opened = copy.copy(base.experiment), copy.copy(base.baseline), copy.copy(base.opened)
    recipe = base.experiment.recipe
    vars(experiment)["recipe"] = replace(recipe, calibration_n=n) if isinstance(recipe, StaticInt8) else recipe
    splits = copy.copy(base.opened.splits)
    vars(splits)["calibration"] = calibration
    vars(opened)["splits"] = splits
    baseline.opened = opened
    run = Run(experiment, baseline, base.settings)
    vars(run)["counterpart"] = base.counterpart
    return run


def _of_reference(fault: Fault, layer: InnerLayer, base: Run, insides: Any, folder: Path) -> Run:
    reference, backend = base.baseline.artifact, base.backend
    state = read_checkpoint(reference.path)
    channel = _channel(fault, layer, base, insides)
    scale_channel(state, layer.name, channel, fault.strength)
    path = folder / reference.path.name
    write_checkpoint(path, state)
    altered = Artifact.of_files(reference.backend, [path], reference.recipe, reference.model)
    experiment = copy.copy(base.experiment)
    if fault.kind == "weight_spread" and isinstance(base.experiment.recipe, StaticInt8):
        vars(experiment)["recipe"] = replace(
            base.experiment.recipe, activation=PER_TENSOR_ACTIVATION, weight=PER_TENSOR_WEIGHT
        )
    calibration = _calibration(base.opened, base.experiment)
    for name in ("candidate", "reference"):
        (folder / name).mkdir()
    made = backend.quantize(altered, experiment.recipe, calibration, folder / "candidate").artifact
    lowered = backend.lowered(altered, calibration.samples, folder / "reference")
    run = Run(experiment, base.baseline, base.settings)
    vars(run)["candidate"] = BuiltArtifact(made, base.candidate.probe)
    vars(run)["counterpart"] = SimpleNamespace(artifact=altered if lowered is None else lowered.artifact)
    return run


def _channel(fault: Fault, layer: InnerLayer, base: Run, insides: Any) -> int:
    """An output channel: for its results the one that reaches farthest for its weights, else the least far."""
    whole, _, _ = _reach(insides, layer, base.opened.splits.calibration)
    results = np.abs(by_channel(whole, layer)).max(axis=1)
    weight: Any = layer.weight
    reach = np.abs(weight.candidate).reshape(len(results), -1).max(axis=1)
    ratio = np.where(results > 0, results / np.maximum(reach, 1e-9), np.nan)
    return int(np.nanargmax(ratio) if fault.kind == "outlier_channel" else np.nanargmin(ratio))


def scale_channel(state: dict[str, Any], name: str, channel: int, factor: float) -> None:
    """Scales one output channel of a convolution up and what reads it down, in place.

    Example:
        >>> import torch
        >>> state = {"conv1.weight": torch.ones(2, 1, 1), "conv2.weight": torch.ones(1, 2, 1)}
        >>> scale_channel(state, "conv1", 1, 4.0)
        >>> state["conv1.weight"].flatten().tolist(), state["conv2.weight"].flatten().tolist()
        ([1.0, 4.0], [1.0, 0.25])
    """
    head, _, number = name.rpartition("conv")
    norm, reader = f"{head}bn{number}", reader_of(name, state)
    own = norm if f"{norm}.weight" in state else name
    for key in (f"{own}.weight", f"{own}.bias"):
        if key in state:
            state[key] = state[key].clone()
            state[key][channel] *= factor
    state[f"{reader}.weight"] = state[f"{reader}.weight"].clone()
    state[f"{reader}.weight"][:, channel] /= factor


def _without_zero(fault: Fault, layer: InnerLayer, base: Run, folder: Path) -> Artifact:
    """A model of OpenVINO in which one quantizer has few levels, of which two are as far from zero."""
    from quantbench.backends.openvino_runtime.library import openvino
    from quantbench.backends.openvino_runtime.put_back import layers_of
    from quantbench.backends.openvino_runtime.reading import read_model

    library = openvino()
    ops, model = library.opset13, read_model(base.artifact.files)
    quantizer = layers_of(model)[layer.name].quantizers[0]
    levels, grid = int(fault.strength), layer.grid
    step = float(np.max(grid.high if grid else 1.0)) / (levels - 1)
    low, high = (np.full((1,), each, np.float32) for each in (-step / 2, step * (levels - 1.5)))
    new = ops.fake_quantize(quantizer.input_value(0), *(ops.constant(each) for each in (low, high, low, high)), levels)
    for target in quantizer.output(0).get_target_inputs():
        target.replace_source_output(new.output(0))
    path = folder / base.artifact.path.name
    library.save_model(model, str(path), compress_to_fp16=False)
    return Artifact.of_files(
        base.backend.spec, [path, path.with_suffix(".bin")], base.artifact.recipe, base.artifact.model
    )
