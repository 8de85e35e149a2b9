"""Backend `eager`: torch.ao's eager mode, fuse → prepare → calibrate → convert, run by ATen's quantized kernels.

Everything here is a library call; `torch.ao.quantization` is announced to be removed (pytorch/ao#2259), and this module
is what its replacement would change.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.ao import quantization as ao
from torch.ao.nn.intrinsic.qat import freeze_bn_stats

from quantbench.backends.interface import Backend, Observers, Quantized
from quantbench.errors import ConfigError, QuantizationError
from quantbench.recipes.spec import DynamicInt8, Fp32, ObserverSpec, QatInt8, Recipe, StaticInt8
from quantbench.registry import BACKENDS, unknown_name
from quantbench.upstream import silenced

# Engines whose u8×s8 products saturate in 16 bits on processors without VNNI; they keep one bit of the activations
# free (pytorch/pytorch#103646), on every processor, so that a recipe means the same everywhere.
SATURATING_ENGINES = ("x86", "fbgemm", "onednn")


def default_engine() -> str:
    """`x86` on x86-64, `qnnpack` on Arm."""
    import platform

    return "qnnpack" if platform.machine().lower() in ("arm64", "aarch64") else "x86"


@BACKENDS.register("eager")
def eager(engine: Annotated[str | None, Field(description="quantized engine")] = None) -> EagerBackend:
    """The eager backend on the processor's engine, or on the one named."""
    return EagerBackend(engine or default_engine())


class EagerBackend(Backend):
    """Eager mode on one quantized engine, which becomes the process's."""

    def __init__(self, engine: str) -> None:
        supported = [name for name in torch.backends.quantized.supported_engines if name != "none"]
        if engine not in supported:
            raise ConfigError(f"--engine: {unknown_name('quantized engine', engine, supported)}")
        torch.backends.quantized.engine = engine
        self.engine = engine

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
                return self._static(model, recipe, calibration())
            case QatInt8():
                raise QuantizationError("a QAT recipe is trained: prepare_training, fine-tune, convert_trained")

    def prepare_training(self, model: nn.Module, recipe: QatInt8) -> nn.Module:
        """See `Backend.prepare_training`."""
        with silenced():
            qconfig = ao.QConfig(
                activation=self._fake_quantizer(recipe.activation), weight=self._fake_quantizer(recipe.weight)
            )
            prepared = _fused(copy.deepcopy(model).train(), qconfig, recipe.blocks, is_qat=True)
            # Upstream refuses a model of which no part is to be quantized.
            return prepared if recipe.blocks == () else ao.prepare_qat(prepared, inplace=True)

    def freeze(self, prepared: nn.Module) -> None:
        """See `Backend.freeze`."""
        prepared.apply(freeze_bn_stats)
        prepared.apply(ao.disable_observer)

    def convert_trained(self, prepared: nn.Module) -> Quantized:
        """See `Backend.convert_trained`."""
        with silenced():
            converted = copy.deepcopy(prepared).eval()
            observers = _observers(converted)
            return Quantized(ao.convert(converted, inplace=True), observers)

    def skeleton(self, model: nn.Module, recipe: Recipe) -> nn.Module:
        """See `Backend.skeleton`."""
        with silenced():
            match recipe:
                case Fp32():
                    return copy.deepcopy(model)
                case DynamicInt8():
                    return self._dynamic(model, recipe)
                case StaticInt8():
                    return ao.convert(self._prepared(model, recipe), inplace=True)
                case QatInt8():
                    return ao.convert(self.prepare_training(model, recipe).eval(), inplace=True)

    def _dynamic(self, model: nn.Module, recipe: DynamicInt8) -> nn.Module:
        with silenced():
            kinds = {getattr(nn, layer) for layer in recipe.layers}
            if not any(type(module) in kinds for module in model.modules()):
                raise QuantizationError(f"the model has no {' or '.join(recipe.layers)} layer to quantize dynamically")
            return ao.quantize_dynamic(model, kinds, dtype=torch.qint8)

    def _static(self, model: nn.Module, recipe: StaticInt8, calibration: Iterable[torch.Tensor]) -> Quantized:
        with silenced():
            prepared = self._prepared(model, recipe)
            seen = 0
            with torch.inference_mode():
                for batch in calibration:
                    prepared(batch)
                    seen += len(batch)
            if seen == 0:
                raise QuantizationError("calibration saw no sample; its observers would give every scale 1.0")
            observers = _observers(prepared)
            return Quantized(ao.convert(prepared, inplace=True), observers)

    def _prepared(self, model: nn.Module, recipe: StaticInt8) -> nn.Module:
        prepared = _fused(copy.deepcopy(model).eval(), self._qconfig(recipe), recipe.blocks, is_qat=False)
        return ao.prepare(prepared, inplace=True)

    def _qconfig(self, recipe: StaticInt8) -> ao.QConfig:
        if recipe.full_range:
            activation = ao.HistogramObserver.with_args(reduce_range=False)
            return ao.QConfig(activation=activation, weight=ao.default_per_channel_weight_observer)
        if recipe.activation is None or recipe.weight is None:
            return ao.get_default_qconfig(self.engine)
        return ao.QConfig(activation=self._observer(recipe.activation), weight=self._observer(recipe.weight))

    def _observer(self, spec: ObserverSpec) -> Any:
        observer = getattr(ao.observer, spec.observer)
        return observer.with_args(
            dtype=getattr(torch, spec.dtype), qscheme=getattr(torch, spec.qscheme), reduce_range=self._reduces(spec)
        )

    def _fake_quantizer(self, spec: ObserverSpec) -> Any:
        low, high = (0, 255) if spec.dtype == "quint8" else (-128, 127)
        return ao.FusedMovingAvgObsFakeQuantize.with_args(
            observer=getattr(ao.observer, spec.observer),
            quant_min=low,
            quant_max=high,
            dtype=getattr(torch, spec.dtype),
            qscheme=getattr(torch, spec.qscheme),
            reduce_range=self._reduces(spec),
        )

    def _reduces(self, spec: ObserverSpec) -> bool:
        return spec.dtype == "quint8" and self.engine in SATURATING_ENGINES


