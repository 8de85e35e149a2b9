"""Backend `eager`: torch.ao's eager mode, fuse → prepare → calibrate → convert, run by ATen's quantized kernels.

Everything here is a library call; `torch.ao.quantization` is announced to be removed (pytorch/ao#2259), and this folder
is what its replacement would change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.ao import quantization as ao

from quantbench.backends.copying import copied
from quantbench.backends.engines import default_engine
from quantbench.backends.interface import Observers
from quantbench.backends.switching import static_recipe
from quantbench.backends.torch_ao.base import EnginePredictor as EnginePredictor
from quantbench.backends.torch_ao.base import TorchAoBackend
from quantbench.backends.torch_ao.checks import check_quantized
from quantbench.backends.torch_ao.dry_run import rehearse
from quantbench.backends.torch_ao.int8_switches import int8_switches
from quantbench.backends.torch_ao.layer_groups import fused_with_qconfig
from quantbench.backends.torch_ao.observers import observers_of
from quantbench.backends.torch_ao.steps import calibrate, convert, prepare, prepare_qat
from quantbench.recipes.spec import DynamicInt8, QatInt8, Recipe, StaticInt8
from quantbench.upstream import silenced

if TYPE_CHECKING:
    from quantbench.backends.insides import Insides

__all__ = ["EagerBackend", "default_engine"]


class EagerBackend(TorchAoBackend):
    """Eager mode: the model has stubs, and fuses itself."""

    name: ClassVar[str] = "eager"
    first_step: ClassVar[str] = "fuse"

    def rehearsed(self, model: nn.Module, recipe: StaticInt8 | QatInt8, samples: torch.Tensor) -> None:
        """See `TorchAoBackend.rehearsed`."""
        rehearse(model, samples, self.qconfig(recipe), recipe.layers, isinstance(recipe, QatInt8))

    def prepared(self, model: nn.Module, recipe: StaticInt8) -> nn.Module:
        """See `TorchAoBackend.prepared`."""
        return prepare(self._fused(model, recipe), in_place=True)

    def prepared_qat(self, model: nn.Module, recipe: QatInt8) -> nn.Module:
        """See `TorchAoBackend.prepared_qat`."""
        prepared = fused_with_qconfig(model, self.qconfig(recipe), recipe.layers, is_qat=True)
        return prepared if recipe.layers == () else prepare_qat(prepared, in_place=True)

    def calibrated(self, prepared: nn.Module, batches: Iterable[torch.Tensor]) -> None:
        """See `TorchAoBackend.calibrated`."""
        calibrate(prepared, batches)

    def observers(self, prepared: nn.Module) -> Observers:
        """See `TorchAoBackend.observers`."""
        return observers_of(prepared)

    def int8(self, prepared: nn.Module, structure_only: bool = False) -> nn.Module:
        """See `TorchAoBackend.int8`."""
        return convert(prepared, structure_only, in_place=True)

    def dynamic(self, model: nn.Module, recipe: DynamicInt8) -> nn.Module:
        """See `TorchAoBackend.dynamic`."""
        with silenced():
            kinds = {getattr(nn, layer) for layer in recipe.layers}
            quantized = ao.quantize_dynamic(model, kinds, dtype=torch.qint8)
        check_quantized(quantized, f"nn.{' or nn.'.join(recipe.layers)}")
        return quantized

    def switchable_module(
        self, model: nn.Module, recipe: Recipe, converted: nn.Module, sample: torch.Tensor
    ) -> nn.Module:
        """See `Backend.switchable`; each layer in int8 can be left in fp32."""
        fused = self._fused(copied(model, "fuse").eval(), static_recipe(recipe))
        return int8_switches(fused, converted, sample, self.engine)

    def insides_of(self, model: nn.Module, recipe: Recipe, converted: nn.Module) -> Insides:
        """See `TorchAoBackend.insides_of`."""
        from quantbench.backends.torch_ao.insides import EagerInsides

        fused = copied(model, "fuse").eval()
        if isinstance(recipe, StaticInt8 | QatInt8) and recipe.layers != ():
            fused = fused_with_qconfig(fused, self.qconfig(recipe), recipe.layers, is_qat=False)
        return EagerInsides(model, fused, converted, isinstance(recipe, QatInt8), self.engine)

    def _fused(self, model: nn.Module, recipe: StaticInt8) -> nn.Module:
        return fused_with_qconfig(model, self.qconfig(recipe), recipe.layers, is_qat=False)
