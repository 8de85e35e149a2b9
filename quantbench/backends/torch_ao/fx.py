"""Backend `fx`: torch.ao's FX graph mode, trace → prepare → calibrate → convert, run by ATen's quantized kernels.

A model needs no stubs and no `fuse_model`: its forward is traced, and what is fused follows from the graph. Like the
eager mode it is announced to be removed (pytorch/ao#2259).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from torch.ao import quantization as ao
from torch.ao.quantization import quantize_fx
from torch.utils._pytree import tree_leaves

from quantbench.backends.copying import copied
from quantbench.backends.interface import Observers
from quantbench.backends.switching import static_recipe
from quantbench.backends.torch_ao.base import TorchAoBackend
from quantbench.backends.torch_ao.checks import check_on_cpu, check_quantized
from quantbench.backends.torch_ao.int8_switches import int8_switches
from quantbench.backends.torch_ao.layer_causes import PER_CHANNEL
from quantbench.backends.torch_ao.layer_groups import named_groups
from quantbench.backends.torch_ao.observers import described, weight_observer
from quantbench.backends.torch_ao.steps import WATCHING, show
from quantbench.errors import QuantizationError
from quantbench.foreign import message_of, place_of
from quantbench.recipes.spec import DynamicInt8, QatInt8, Recipe, StaticInt8
from quantbench.registry import unknown_name
from quantbench.upstream import silenced

if TYPE_CHECKING:
    from quantbench.backends.insides import Insides

# Of no kernels with a scale for each channel.
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
# Of the largest output: folded batch norms sum in another order.
TOLERANCE = 1e-3
# Layers that fused groups are known by.
WEIGHTED = "a convolution or a linear layer, by a module or a function of torch"


class FxBackend(TorchAoBackend):
    """FX graph mode: the model is traced."""

    name: ClassVar[str] = "fx"
    takes_layers: ClassVar[bool] = True

    def rehearsed(self, model: nn.Module, recipe: StaticInt8 | QatInt8, samples: torch.Tensor) -> None:
        """See `TorchAoBackend.rehearsed`."""
        own = copied(model, "rehearsal")
        with torch.random.fork_rng(devices=[]):
            if isinstance(recipe, QatInt8):
                prepared = self.prepared_qat(own.train(), recipe).eval()
            else:
                prepared = self.prepared(own.eval(), recipe)
            # Ranges are those of values that nothing was rounded or clipped in.
            prepared.apply(ao.disable_fake_quant)
            show(prepared, [samples], dict(_watching(prepared)))
            _check_traced(model, prepared, samples)
            converted = self.int8(prepared, structure_only=True)
            try:
                with torch.inference_mode():
                    converted(samples)
            except Exception as error:
                raise QuantizationError(
                    f"{type(model).__name__} cannot run in int8: {message_of(error)}{place_of(error)}; leave that part "
                    "in fp32 (recipe: static_int8_layers), or quantize with backend: pt2e"
                ) from error

    def prepared(self, model: nn.Module, recipe: StaticInt8) -> nn.Module:
        """See `TorchAoBackend.prepared`."""
        return _traced(model, self._mapping(model, recipe), is_qat=False)

    def prepared_qat(self, model: nn.Module, recipe: QatInt8) -> nn.Module:
        """See `TorchAoBackend.prepared_qat`."""
        return model if recipe.layers == () else _traced(model, self._mapping(model, recipe), is_qat=True)

    def calibrated(self, prepared: nn.Module, batches: Iterable[torch.Tensor]) -> None:
        """See `TorchAoBackend.calibrated`."""
        if show(prepared, batches, dict(_watching(prepared))) == 0:
            raise QuantizationError("calibration saw no sample; its observers would give every scale 1.0")

    def observers(self, prepared: nn.Module) -> Observers:
        """See `TorchAoBackend.observers`."""
        watching = dict(_watching(prepared))
        found: Observers = {}
        for name, module in prepared.named_modules():
            weight = weight_observer(module) if getattr(module, "qconfig", None) is not None else None
            if weight is not None and name in watching:
                found[name] = {"activation": described(watching[name]), "weight": described(weight)}
        return found

    def int8(self, prepared: nn.Module, structure_only: bool = False) -> nn.Module:
        """See `TorchAoBackend.int8`."""
        check_on_cpu("convert", prepared)
        if not structure_only:
            _check_seen(prepared)
        return _converted(prepared, WEIGHTED)

    def dynamic(self, model: nn.Module, recipe: DynamicInt8) -> nn.Module:
        """See `TorchAoBackend.dynamic`."""
        mapping = ao.QConfigMapping()
        for layer in recipe.layers:
            mapping.set_object_type(getattr(nn, layer), ao.default_dynamic_qconfig)
        prepared = _traced(copied(model, "prepare").eval(), mapping, is_qat=False)
        return _converted(prepared, f"nn.{' or nn.'.join(recipe.layers)}")

    def switchable_module(
        self, model: nn.Module, recipe: Recipe, converted: nn.Module, sample: torch.Tensor
    ) -> nn.Module:
        """See `Backend.switchable`; each layer that is a module, in int8, can be left in fp32."""
        static_recipe(recipe)
        with silenced():
            fused = quantize_fx.fuse_fx(copied(model, "fuse").eval())
        return int8_switches(fused, converted, sample, self.engine)

    def insides_of(self, model: nn.Module, recipe: Recipe, converted: nn.Module) -> Insides:
        """See `TorchAoBackend.insides_of`."""
        from quantbench.backends.module_insides import KEEPS_WEIGHTS, Log, ModuleInsides
        from quantbench.backends.torch_ao.traced_insides import wrapped_graph

        log, is_trained = Log(), isinstance(recipe, QatInt8)
        with self._settings(), silenced():
            fused = quantize_fx.fuse_fx(copied(model, "fuse").eval())
            made = wrapped_graph(converted, fused, is_trained, log)
        return ModuleInsides(
            model, made, log, is_trained, self.engine, type(model).__name__, [KEEPS_WEIGHTS] * is_trained
        )

    def _mapping(self, model: nn.Module, recipe: StaticInt8 | QatInt8) -> ao.QConfigMapping:
        """The qconfig of all layers, or of those that the recipe names."""
        with silenced():
            qconfig = self.qconfig(recipe)
            is_per_channel = qconfig.weight().qscheme in PER_CHANNEL
        mapping = ao.QConfigMapping().set_global(qconfig if recipe.layers is None else None)
        for name in _members(model, recipe.layers or ()):
            mapping.set_module_name(name, qconfig)
        for kind in TRANSPOSED if is_per_channel else ():
            mapping.set_object_type(kind, None)
        return mapping


def _traced(model: nn.Module, mapping: ao.QConfigMapping, is_qat: bool) -> nn.Module:
    """A model's graph with observers or fake quantizers.

    Raises:
        QuantizationError: naming the line that cannot be traced.
    """
    prepare = quantize_fx.prepare_qat_fx if is_qat else quantize_fx.prepare_fx
    # Torch asks for inputs, and looks at none of them where modules are its own.
    example = (torch.zeros(1),)
    try:
        with silenced():
            return _without_aliases(prepare(model, mapping, example))
    # Whatever the model's code raises when it is given a proxy instead of a tensor.
    except Exception as error:
        raise QuantizationError(
            f"{type(model).__name__} cannot be traced: {message_of(error)}{place_of(error)}; write that without a "
            "choice that depends on values, or quantize with backend: eager"
        ) from error


def _without_aliases(prepared: Any) -> nn.Module:
    """Gives observers that several operators share one name each, as files of weights want it."""
    names: dict[int, str] = {}
    for node in prepared.graph.nodes:
        if node.op == "call_module" and isinstance(module := prepared.get_submodule(node.target), WATCHING):
            first = names.setdefault(id(module), str(node.target))
            if first != node.target:
                prepared.delete_submodule(node.target)
                node.target = first
    prepared.recompile()
    whole: nn.Module = prepared
    return whole


def _converted(prepared: Any, wanted: str) -> nn.Module:
    with silenced():
        converted: nn.Module = quantize_fx.convert_fx(prepared)
    check_quantized(converted, wanted)
    return converted


def _members(model: nn.Module, layers: Sequence[str]) -> list[str]:
    """The modules that the layers of a recipe mean."""
    groups = named_groups(model) or {}
    known = [*groups, *(name for name, _ in model.named_modules() if name and name not in groups)]
    if unknown := next((layer for layer in layers if layer not in known), None):
        raise QuantizationError(unknown_name(f"layer of {type(model).__name__}", unknown, known))
    return [name for layer in layers for name in groups.get(layer, (layer,))]


def _watching(prepared: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Observers and fake quantizers of activations, by the layer or operator whose results they see."""
    modules = dict(prepared.named_modules())
    graph: Any = prepared.graph
    for node in graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, WATCHING):
            source = node.args[0]
            yield (str(source.target) if source.op == "call_module" else str(source.name)), module