def _fused(model: nn.Module, qconfig: ao.QConfig, blocks: tuple[str, ...] | None, is_qat: bool) -> nn.Module:
    """The model fused, with its qconfig: on all of it, or on the named blocks, the others being left as they were."""
    fused = model if blocks is None else copy.deepcopy(model)
    _fuse(fused, is_qat)
    if blocks is None:
        fused.qconfig = qconfig  # type: ignore[assignment]
        return fused
    parts, boundaries = _blocks_of(model, blocks)
    for block in blocks:
        for name in parts[block]:
            module = getattr(fused, name)
            module.qconfig = qconfig
            setattr(model, name, module)
    # Where precision changes between neighbours, and at both ends, which are fp32.
    is_int8 = [False, *(block in blocks for block in parts), False]
    for name, before, after in zip(boundaries, is_int8, is_int8[1:], strict=False):
        if before != after:
            setattr(model, name, ao.QuantStub(qconfig) if after else ao.DeQuantStub(qconfig))
        else:
            setattr(model, name, nn.Identity())
    return model


def _blocks_of(model: nn.Module, chosen: tuple[str, ...]) -> tuple[Mapping[str, Sequence[str]], Sequence[str]]:
    """A model's blocks in the order of its forward, and the modules that stand between and around them."""
    blocks, boundaries = getattr(model, "blocks", None), getattr(model, "boundaries", None)
    if not isinstance(blocks, Mapping) or not isinstance(boundaries, Sequence) or len(boundaries) != len(blocks) + 1:
        raise QuantizationError(
            f"{type(model).__name__} names no blocks to quantize one at a time: give it `blocks`, the submodules of "
            "each in the order of its forward, and `boundaries`, the modules around them, one more; M5 shows how"
        )
    for block in chosen:
        if block not in blocks:
            raise QuantizationError(unknown_name(f"block of {type(model).__name__}", block, list(blocks)))
    return blocks, boundaries


def _fuse(model: nn.Module, is_qat: bool) -> None:
    if not callable(getattr(model, "fuse_model", None)):
        raise QuantizationError(
            f"{type(model).__name__} has no fuse_model(is_qat): eager quantization needs one that fuses its "
            "Conv-BN-ReLU groups, and QuantStub/DeQuantStub at both ends"
        )
    if not any(isinstance(module, ao.QuantStub) for module in model.modules()):
        raise QuantizationError(
            f"{type(model).__name__} has no QuantStub: no activation would ever be quantized; put one at its input "
            "and a DeQuantStub at its output"
        )
    model.fuse_model(is_qat=is_qat)  # type: ignore[operator]


def _observers(prepared: nn.Module) -> Observers:
    """Every layer's activation and weight observer as text: class, dtype, scheme and integer range."""
    found: Observers = {}
    module: Any
    for name, module in prepared.named_modules():
        post = getattr(module, "activation_post_process", None)
        if post is None or isinstance(module, ao.FakeQuantizeBase):
            continue
        entry = {"activation": _describe(post)}
        if isinstance(getattr(module, "weight", None), nn.Parameter) or hasattr(module, "weight_fake_quant"):
            entry["weight"] = _describe(getattr(module, "weight_fake_quant", None) or module.qconfig.weight())
        elif isinstance(module, nn.Sequential):
            # A fused group: its first member is the layer, the group carries the activation's observer.
            layer: Any = module[0]
            if layer.qconfig is None:
                raise QuantizationError(
                    f"{name}: one layer of this fused group has qconfig None; set it on the whole group, at the end of "
                    "fuse_model"
                )
            entry["weight"] = _describe(layer.qconfig.weight())
        found[name] = entry
    return found


def _describe(observer: Any) -> str:
    inner = getattr(observer, "activation_post_process", None)
    inside = f"{type(inner).__name__}, " if inner is not None else ""
    scheme = str(observer.qscheme).removeprefix("torch.")
    dtype = str(observer.dtype).removeprefix("torch.")
    owner = inner if inner is not None else observer
    return f"{type(observer).__name__}({inside}{dtype}, {scheme}, {owner.quant_min}..{owner.quant_max})"
