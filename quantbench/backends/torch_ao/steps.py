"""The steps of eager quantization; each refuses a wrong order, mode or device in a line that says what to do instead.

    fuse → prepare → calibrate → convert                     after training
    fuse(is_qat=True) → prepare_qat → train → convert        quantization-aware training

A step takes a model and gives a new one; the given one stays as it was, but for the observers that `calibrate` fills,
and where a caller that has no more use for it asks for the step `in_place`.
`docs/quantization-modes.md` has the tables of steps, modes and devices, to which a test holds this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.ao import quantization as ao

from quantbench.backends.copying import copied
from quantbench.backends.finite import finite_inputs, run_finite
from quantbench.backends.torch_ao.checks import (
    check_can_be_fused,
    check_mode,
    check_on_cpu,
    check_one_device,
    check_quantized,
    refuse,
    refuse_mode,
)
from quantbench.backends.torch_ao.diagnosis import explained, refuse_group
from quantbench.backends.torch_ao.states import (
    FUSED_FOR,
    NEVER_CALLED,
    WEIGHTS,
    State,
    blind_observer,
    blind_observers,
    dead_observer,
    half_configured_group,
    state_of,
    unfused_pair,
)
from quantbench.errors import QuantizationError
from quantbench.upstream import silenced

WATCHING = (ao.ObserverBase, ao.FakeQuantizeBase)


def fuse(model: nn.Module, is_qat: bool = False, in_place: bool = False) -> nn.Module:
    """A copy whose Conv-BN-ReLU groups are one layer each, by the model's own `fuse_model(is_qat)`.

    Args:
        model: fp32; in eval mode for inference, in train mode for `is_qat`.
        is_qat: keep batch norm beside the convolution, so that it goes on learning.
        in_place: fuse the given model, and no copy.

    Raises:
        QuantizationError: if the model is in the wrong mode, is fused already or further, or cannot fuse itself.
    """
    state = state_of(model)
    if state is not State.FLOAT:
        refuse("fuse", model, state, "fuse once, as the first step, and start from the fp32 model")
    check_can_be_fused(model)
    check_mode("fuse for training" if is_qat else "fuse for inference", model, training=is_qat)
    check_one_device("fuse", model)
    fused = model if in_place else copied(model, "fuse")
    try:
        with silenced():
            fused.fuse_model(is_qat=is_qat)  # type: ignore[operator]
    except QuantizationError:
        raise
    except Exception as error:
        refuse_group(error, f"{type(model).__name__}.fuse_model(is_qat={is_qat})")
    setattr(fused, FUSED_FOR, State.FUSED_FOR_TRAINING if is_qat else State.FUSED)
    return fused


def prepare(model: nn.Module, qconfig: ao.QConfig | None = None, in_place: bool = False) -> nn.Module:
    """A copy whose layers to be quantized are watched by observers.

    Args:
        model: fp32, fused for inference, in eval mode.
        qconfig: observers for the whole model; None where its modules have some already.
        in_place: prepare the given model, and no copy.

    Raises:
        QuantizationError: if the model is in the wrong state or mode, or nothing of it is to be quantized.
    """
    state = state_of(model)
    if state is State.FUSED_FOR_TRAINING:
        refuse("prepare", model, state, "fuse the fp32 model for inference, or go on with prepare_qat")
    if state not in (State.FLOAT, State.FUSED):
        refuse("prepare", model, state, "prepare once, right after fuse, and start from the fp32 model")
    check_mode("prepare", model, training=False)
    prepared = _with_qconfig("prepare", model, qconfig, fake=False, in_place=in_place)
    with silenced(), explained("prepare", prepared):
        ao.prepare(prepared, inplace=True)
    group = half_configured_group(prepared)
    if group is not None:
        raise QuantizationError(
            f"{group}: one layer of this fused group has qconfig None; set it on the whole group, at the end of "
            "fuse_model"
        )
    return prepared


def prepare_qat(model: nn.Module, qconfig: ao.QConfig | None = None, in_place: bool = False) -> nn.Module:
    """A copy whose layers to be quantized train with fake quantization of weights and activations.

    Args:
        model: fp32, fused for training, in train mode.
        qconfig: fake quantizers for the whole model; None where its modules have some already.
        in_place: prepare the given model, and no copy.

    Raises:
        QuantizationError: if the model is in the wrong state or mode, or nothing of it is to be quantized.
    """
    state = state_of(model)
    if state is State.FUSED:
        refuse("prepare_qat", model, state, "its batch norms are folded away: fuse the fp32 model with is_qat=True")
    if state not in (State.FLOAT, State.FUSED_FOR_TRAINING):
        refuse("prepare_qat", model, state, "prepare once, right after fuse, and start from the fp32 model")
    check_mode("prepare_qat", model, training=True)
    prepared = _with_qconfig("prepare_qat", model, qconfig, fake=True, in_place=in_place)
    with silenced(), explained("prepare_qat", prepared):
        return ao.prepare_qat(prepared, inplace=True)


def calibrate(prepared: nn.Module, batches: Iterable[torch.Tensor]) -> int:
    """Shows batches to the observers of a prepared model, in place, and says how many samples that were.

    Args:
        prepared: from `prepare`, in eval mode.
        batches: normalized inputs `[n, …]`, on the model's device.

    Raises:
        QuantizationError: if the model has no observers, is in train mode, or there is no sample.
        SampleError: if an observer is given NaN or infinity, naming the layer and the sample that it comes from.
    """
    state = state_of(prepared)
    if state is not State.OBSERVED:
        refuse("calibrate", prepared, state, "calibrate comes right after prepare")
    check_mode("calibrate", prepared, training=False)
    seen = show(prepared, batches)
    if seen == 0:
        raise QuantizationError("calibration saw no sample; its observers would give every scale 1.0")
    setattr(prepared, NEVER_CALLED, tuple(blind_observers(prepared)))
    return seen


def show(prepared: nn.Module, batches: Iterable[torch.Tensor], observers: Mapping[str, nn.Module] | None = None) -> int:
    """Runs batches `[n, …]` through a prepared model, whose observers or fake quantizers see them: how many samples.

    Args:
        prepared: in eval mode.
        batches: normalized inputs.
        observers: by the names that messages give them; None for their own.

    Raises:
        SampleError: if one of these is given NaN or infinity, naming the layer and the sample that it comes from.
    """
    seen = 0
    if observers is None:
        observers = {
            name: each
            for name, each in prepared.named_modules()
            if isinstance(each, WATCHING) and not name.endswith(WEIGHTS)
        }
    with torch.inference_mode(), finite_inputs(dict(observers)):
        for batch in batches:
            run_finite(prepared, batch, seen)
            seen += len(batch)
    return seen


def check_trainable(model: nn.Module) -> None:
    """Refuses a model that quantization-aware training would not train.

    Raises:
        QuantizationError: if the model has no fake quantizers, is converted already or is in eval mode.
    """
    state = state_of(model)
    if state is State.INT8:
        refuse("train", model, state, "integers have no gradient: train what prepare_qat gives, and convert that")
    if state is State.OBSERVED:
        refuse("train", model, state, "observers do not quantize: take fuse(is_qat=True) and prepare_qat instead")
    if state is not State.FAKE_QUANTIZED:
        refuse("train", model, state, "nothing would be quantized in training: call fuse(is_qat=True) and prepare_qat")
    # Not layer by layer: frozen batch norms are in eval mode on purpose.
    if not model.training:
        refuse_mode("train", type(model).__name__, needed="train")


def convert(prepared: nn.Module, structure_only: bool = False, in_place: bool = False) -> nn.Module:
    """A copy in int8.

    Args:
        prepared: calibrated or trained, in eval mode, on the CPU, where the int8 kernels are.
        structure_only: without calibration too, for a model whose values a state dict will replace.
        in_place: convert the given model, and no copy.

    Raises:
        QuantizationError: if the model was not prepared, some layer saw no data or nothing but zeros, mode or device
            are wrong, or no layer of it became int8. A layer without parameters that is never called is no error.
    """
    state = state_of(prepared)
    if state is State.INT8:
        refuse("convert", prepared, state, "convert once")
    if state not in (State.OBSERVED, State.FAKE_QUANTIZED):
        refuse("convert", prepared, state, "without observers: prepare and calibrate, or prepare_qat and train, first")
    # Not layer by layer: of a model whose batch norms were frozen in training, some parts never leave train mode.
    if prepared.training:
        refuse_mode("convert", type(prepared).__name__, needed="eval")
    check_on_cpu("convert", prepared)
    blind = None if structure_only else blind_observer(prepared)
    if blind is not None:
        raise QuantizationError(
            f"convert: '{blind}' has seen no data, and its scale would be 1.0; run samples through it first "
            "(calibrate, or train), or set its qconfig to None if no sample ever gets there"
        )
    dead = None if structure_only else dead_observer(prepared)
    converted = prepared if in_place else copied(prepared, "convert")
    with silenced(), explained("convert", converted):
        converted = ao.convert(converted, inplace=True)
    check_quantized(converted, "a convolution or a linear layer, with a qconfig")
    if dead is not None:
        raise QuantizationError(
            f"convert: '{dead}' gave nothing but zeros for every sample that it was shown, and its scale would turn "
            "all other values to zero too; calibrate with other samples, or set its qconfig to None to leave it in fp32"
        )
    return converted


def _with_qconfig(step: str, model: nn.Module, qconfig: ao.QConfig | None, fake: bool, in_place: bool) -> nn.Module:
    """A copy, or the model itself, with its qconfig, after all checks that need one."""
    check_one_device(step, model)
    prepared = model if in_place else copied(model, step)
    if qconfig is not None:
        prepared.qconfig = qconfig  # type: ignore[assignment]
    with silenced():
        qconfigs: list[Any] = [getattr(each, "qconfig", None) for each in prepared.modules()]
        watching = [each.activation() for each in qconfigs if each is not None]
    if not watching:
        raise QuantizationError(f"{step}: no part of {type(model).__name__} has a qconfig; give one, for all or a part")
    if any(isinstance(each, ao.FakeQuantizeBase) is not fake for each in watching):
        wanted, found = ("fake quantizers", "observers") if fake else ("observers", "fake quantizers")
        raise QuantizationError(f"{step}: the qconfig of {type(model).__name__} has {found}; it needs {wanted}")
    pair = unfused_pair(prepared)
    if pair is not None:
        raise QuantizationError(
            f"{step}: '{pair[0]}' and '{pair[1]}' of {type(model).__name__} are not fused; call fuse first, with a "
            "fuse_model that names every such pair, or set qconfig = None on the convolution to leave it in fp32"
        )
    return prepared