def _check_traced(model: nn.Module, prepared: nn.Module, samples: torch.Tensor) -> None:
    """Refuses a graph that computes something else than the model.

    Raises:
        QuantizationError: if outputs differ.
    """
    with torch.inference_mode():
        expected, found = (tree_leaves(each(samples)) for each in (copied(model, "rehearsal").eval(), prepared))
    for one, other in zip(expected, found, strict=False):
        largest = float(one.abs().max()) or 1.0
        if one.shape != other.shape or not float((one - other).abs().max()) <= TOLERANCE * largest:
            raise QuantizationError(
                f"{type(model).__name__} gives something else once it is traced: does its forward draw at random, or "
                "depend on self.training? Write F.dropout(…, training=self.training) as nn.Dropout, or quantize with "
                "backend: eager"
            )


def _check_seen(prepared: nn.Module) -> None:
    """Raises QuantizationError if an observer saw nothing, or nothing but zeros."""
    for name, module in _watching(prepared):
        observer: Any = getattr(module, "activation_post_process", module)
        low, high = getattr(observer, "min_val", None), getattr(observer, "max_val", None)
        if not isinstance(low, torch.Tensor) or not isinstance(high, torch.Tensor):
            continue
        if low.numel() == 0 or bool((low == torch.inf).all() & (high == -torch.inf).all()):
            raise QuantizationError(
                f"convert: '{name}' has seen no data, and its scale would be 1.0; run samples through it first "
                "(calibrate, or train)"
            )
        if bool((low == 0).all() & (high == 0).all()):
            raise QuantizationError(
                f"convert: '{name}' gave nothing but zeros for every sample that it was shown, and its scale would "
                "turn all other values to zero too; calibrate with other samples, or name the layers that are quantized"
            )
