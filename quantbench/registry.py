"""Tables of what a workload file can name: one table for each kind, `name → "module:attribute"`.

A table is text, so that listing names, checking a configuration and collecting tests cost no import of torch; an entry
is imported when it is asked for. An installed distribution adds entries of its own through entry points of the table's
group, for example in its `pyproject.toml`:

    [project.entry-points."quantbench.models"]
    my_net = "my_package.nets:my_net"
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import cached_property, lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ConfigDict, PydanticUndefinedAnnotation, PydanticUserError, ValidationError, validate_call

from quantbench.errors import ConfigError
from quantbench.extras import needing
from quantbench.foreign import calling, foreign, message_of, passes, raised_by
from quantbench.mistakes import unknown_name as unknown_name
from quantbench.mistakes import validation_lines as validation_lines
from quantbench.provenance import loading

if TYPE_CHECKING:
    # The types of what the tables name, for the type checker alone.
    from torch import nn

    from quantbench.backends.interface import Backend
    from quantbench.data.source import Source
    from quantbench.quantities.interface import Quantity
    from quantbench.recipes.spec import Recipe
    from quantbench.tasks.interface import Task

T = TypeVar("T")


class Registry(Generic[T]):
    """Objects of one kind by name, ours and those of installed distributions.

    Args:
        kind: the word for an entry in messages, for example `quantity`.
        group: of the entry points that add to the table.
        table: name → `module:attribute`.

    Example:
        >>> parsers = Registry("parser", "my_package.parsers", {"json": "json:loads"})
        >>> parsers.names()
        ['json']
        >>> parsers.get("json", "a.yaml")("[1, 2]")
        [1, 2]
        >>> parsers.check("jsn", "a")
        Traceback (most recent call last):
        quantbench.errors.ConfigError: a: unknown parser 'jsn'. Did you mean 'json'? Known: json, or 'your.module:NAME'
    """

    outside = "your.module:NAME"

    def __init__(self, kind: str, group: str, table: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = group
        self.table = dict(table)

    @cached_property
    def _installed(self) -> dict[str, EntryPoint]:
        """The entry points of the group, read from metadata alone.

        Raises:
            ConfigError: if two distributions give one name, or one of them a name of ours.
        """
        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=self.group):
            if entry.name in self.table or entry.name in found:
                first = "quantbench" if entry.name in self.table else _distribution(found[entry.name])
                raise ConfigError(
                    f"{self.kind} '{entry.name}' is given twice: by {first} and by {_distribution(entry)}, in the "
                    f"entry points of group {self.group}; uninstall one, or rename its entry point"
                )
            found[entry.name] = entry
        return found

    def names(self) -> list[str]:
        """Every name, in the order of the table, then those of other distributions; imports no entry."""
        return [*self.table, *sorted(self._installed)]

    def all(self) -> list[T]:
        """Every entry, imported now.

        Raises:
            ConfigError: if one of another distribution cannot be imported.
        """
        return [self.get(name, self.group) for name in self.names()]

    def check(self, name: str, where: str) -> None:
        """Raises ConfigError, prefixed by `where`, unless `name` is in the table or of the form `module:attribute`."""
        if ":" not in name and name not in self.names():
            raise ConfigError(f"{where}: {unknown_name(self.kind, name, self.names())}, or '{self.outside}'")

    def outside_module(self, name: str) -> str | None:
        """The module of an entry that is not in the table; None for one that is."""
        if name in self.table:
            return None
        return name.partition(":")[0] if ":" in name else self._installed[name].module

    def get(self, name: str, where: str) -> T:
        """The entry of that name, imported now; `your.module:NAME` reaches outside the table.

        Raises:
            ConfigError: if there is no such entry, or it cannot be imported.
            ExtraMissingError: if it needs an optional library that is not installed.
        """
        self.check(name, where)
        if name in self.table:
            module, _, attribute = self.table[name].partition(":")
            with needing(f"{where}: {self.kind} '{name}'"):
                ours: T = getattr(importlib.import_module(module), attribute)
            return ours
        found: T = _import_outside(name, where) if ":" in name else self._load(self._installed[name], where)
        return found

    def _load(self, entry: EntryPoint, where: str) -> Any:
        try:
            with loading(entry.module), needing(f"{where}: {self.kind} '{entry.name}'"):
                return entry.load()
        # Code of another distribution, which may raise anything when it is imported.
        except BaseException as error:
            if passes(error):
                raise
            raise ConfigError(
                f"{where}: {self.kind} '{entry.name}' of {_distribution(entry)} cannot be imported from "
                f"'{entry.value}' ({type(error).__name__}: {message_of(error)}); repair its entry "
                f"point of group {self.group}, or uninstall it"
            ) from error


class Factories(Registry[Callable[..., T]]):
    """Factories of one kind by name: functions or classes that are called with the parameters of a workload file.

    Args:
        kind: the word for an entry in messages, for example `model`.
        group: of the entry points that add to the table.
        table: name → `module:attribute`.

    Example:
        >>> RECIPES.create("static_int8", "a.yaml: recipe", {"calibration_n": 32}).calibration_n
        32
    """

    outside = "your.module:factory"

    def factory(self, name: str, where: str) -> Callable[..., T]:
        """The factory of that name, as `get`.

        Raises:
            ConfigError: as `get`, or if it is not callable.
        """
        found: Any = self.get(name, where)
        if callable(found):
            factory: Callable[..., T] = found
            return factory
        raise ConfigError(f"{where}: '{name}' is not callable; name a class or a function that returns a {self.kind}")

    def create(self, name: str, where: str, params: dict[str, Any], beside: Iterable[str] = ()) -> T:
        """Calls the factory with checked parameters.

        Args:
            name: the entry.
            where: the place of the parameters, for messages.
            params: what the factory is called with.
            beside: keys that the caller takes out of the same place, named among those that are allowed there.

        Raises:
            ConfigError: one line per parameter that is unknown, of a wrong type or out of range.
            ForeignError: if the factory raises anything else.
        """
        with calling(f"{where}: {self.kind} '{name}'"):
            return self._create(name, where, params, beside)

    def _create(self, name: str, where: str, params: dict[str, Any], beside: Iterable[str]) -> T:
        factory = self.factory(name, where)
        signature, checked = _declared(factory, f"{where}: {self.kind} '{name}'")
        accepted = signature.parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
        unknown = sorted(set(params) - set(accepted))
        if unknown and not takes_any:
            known = sorted({*accepted, *beside})
            raise ConfigError(f"{where}: {unknown_name(f'parameter of {self.kind} {name!r}:', unknown[0], known)}")
        try:
            if checked is factory:
                signature.bind(**params)
        except TypeError as error:
            raise ConfigError(f"{where}: {self.kind} '{name}': {error}") from None
        try:
            outside = self.outside_module(name)
            with loading(outside) if outside else nullcontext():
                return checked(**params)
        except ValidationError as error:
            raise ConfigError("\n".join(validation_lines(error, where, "."))) from None
        except ValueError as error:
            # A factory's own word on parameters that are fine one by one and do not fit together.
            if not raised_by(error, str(getattr(factory, "__module__", ""))):
                raise
            refused = message_of(error)
            raise ConfigError(f"{where}: {self.kind} '{name}' refuses these parameters: {refused}") from error


def _read(factory: Callable[..., T]) -> tuple[inspect.Signature, Callable[..., T]]:
    """Signature and checked form of a factory; of functions and classes once, since it takes longer than most calls."""
    can_be_kept = inspect.isfunction(factory) or inspect.isclass(factory)
    return _read_once(factory) if can_be_kept else (inspect.signature(factory), _checked(factory))


@lru_cache(maxsize=256)
def _read_once(factory: Callable[..., Any]) -> tuple[inspect.Signature, Callable[..., Any]]:
    return inspect.signature(factory), _checked(factory)


def _checked(factory: Callable[..., T]) -> Callable[..., T]:
    """The factory with its annotations enforced, or as it is where pydantic cannot: a class, types it cannot read."""
    try:
        return validate_call(config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))(factory)
    except (PydanticUserError, PydanticUndefinedAnnotation):
        return factory


def _declared(factory: Callable[..., T], where: str) -> tuple[inspect.Signature, Callable[..., T]]:
    """Signature of a factory, by which the parameters of a file are checked, and the factory with them enforced."""
    try:
        return _read(factory)
    except (TypeError, ValueError):
        raise ConfigError(
            f"{where} declares no signature to check its parameters by; name a Python function or class"
        ) from None


def _distribution(entry: EntryPoint) -> str:
    return f"distribution '{entry.dist.name}'" if entry.dist else "an unnamed distribution"


def _import_outside(name: str, where: str) -> Any:
    module_name, _, attribute = name.partition(":")
    # As `python -m` does: a module beside the configuration is found however the program was started.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        with loading(module_name), needing(f"{where}: '{name}'"):
            return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where}: cannot import '{name}': {error}") from error
    except BaseException as error:
        if passes(error):
            raise
        raise foreign(f"{where}: the import of '{name}'", error) from error


MODELS: Factories[nn.Module] = Factories(
    "model",
    "quantbench.models",
    {
        "cifar_cnn": "quantbench.models.cifar_cnn:cifar_cnn",
        "m5": "quantbench.models.m5:m5",
        "resnet18": "quantbench.models.resnet:resnet18",
        "resnet20": "quantbench.models.resnet:resnet20",
        "resnet50": "quantbench.models.resnet:resnet50",
        "token_transformer": "quantbench.models.token_transformer:token_transformer",
        "torchvision_resnet18": "quantbench.models.torchvision_resnets:torchvision_resnet18",
        "torchvision_resnet50": "quantbench.models.torchvision_resnets:torchvision_resnet50",
        "unet": "quantbench.models.unet:unet",
        "vgg16": "quantbench.models.vgg:vgg16",
    },
)
DATA: Factories[Source] = Factories(
    "data set",
    "quantbench.data",
    {
        "audio_folder": "quantbench.data.audio_folder:audio_folder",
        "cifar10": "quantbench.data.cifar10:cifar10",
        "docstrings": "quantbench.data.docstrings:docstrings",
        "function": "quantbench.data.own_function:function",
        "image_folder": "quantbench.data.image_folder:image_folder",
        "jsonl": "quantbench.data.jsonl:jsonl",
        "npz": "quantbench.data.npz:npz",
        "sentences": "quantbench.data.sentences:sentences",
        "shape_masks": "quantbench.data.shape_masks:shape_masks",
        "shapes": "quantbench.data.shapes:shapes",
        "speech_commands": "quantbench.data.speech_commands:speech_commands",
        "spoken_words": "quantbench.data.spoken_words:spoken_words",
    },
)
# Each in the module of its name.
_TASKS = {
    "auc": "AreaUnderCurve", "average_precision": "average_precision", "balanced_accuracy": "BalancedAccuracy",
    "cer": "cer", "eer": "EqualErrorRate", "function": "function", "macro_f1": "MacroF1", "mae": "mae",
    "mean_iou": "mean_iou", "min_dcf": "min_dcf", "nll": "NegativeLogLikelihood", "perplexity": "Perplexity",
    "r2": "R2", "rmse": "rmse", "top1": "Top1", "top_k": "top_k", "wer": "wer",
}  # fmt: skip
TASKS: Factories[Task] = Factories(
    "task", "quantbench.tasks", {name: f"quantbench.tasks.{name}:{factory}" for name, factory in _TASKS.items()}
)
# Task → the gate on its figure, under its own name; of top1 it is the accuracy, of one's own functions the score.
FLOORS: dict[str, str] = {name: {"top1": "accuracy", "function": "score"}.get(name, name) for name in TASKS.table}
RECIPES: Factories[Recipe] = Factories(
    "recipe",
    "quantbench.recipes",
    {
        "dynamic_int8": "quantbench.recipes.dynamic_int8:dynamic_int8",
        "fp32_baseline": "quantbench.recipes.fp32:fp32_baseline",
        "function": "quantbench.recipes.function:function",
        "low_bit": "quantbench.recipes.low_bit:low_bit",
        "qat_int8": "quantbench.recipes.qat_int8:qat_int8",
        "qat_int8_layers": "quantbench.recipes.qat_int8:qat_int8_layers",
        "qat_int8_pow2": "quantbench.recipes.qat_int8:qat_int8_pow2",
        "ready_made": "quantbench.recipes.ready_made:ready_made",
        "static_int8": "quantbench.recipes.static_int8:static_int8_histogram",
        "static_int8_full_range": "quantbench.recipes.static_int8:static_int8_full_range",
        "static_int8_histogram": "quantbench.recipes.static_int8:static_int8_histogram",
        "static_int8_layers": "quantbench.recipes.static_int8:static_int8_layers",
        "static_int8_per_channel": "quantbench.recipes.static_int8:static_int8_per_channel",
        "static_int8_per_tensor": "quantbench.recipes.static_int8:static_int8_per_tensor",
        "static_int8_pow2": "quantbench.recipes.static_int8:static_int8_pow2",
        "weight_only_int4": "quantbench.recipes.weight_only:weight_only_int4",
        "weight_only_int8": "quantbench.recipes.weight_only:weight_only_int8",
    },
)
BACKENDS: Factories[Backend] = Factories(
    "backend",
    "quantbench.backends",
    {
        "eager": "quantbench.backends.torch_ao.factory:eager",
        "executorch": "quantbench.backends.executorch_runtime.backend:executorch",
        "fx": "quantbench.backends.torch_ao.factory:fx",
        "litert": "quantbench.backends.litert_runtime.backend:litert",
        "low_bit": "quantbench.backends.low_bit:low_bit",
        "onnxruntime": "quantbench.backends.onnx_runtime.backend:onnxruntime",
        "openvino": "quantbench.backends.openvino_runtime.backend:openvino",
        "pt2e": "quantbench.backends.pt2e.backend:pt2e",
        "torch": "quantbench.backends.fp32:torch_fp32",
        "torchao": "quantbench.backends.torchao_weights.backend:torchao",
        "torchscript": "quantbench.backends.torchscript:torchscript",
    },
)
# In the order in which they are judged and in which their columns stand.
QUANTITIES: Registry[Quantity[Any]] = Registry(
    "quantity",
    "quantbench.quantities",
    {
        "accuracy_drop_pp": "quantbench.quantities.accuracy_drop:ACCURACY_DROP",
        "worst_class_drop_pp": "quantbench.quantities.worst_class_drop:WORST_CLASS_DROP",
        "layer_drop_pp": "quantbench.quantities.layer_drop:LAYER_DROP",
        "parity_pp": "quantbench.quantities.parity:PARITY",
        "score_drop": "quantbench.quantities.score_drop:SCORE_DROP",
        **{gate: f"quantbench.quantities.figure:{gate}" for gate in sorted(FLOORS.values())},
        "agreement": "quantbench.quantities.agreement:AGREEMENT",
        "sqnr_db": "quantbench.quantities.output_errors:SQNR",
        "cosine": "quantbench.quantities.output_errors:COSINE",
        "kl_nats": "quantbench.quantities.output_errors:KL",
        "max_abs_error": "quantbench.quantities.output_errors:MAX_ABS_ERROR",
        "size_ratio": "quantbench.quantities.size:SIZE",
        "memory_ratio": "quantbench.quantities.memory:MEMORY",
        "speedup": "quantbench.quantities.speedup:SPEEDUP",
        "speedup_over_fastest": "quantbench.quantities.speedup_over_fastest:SPEEDUP_OVER_FASTEST",
        "int8_share": "quantbench.quantities.int8_share:INT8_SHARE",
        "macs_ratio": "quantbench.quantities.macs_ratio:MACS_RATIO",
        "card_drift_pp": "quantbench.quantities.card_drift:CARD_DRIFT",
        "search_drop_pp": "quantbench.quantities.search_drop:SEARCH_DROP",
        "answered_classes": "quantbench.quantities.answered_classes:ANSWERED_CLASSES",
        "reload": "quantbench.quantities.reload:RELOAD",
        "determinism": "quantbench.quantities.determinism:DETERMINISM",
        "checkpoint": "quantbench.quantities.checkpoint:CHECKPOINT",
        "accuracy_vs_accepted": "quantbench.quantities.accuracy_vs_accepted:ACCURACY_VS_ACCEPTED",
        "score_vs_accepted": "quantbench.quantities.score_vs_accepted:SCORE_VS_ACCEPTED",
        "speedup_vs_accepted": "quantbench.quantities.speedup_vs_accepted:SPEEDUP_VS_ACCEPTED",
        "search": "quantbench.quantities.search:SEARCH",
    },
)
