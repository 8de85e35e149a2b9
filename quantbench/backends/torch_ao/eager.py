"""Backend `eager`: torch.ao's eager mode, fuse → prepare → calibrate → convert, run by ATen's quantized kernels.

Everything here is a library call; `torch.ao.quantization` is announced to be removed (pytorch/ao#2259), and this folder
is what its replacement would change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from torch import nn
from torch.ao import quantization as ao
from torch.ao.nn.intrinsic.qat import freeze_bn_stats

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.copying import copied
from quantbench.backends.coverage import Coverage
from quantbench.backends.engines import check_engine, default_engine, engine_in_use
from quantbench.backends.module import ModulePredictor
from quantbench.backends.state_dict import Converted, StateDictBackend, wrong_backend
from quantbench.backends.torch_ao.checks import check_quantized
from quantbench.backends.torch_ao.dry_run import rehearse
from quantbench.backends.torch_ao.int8_switches import int8_switches
from quantbench.backends.torch_ao.layer_groups import fused_with_qconfig
from quantbench.backends.torch_ao.observers import observers_of
from quantbench.backends.torch_ao.qconfigs import static_qconfig, training_qconfig
from quantbench.backends.torch_ao.steps import calibrate, convert, prepare, prepare_qat
from quantbench.errors import QuantizationError
from quantbench.recipes.lowering import unsupported
from quantbench.recipes.spec import DynamicInt8, Fp32, LowBit, QatInt8, Recipe, StaticInt8, Trained
from quantbench.upstream import silenced

__all__ = ["EagerBackend", "default_engine"]

# Left on a model in training of which no layer is quantized, since it looks like one that was never prepared.
CONTROL = "quantbench_control"


class EnginePredictor(ModulePredictor):
    """A module that runs on a quantized engine.

    Args:
        module: converted on that engine.
        threads: see `ModulePredictor`.
        engine: the process's while it runs.
    """

    def __init__(self, module: nn.Module, threads: int | None, engine: str) -> None:
        super().__init__(module, threads)
        self._on_engine = engine_in_use(engine)

    def __call__(self, inputs: Inputs) -> Outputs:
        """See `Predictor.__call__`."""
        with self._on_engine:
            return super().__call__(inputs)

    def kernels(self, inputs: Inputs) -> Coverage | None:
        """See `Predictor.kernels`."""
        with self._on_engine:
            return super().kernels(inputs)


class EagerBackend(StateDictBackend):
    """Eager mode on one quantized engine, which is the process's while this backend works, and not longer."""

    name: ClassVar[str] = "eager"

    def __init__(self, engine: str) -> None:
        self.engine = check_engine(engine)

    def supports(self, recipe: Recipe) -> str | None:
        """See `Backend.supports`."""
        return unsupported("eager", recipe)

    def rehearse_module(self, model: nn.Module, recipe: Recipe, samples: torch.Tensor) -> None:
        """See `Backend.rehearse`."""
        if isinstance(recipe, LowBit):
            raise QuantizationError(wrong_backend("eager", recipe))
        is_qat = isinstance(recipe, QatInt8)
        if isinstance(recipe, StaticInt8 | QatInt8) and recipe.layers != ():
            with self._settings():
                rehearse(model, samples, self._qconfig(recipe), recipe.layers, is_qat)

    def quantize_module(
        self, model: nn.Module, recipe: Recipe, batches: Callable[[], Iterable[torch.Tensor]]
    ) -> Converted:
        """See `StateDictBackend.quantize_module`."""
        match recipe:
            case Fp32():
                return Converted(model, {})
            case DynamicInt8():
                return Converted(self._dynamic(model, recipe), {})
            case StaticInt8():
                prepared = self._prepared(model, recipe)
                calibrate(prepared, batches())
                observers = observers_of(prepared)
                return Converted(self._int8(prepared), observers)
            case QatInt8():
                raise QuantizationError("a QAT recipe is trained: prepare_training, fine-tune, convert_trained")
            case _:
                raise QuantizationError(wrong_backend("eager", recipe))

    def prepare_module(self, model: nn.Module, recipe: Trained) -> nn.Module:
        """See `Backend.prepare_training`."""
        if not isinstance(recipe, QatInt8):
            raise QuantizationError(wrong_backend("eager", recipe))
        fp32 = copied(model, "prepare_qat").train()
        prepared = fused_with_qconfig(fp32, self._qconfig(recipe), recipe.layers, is_qat=True)
        if recipe.layers == ():
            setattr(prepared, CONTROL, True)
            return prepared
        return prepare_qat(prepared, in_place=True)

    def freeze(self, prepared: nn.Module) -> None:
        """See `Backend.freeze`."""
        prepared.apply(freeze_bn_stats)
        prepared.apply(ao.disable_observer)

    def convert_module(self, prepared: nn.Module) -> Converted:
        """See `Backend.convert_trained`."""
        return self._converted(prepared, structure_only=False)

    def skeleton(self, model: nn.Module, recipe: Recipe) -> nn.Module:
        """See `StateDictBackend.skeleton`."""
        match recipe:
            case Fp32():
                return model
            case DynamicInt8():
                return self._dynamic(model, recipe)
            case StaticInt8():
                return self._int8(self._prepared(model, recipe), structure_only=True)
            case QatInt8():
                return self._converted(self.prepare_module(model, recipe), structure_only=True).model
            case _:
                raise QuantizationError(wrong_backend("eager", recipe))

    def switchable_module(
        self, model: nn.Module, recipe: Recipe, converted: nn.Module, sample: torch.Tensor
    ) -> nn.Module:
        """See `Backend.switchable`; each layer in int8 can be left in fp32."""
        if not isinstance(recipe, StaticInt8):
            raise QuantizationError(
                f"the recipe ({recipe.kind}) leaves no layer whose bit width can be switched; name an "
                "experiment of a static int8 recipe, whose layers can be left in fp32, or of a low-bit one"
            )
        return int8_switches(self._fused(model, recipe), converted, sample, self.engine)

    def _settings(self) -> engine_in_use:
        """See `StateDictBackend._settings`: int8 weights are packed for the process's engine."""
        return engine_in_use(self.engine)

    def _predictor(self, module: nn.Module, threads: int | None = None) -> ModulePredictor:
        return EnginePredictor(module, threads, self.engine)

    def _int8(self, prepared: nn.Module, structure_only: bool = False) -> nn.Module:
        """Converts a prepared model that is needed no more."""
        with self._settings():
            return convert(prepared, structure_only, in_place=True)

    def _converted(self, prepared: nn.Module, structure_only: bool) -> Converted:
        trained = copied(prepared, "convert").eval()
        if getattr(prepared, CONTROL, False):
            return Converted(trained, {})
        observers = observers_of(trained)
        return Converted(self._int8(trained, structure_only), observers)

    def _dynamic(self, model: nn.Module, recipe: DynamicInt8) -> nn.Module:
        with silenced(), self._settings():
            kinds = {getattr(nn, layer) for layer in recipe.layers}
            quantized = ao.quantize_dynamic(model, kinds, dtype=torch.qint8)
        check_quantized(quantized, f"nn.{' or nn.'.join(recipe.layers)}")
        return quantized

    def _prepared(self, model: nn.Module, recipe: StaticInt8) -> nn.Module:
        return prepare(self._fused(model, recipe), in_place=True)

    def _fused(self, model: nn.Module, recipe: StaticInt8) -> nn.Module:
        return fused_with_qconfig(copied(model, "fuse").eval(), self._qconfig(recipe), recipe.layers, is_qat=False)

    def _qconfig(self, recipe: StaticInt8 | QatInt8) -> ao.QConfig:
        if isinstance(recipe, QatInt8):
            return training_qconfig(recipe, self.engine)
        return static_qconfig(recipe, self.engine)
