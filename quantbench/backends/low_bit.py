"""Backend `low_bit`: convolutions and linear layers of 2 to 8 bits with learned ranges, computed on integer codes.

All of it is quantbench's own; batch norm stays a layer of its own, and so does everything that is no `nn.Conv2d` or
`nn.Linear`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from quantbench.backends.copying import copied
from quantbench.backends.engines import Engine, check_engine, default_engine
from quantbench.backends.finite import finite_inputs, run_finite
from quantbench.backends.interface import Artifact, Calibration, Observers
from quantbench.backends.state_dict import Converted, StateDictBackend, reference_module, wrong_backend
from quantbench.backends.weights import fill_trained, nothing_quantized
from quantbench.errors import QuantizationError
from quantbench.quant.learned_step import LearnedStep
from quantbench.quant.low_bit import LearnedClipping, LowBitQuantizer, NormalizedClipping
from quantbench.quant.low_bit_layers import QuantConv2d, QuantLayer, QuantLinear
from quantbench.quant.packed_layers import packed
from quantbench.recipes.lowering import unsupported
from quantbench.recipes.spec import FP32_BITS, Fp32, LowBit, Recipe, Trained

if TYPE_CHECKING:
    from quantbench.backends.insides import Insides

# Layers that have a low-bit form.
KINDS = "nn.Conv2d or nn.Linear"


def low_bit(engine: Engine = None) -> LowBitBackend:
    """The low-bit backend; the engine names its goldens and decides nothing.

    Example:
        >>> low_bit().name
        'low_bit'
    """
    return LowBitBackend(engine or default_engine())


class LowBitBackend(StateDictBackend):
    """Layers on integer codes, the same with every quantized engine."""

    name: ClassVar[str] = "low_bit"

    def __init__(self, engine: str) -> None:
        self.engine = check_engine(engine)

    def supports(self, recipe: Recipe) -> str | None:
        """See `Backend.supports`."""
        return unsupported("low_bit", recipe)

    def rehearse_module(self, model: nn.Module, recipe: Recipe, samples: torch.Tensor) -> None:
        """See `Backend.rehearse`; on a copy that is prepared and converted."""
        if isinstance(recipe, Fp32):
            return
        prepared = self.prepare_module(model, _low_bit(recipe))
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            # Batch norm needs more than one value per channel in train mode; ranges need train mode.
            _freeze_batch_norm(prepared)
            quantizers: dict[str, nn.Module] = {
                name: each.input_quantizer for name, each in prepared.named_modules() if isinstance(each, QuantLayer)
            }
            with _unsigned_inputs_checked(prepared), finite_inputs(quantizers):
                run_finite(prepared, samples, 0)
            self.convert_module(prepared).model(samples)

    def quantize_module(
        self,
        model: nn.Module,
        recipe: Recipe,
        batches: Callable[[], Iterable[torch.Tensor]],  # noqa: ARG002
    ) -> Converted:
        """See `StateDictBackend.quantize_module`; the recipes of this backend are trained."""
        if isinstance(recipe, Fp32):
            return Converted(model, {})
        _low_bit(recipe)
        raise QuantizationError("a low-bit recipe is trained: prepare_training, fine-tune, convert_trained")

    def prepare_module(self, model: nn.Module, recipe: Trained) -> nn.Module:
        """See `Backend.prepare_training`."""
        recipe = _low_bit(recipe)
        prepared = copied(model, "prepare_qat").train()
        layers = {
            name: each
            for name, each in prepared.named_modules(remove_duplicate=False)
            if type(each) in (nn.Conv2d, nn.Linear)
        }
        if not layers:
            raise QuantizationError(nothing_quantized(model, KINDS))
        first, last = next(iter(layers)), _last_linear(layers)
        for name, layer in layers.items():
            widths = recipe.weight_bits, recipe.activation_bits
            if name == first and recipe.first_bits is not None:
                widths = recipe.first_bits, recipe.first_bits
            if name == last and recipe.last_bits is not None:
                widths = recipe.last_bits, recipe.last_bits
            if widths[0] != FP32_BITS:
                replacement = _quant_layer(layer, recipe.quantizer, *widths, signed=name == first)
                if name:
                    prepared.set_submodule(name, replacement)
                else:
                    prepared = replacement
        if not any(isinstance(each, QuantLayer) for each in prepared.modules()):
            raise QuantizationError(f"{nothing_quantized(model, KINDS)}; first_bits and last_bits leave them in fp32")
        return prepared

    def insides(self, reference: Artifact, candidate: Artifact) -> Insides:
        """See `Backend.insides`."""
        from quantbench.backends.low_bit_insides import low_bit_insides

        return low_bit_insides(reference_module(reference), None, self.module(candidate), self.engine)

    def trained_insides(self, reference: Artifact, candidate: Artifact, trained: Path) -> Insides:
        """See `Backend.trained_insides`."""
        from quantbench.backends.low_bit_insides import low_bit_insides

        model, recipe = reference_module(reference), _low_bit(candidate.recipe)
        own = self.prepare_module(model, recipe)
        fill_trained(own, recipe, Calibration(lambda: (), {}, trained))
        return low_bit_insides(model, own.eval(), self.module(candidate), self.engine)

    def freeze(self, prepared: nn.Module) -> None:
        """See `Backend.freeze`; ranges are learned as weights are, and go on."""
        _freeze_batch_norm(prepared)

    def convert_module(self, prepared: nn.Module) -> Converted:
        """See `Backend.convert_trained`."""
        converted = copied(prepared, "convert").eval()
        observers: Observers = {}
        for name, layer in list(converted.named_modules(remove_duplicate=False)):
            if isinstance(layer, QuantLayer):
                observers[name] = {
                    "activation": str(layer.input_quantizer),
                    "weight": str(layer.weight_quantizer),
                }
                try:
                    replacement = packed(layer)
                except QuantizationError as error:
                    raise QuantizationError(f"'{name}' of {type(prepared).__name__}: {error}") from None
                if name:
                    converted.set_submodule(name, replacement)
                else:
                    converted = replacement
        return Converted(converted.eval(), observers)

    def skeleton(self, model: nn.Module, recipe: Recipe) -> nn.Module:
        """See `StateDictBackend.skeleton`."""
        if isinstance(recipe, Fp32):
            return model
        return self.convert_module(self.prepare_module(model, _low_bit(recipe))).model


def _low_bit(recipe: Recipe) -> LowBit:
    if not isinstance(recipe, LowBit):
        raise QuantizationError(wrong_backend("low_bit", recipe))
    return recipe


def _last_linear(layers: dict[str, nn.Module]) -> str | None:
    return next((name for name in reversed(layers) if isinstance(layers[name], nn.Linear)), None)


def _quant_layer(layer: nn.Module, quantizer: str, weight_bits: int, input_bits: int, signed: bool) -> QuantLayer:
    """A layer on fake-quantized values, which shares the given one's weight.

    Args:
        layer: an `nn.Conv2d` or `nn.Linear`.
        quantizer: `pact` or `lsq`.
        weight_bits: width of the weight's codes.
        input_bits: width of the input's codes.
        signed: the input has values on both sides of zero.
    """
    input_quantizer: LowBitQuantizer
    weight_quantizer: LowBitQuantizer
    if quantizer == "lsq":
        input_quantizer = LearnedStep(input_bits, signed, is_weight=False)
        weight_quantizer = LearnedStep(weight_bits, signed=True, is_weight=True)
    else:
        input_quantizer, weight_quantizer = LearnedClipping(input_bits, signed), NormalizedClipping(weight_bits)
    if isinstance(layer, nn.Conv2d):
        return QuantConv2d(layer, input_quantizer, weight_quantizer)
    if isinstance(layer, nn.Linear):
        return QuantLinear(layer, input_quantizer, weight_quantizer)
    raise TypeError(f"{type(layer).__name__} is neither a convolution nor a linear layer")


def _freeze_batch_norm(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


@contextmanager
def _unsigned_inputs_checked(prepared: nn.Module) -> Iterator[None]:
    """Refuses a layer with unsigned input that is given negative values: they would all become zero.

    Raises:
        QuantizationError: naming the layer.
    """

    def check(name: str, given: torch.Tensor) -> None:
        lowest = float(given.min())
        if lowest < 0:
            raise QuantizationError(
                f"'{name}' of {type(prepared).__name__} is given negative values (down to {lowest:.3g}), and the codes "
                "of its input are unsigned: put a ReLU before it; only the first layer's input is signed"
            )

    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: check(name, inputs[0]))
        for name, layer in prepared.named_modules()
        if isinstance(layer, QuantLayer) and not layer.input_quantizer.coding.signed
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
