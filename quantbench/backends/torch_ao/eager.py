"""Backend `eager`: torch.ao's eager mode, fuse → prepare → calibrate → convert, run by ATen's quantized kernels.

Everything here is a library call; `torch.ao.quantization` is announced to be removed (pytorch/ao#2259), and this folder
is what its replacement would change.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.ao import quantization as ao
from torch.ao.nn.intrinsic.qat import freeze_bn_stats

from quantbench.backends.interface import Backend, Quantized, wrong_backend
from quantbench.backends.torch_ao.blocks import fused_with_qconfig
from quantbench.backends.torch_ao.dry_run import check_operators
from quantbench.backends.torch_ao.engines import default_engine, select_engine
from quantbench.backends.torch_ao.int8_switches import int8_switches
from quantbench.backends.torch_ao.observers import observers_of
from quantbench.backends.torch_ao.qconfigs import static_qconfig, training_qconfig
from quantbench.backends.torch_ao.steps import calibrate, convert, prepare, prepare_qat
from quantbench.errors import QuantizationError
from quantbench.recipes.spec import DynamicInt8, Fp32, LowBit, QatInt8, Recipe, StaticInt8, Trained
from quantbench.registry import BACKENDS
from quantbench.upstream import silenced

__all__ = ["EagerBackend", "default_engine", "eager"]

# Left on a model in training of which no block is quantized, since it looks like one that was never prepared.
CONTROL = "quantbench_control"


@BACKENDS.register("eager")
def eager(engine: Annotated[str | None, Field(description="quantized engine")] = None) -> EagerBackend:
    """The eager backend on the processor's engine, or on the one named."""
    return EagerBackend(engine or default_engine())


class EagerBackend(Backend):
    """Eager mode on one quantized engine, which becomes the process's."""

    def __init__(self, engine: str) -> None:
        self.engine = select_engine(engine)

    def rehearse(self, model: nn.Module, recipe: Recipe, samples: torch.Tensor) -> None:
        """See `Backend.rehearse`."""
        if isinstance(recipe, LowBit):
            raise wrong_backend("eager", recipe)
        if isinstance(recipe, StaticInt8 | QatInt8) and recipe.blocks != ():
            check_operators(model, samples, recipe.blocks)

    def quantize(
        self, model: nn.Module, recipe: Recipe, calibration: Callable[[], Iterable[torch.Tensor]]
    ) -> Quantized:
        """See `Backend.quantize`."""
        match recipe:
            case Fp32():
                return Quantized(copy.deepcopy(model), {})
            case DynamicInt8():
                return Quantized(self._dynamic(model, recipe), {})
            case StaticInt8():
                prepared = self._prepared(model, recipe)
                calibrate(prepared, calibration())
                return Quantized(convert(prepared), observers_of(prepared))
            case QatInt8():
                raise QuantizationError("a QAT recipe is trained: prepare_training, fine-tune, convert_trained")
            case _:
                raise wrong_backend("eager", recipe)

    def prepare_training(self, model: nn.Module, recipe: Trained) -> nn.Module:
        """See `Backend.prepare_training`."""
        if not isinstance(recipe, QatInt8):
            raise wrong_backend("eager", recipe)
        qconfig = training_qconfig(recipe, self.engine)
        prepared = fused_with_qconfig(copy.deepcopy(model).train(), qconfig, recipe.blocks, is_qat=True)
        if recipe.blocks == ():
            setattr(prepared, CONTROL, True)
            return prepared
        return prepare_qat(prepared)

    def freeze(self, prepared: nn.Module) -> None:
        """See `Backend.freeze`."""
        prepared.apply(freeze_bn_stats)
        prepared.apply(ao.disable_observer)

    def convert_trained(self, prepared: nn.Module) -> Quantized:
        """See `Backend.convert_trained`."""
        return self._converted(prepared, structure_only=False)

    def skeleton(self, model: nn.Module, recipe: Recipe) -> nn.Module:
        """See `Backend.skeleton`."""
        match recipe:
            case Fp32():
                return copy.deepcopy(model)
            case DynamicInt8():
                return self._dynamic(model, recipe)
            case StaticInt8():
                return convert(self._prepared(model, recipe), structure_only=True)
            case QatInt8():
                return self._converted(self.prepare_training(model, recipe), structure_only=True).model
            case _:
                raise wrong_backend("eager", recipe)

    def switchable(self, model: nn.Module, recipe: Recipe, converted: nn.Module, sample: torch.Tensor) -> nn.Module:
        """See `Backend.switchable`; each layer in int8 can be left in fp32."""
        if not isinstance(recipe, StaticInt8):
            raise QuantizationError(
                f"the recipe ({type(recipe).__name__}) leaves no layer whose bit width can be switched; name an "
                "experiment of a static int8 recipe, whose layers can be left in fp32, or of a low-bit one"
            )
        return int8_switches(self._fused(model, recipe), converted, sample)

    def _converted(self, prepared: nn.Module, structure_only: bool) -> Quantized:
        trained = copy.deepcopy(prepared).eval()
        if getattr(prepared, CONTROL, False):
            return Quantized(trained, {})
        return Quantized(convert(trained, structure_only), observers_of(trained))

    def _dynamic(self, model: nn.Module, recipe: DynamicInt8) -> nn.Module:
        with silenced():
            kinds = {getattr(nn, layer) for layer in recipe.layers}
            if not any(type(module) in kinds for module in model.modules()):
                raise QuantizationError(f"the model has no {' or '.join(recipe.layers)} layer to quantize dynamically")
            return ao.quantize_dynamic(model, kinds, dtype=torch.qint8)

    def _prepared(self, model: nn.Module, recipe: StaticInt8) -> nn.Module:
        return prepare(self._fused(model, recipe))

    def _fused(self, model: nn.Module, recipe: StaticInt8) -> nn.Module:
        fp32 = copy.deepcopy(model).eval()
        return fused_with_qconfig(fp32, static_qconfig(recipe, self.engine), recipe.blocks, is_qat=False)
