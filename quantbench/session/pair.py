"""A session over two files: what follows from the files, its claims, and the acceptance of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.backends.file_inputs import TensorSpec
from quantbench.backends.interface import Artifact
from quantbench.config.pair import Pair, is_state_dict
from quantbench.config.schema import Experiment
from quantbench.data.image_folder import DEFAULT_MEAN, DEFAULT_STD
from quantbench.errors import QuantbenchError
from quantbench.experiment.artifact import backend_of
from quantbench.experiment.files import ready_made_file
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.experiment.workload import OpenWorkload
from quantbench.golden.kinds import kind_checked_by
from quantbench.measure.fresh import in_fresh_process
from quantbench.session.acceptance import Accepting
from quantbench.session.plan import Plan
from quantbench.session.result import run_session
from quantbench.session.session import Options

# Pictures of this size and larger are photographs, whose models take the statistics of ImageNet.
PHOTOGRAPH = 64
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
SMALL = {"mean": list(DEFAULT_MEAN), "std": list(DEFAULT_STD)}
PICTURE_AXES = 4
# Of a batch of sounds, with an axis of one channel or without.
SOUND_AXES = (2, 3)
# Parameters of pictures → what needs no guess beside them.
TOLD_BY = {"crop": ("size",), "weights": ("size", "mean", "std", "channels")}
# Statistics of grey pictures, whose values are left in 0..1 where no scale of a quantized input tells others.
GREY = {"channels": "grey", "mean": [0.0], "std": [1.0]}
# Ends of the values that integers of a quantized input stand for → statistics that give such values.
VALUES = {
    (0.0, 255.0): {"mean": [0.0] * 3, "std": [0.00392157] * 3},
    (0.0, 1.0): {"mean": [0.0] * 3, "std": [1.0] * 3},
    (-1.0, 1.0): {"mean": [0.5] * 3, "std": [0.5] * 3},
}
# Of the ends, as a share of the range: a step or two of 8 bits.
NEAR = 0.01


def fitted(pair: Pair, path: Path) -> tuple[Pair, list[str]]:
    """The pair with what its files tell, the size of pictures and the batch that a file is fixed to; lines about it.

    Args:
        pair: as it was asked for.
        path: of the workload file that would describe it.
    """
    experiment = pair.experiment(path, is_saved=False)
    workload = experiment.workload
    # A state dict tells no inputs.
    reference = None if is_state_dict(pair.reference) else OpenWorkload(workload, Path()).reference_file
    own = None if is_state_dict(pair.candidate) else ready_made_file(experiment, backend_of(experiment, None))
    taken = [spec for each in (reference, own) if each is not None for spec in inputs_of_file(each)]
    tells = {"image_folder": _pictures, "audio_folder": _sounds}.get(workload.config.data.name)
    found = {} if tells is None else tells(taken)
    guessed = {key: value for key, value in found.items() if key not in pair.data_params}
    told = [key for name, keys in TOLD_BY.items() if name in pair.data_params for key in keys]
    guessed = {key: value for key, value in guessed.items() if key not in told}
    lines = [f"guessed, since --param does not say it: {key}={value}" for key, value in guessed.items()]
    latency = {"batch_size": _fixed_batch(taken), **pair.latency}
    data_params = {**guessed, **pair.data_params}
    return replace(pair, data_params=data_params, latency=latency, guessed=tuple(guessed)), lines


def inputs_of_file(artifact: Artifact) -> tuple[TensorSpec, ...]:
    """The inputs that a file tells, read in a process of its own: a foreign file may crash its runtime.

    Raises:
        CheckpointError: if it cannot be loaded, or its runtime crashes.
    """
    died = f"{artifact.path}: backend '{artifact.backend.name}' crashed in native code while it loaded the file"
    return in_fresh_process(_inputs_of, artifact, died=f"{died}; update the runtime, or write the file again")


def _inputs_of(artifact: Artifact) -> tuple[TensorSpec, ...]:
    return artifact.backend.create().load(artifact, 1).takes


def _fixed_batch(taken: Sequence[TensorSpec]) -> int:
    """The batch that files are fixed to, where they agree; else one sample, as on a device."""
    fixed = {spec.shape[0] for spec in taken if spec.shape and spec.shape[0]}
    return fixed.pop() if len(fixed) == 1 else 1


def _pictures(taken: Sequence[TensorSpec]) -> dict[str, Any]:
    """Size and statistics of pictures, as the first input that tells its size takes them."""
    for spec in taken:
        shape = spec.shape or ()
        sides = [size for size in shape[1:] if size is not None and size > PICTURE_AXES]
        if len(shape) == PICTURE_AXES and sides:
            told = _by_scale(taken)
            if 1 in (shape[1], shape[-1]):
                of_one = {key: values[:1] for key, values in (told or {}).items()}
                return {"size": sides[0], **GREY, **of_one}
            return {"size": sides[0], **(told or statistics_of(sides[0]))}
    return {}


def statistics_of(size: int, is_grey: bool = False) -> dict[str, Any]:
    """Statistics that pictures of a size are usually normalized by.

    Args:
        size: their side, pixels.
        is_grey: they have one channel.
    """
    if is_grey:
        return GREY
    return IMAGENET if size >= PHOTOGRAPH else SMALL


def _sounds(taken: Sequence[TensorSpec]) -> dict[str, Any]:
    """Length of clips, as the first input that tells it takes them."""
    lengths = [spec.shape[-1] for spec in taken if len(spec.shape or ()) in SOUND_AXES and spec.shape]
    return {"clip_samples": lengths[0]} if lengths and lengths[0] is not None else {}


def _by_scale(taken: Sequence[TensorSpec]) -> dict[str, Any] | None:
    """Statistics that follow from the scale of a quantized input of pictures; None where none tells."""
    for spec in taken:
        if spec.scale is None or np.dtype(spec.dtype).itemsize != 1 or len(spec.shape or ()) != PICTURE_AXES:
            continue
        ends = [(code - spec.zero_point) * spec.scale for code in (np.iinfo(spec.dtype).min, np.iinfo(spec.dtype).max)]
        for (low, high), statistics in VALUES.items():
            if max(abs(ends[0] - low), abs(ends[1] - high)) <= NEAR * (high - low):
                return statistics
    return None


def plan_of(experiment: Experiment) -> Plan:
    """Every claim about the experiment that needs nothing accepted."""
    claims = Plan.of_experiments([experiment]).claims
    return Plan(tuple(claim for claim in claims if kind_checked_by(claim.quantity) is None))


def accept(experiment: Experiment, golden: Path, reason: str) -> list[str]:
    """Accepts what the experiment is found to be; gives the lines about it.

    Raises:
        QuantbenchError: if something cannot be measured, or may not be accepted.
    """
    plan = Plan.of_experiments([experiment])
    runs = Runs(Settings(golden, family=plan.family))
    options = Options(accepting=Accepting.ALL, reason=reason)
    result = run_session(runs, plan, reason, options)
    if result.broken:
        raise QuantbenchError("\n".join(result.broken))
    return list(result.lines)
