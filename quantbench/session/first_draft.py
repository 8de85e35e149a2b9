"""The first workload file of a project, as its models and data tell it; whatever is guessed is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from quantbench.backends.torch_reference import READ_BY
from quantbench.config.draft import Draft
from quantbench.config.finding import is_factory
from quantbench.config.pair import Pair
from quantbench.config.schema import Workload
from quantbench.data.file_source import FileSource
from quantbench.data.source import Source
from quantbench.errors import ConfigError
from quantbench.extras import EXTRAS, installed
from quantbench.files import open_file, printable
from quantbench.recipes.lowering import KINDS, ON_REQUEST
from quantbench.registry import DATA, unknown_name
from quantbench.session.pair import fitted, statistics_of

# Backends that quantize the model of another, in the order in which they are proposed → what they need.
PROPOSED = {
    "onnxruntime": ("onnx", "onnxruntime"),
    "openvino": ("openvino", "nncf"),
    "pt2e": ("torch", "torchao"),
    "executorch": ("torch", "torchao", "executorch"),
}
DEFAULT_POOL, DEFAULT_CALIBRATION = 1024, 256
# Files of samples that are looked at.
LOOKED_AT = 16
# Parameters of pictures that tell their size.
TELLS_SIZE = {"size", "crop", "weights"}
# Axes of targets that are a class for each pixel, or more.
MASK_AXES = 3


@dataclass(frozen=True)
class Asked:
    """A first workload file as it is asked for.

    Attributes:
        models: the reference, a file or the factory of a module, and the candidate, a file or a function that makes
            it; without one, recipes are proposed.
        data: a folder of classes, or an `.npz` file.
        weights: state dict of the factory's module.
        data_params: parameters of the data set beside its place.
        backends: parameters of the backends that load the files: `reference` and `candidate`.
        task: name and parameters; found by the data where it is not given.
        runtimes: backends that a reference alone is quantized through; all that are installed where none is named.
    """

    models: tuple[str, ...]
    data: Path
    weights: Path | None = None
    data_params: Mapping[str, Any] = field(default_factory=dict)
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    task: Mapping[str, Any] | None = None
    runtimes: tuple[str, ...] = ()

    @property
    def has_candidate(self) -> bool:
        """The candidate is a file."""
        return len(self.models) > 1 and not is_factory(self.models[1])


def first_draft(asked: Asked, path: Path) -> tuple[Draft, list[str]]:
    """The workload file without gates, and a line about each thing that was found or guessed.

    Args:
        asked: by the user.
        path: of the file.

    Raises:
        ConfigError: if a model, its weights or its data cannot be told.
        CheckpointError: if a file cannot be loaded.
    """
    pair = _pair(asked)
    if len(asked.models) == 1:
        # Told before the file is loaded.
        _backends(asked)
    pair, lines = fitted(pair, path)
    content = pair.content(path.parent)
    draft = Draft(path, content["workload"], content["experiments"], pair.guessed)
    workload = draft.read()[0].workload
    source: Source = DATA.create(workload.config.data.name, workload.where("data"), workload.config.data.params)
    source.locate(path.parent)
    draft, told = _with_samples(draft, workload, source)
    draft, task = _with_task(draft, asked, source)
    lines = [_about_data(asked, workload, source), *lines, *told, *task]
    n = _training_samples(source)
    if n and n <= DEFAULT_POOL and "calibration_pool" not in draft.workload["data"]:
        # Of a candidate that was made elsewhere too, whose layers are looked into by it. One sample is left to train
        # on, which nobody does.
        data = {**draft.workload["data"], "calibration_pool": max(1, n - 1)}
        draft = replace(draft, workload={**draft.workload, "data": data})
    if not asked.has_candidate:
        draft, more = _with_recipes(draft, asked, source, n)
        lines += more
    return draft, [line for line in lines if line]


def _pair(asked: Asked) -> Pair:
    """Both files; a candidate that is still to be made is stood for by the reference, whose inputs it takes.

    Raises:
        ConfigError: if a file is not there, or a factory is without its weights.
    """
    first, *others = asked.models
    if is_factory(first) and asked.weights is None:
        raise ConfigError(f"{first}: is a factory, whose model is untrained; name its state dict with --weights FILE")
    if not is_factory(first) and asked.weights is not None:
        shown = printable(asked.weights)
        raise ConfigError(f"--weights {shown}: are of a factory (your.module:make), and {printable(first)} is none")
    reference = Path(first) if asked.weights is None else asked.weights
    candidate = Path(others[0]) if asked.has_candidate else reference
    for path in (reference, candidate):
        if not path.exists():
            raise ConfigError(f"{printable(path)}: no such file; name a model's file, or a factory: your.module:make")
    model = first if is_factory(first) else None
    return Pair(
        reference,
        candidate,
        asked.data,
        asked.backends,
        asked.data_params,
        {},
        {"threads": 1},
        False,
        model,
        asked.task,
    )


def _about_data(asked: Asked, workload: Workload, source: Source) -> str:
    """Words for the samples, by which a folder that was taken for something else is noticed."""
    if not isinstance(source, FileSource):
        return f"data: {printable(asked.data)}, taken for {workload.config.data.name}"
    train, test = source.listings()
    training = "no training side" if train is None else f"{len(train.files):,} to calibrate with"
    kind = workload.config.data.name
    return (
        f"data: {printable(asked.data)}, taken for {kind}: {len(source.classes())} classes, {len(test.files):,} "
        f"samples to test with, {training}"
    )


def _with_samples(draft: Draft, workload: Workload, source: Source) -> tuple[Draft, list[str]]:
    """The draft with what the files of samples alone tell: the size of pictures, the rate of sounds."""
    if not isinstance(source, FileSource):
        return draft, []
    params = workload.config.data.params
    test = source.listing("test")
    files = [Path(file.path) for file in ([] if test is None else test.files)[:LOOKED_AT]]
    found: dict[str, Any] = {}
    if workload.config.data.name == "image_folder" and not TELLS_SIZE & set(params):
        found = _pictures(files, workload)
    elif workload.config.data.name == "audio_folder" and "sample_rate" not in params:
        found = _sounds(files)
    found = {key: value for key, value in found.items() if key not in params}
    lines = [f"guessed, as the files of the samples are: {key}={value}" for key, value in found.items()]
    data = {**draft.workload["data"], **found}
    return replace(draft, workload={**draft.workload, "data": data}, guessed=(*draft.guessed, *found)), lines


def _pictures(files: list[Path], workload: Workload) -> dict[str, Any]:
    """Size and statistics of pictures that are all squares of one size.

    Raises:
        ConfigError: if they are not, since no file of a model tells the size either.
    """
    seen = set()
    for path in files:
        try:
            with open_file(path) as stream, Image.open(stream) as picture:
                seen.add((picture.size, picture.mode == "L"))
        except (OSError, UnidentifiedImageError):
            # Refused by its path when it is decoded.
            continue
    sizes = {size for size, _ in seen}
    width, height = next(iter(sizes), (0, 1))
    if len(sizes) != 1 or width != height:
        raise ConfigError(
            f"{workload.where('data.size')}: neither the model nor the pictures, which are of several shapes, tell the "
            "size that the model was trained with; say it with --param size=224 (or resize=256 and crop=224)"
        )
    return {"size": width, **statistics_of(width, is_grey=all(grey for _, grey in seen))}


def _sounds(files: list[Path]) -> dict[str, Any]:
    """The rate of sounds that all have one."""
    if not installed("soundfile"):
        return {}
    import soundfile

    try:
        rates = {int(soundfile.info(str(path)).samplerate) for path in files}
    except soundfile.SoundFileError:
        return {}
    return {"sample_rate": rates.pop()} if len(rates) == 1 else {}


def _with_task(draft: Draft, asked: Asked, source: Source) -> tuple[Draft, list[str]]:
    """The draft with the task that the targets of arrays tell; folders of classes are classified."""
    if asked.task is not None or isinstance(source, FileSource):
        return draft, [] if asked.task is not None else ["task: top1, since each folder is a class"]
    labels = source.decode(lambda _done, _all: None).test.labels
    if labels.dtype.kind == "f":
        name, why = "mae", "are numbers with a fraction"
    elif labels.ndim >= MASK_AXES:
        name, why = "mean_iou", f"are {list(labels.shape[1:])} whole numbers for each sample"
    elif labels.ndim == 1:
        return draft, ["task: top1, since each target is one whole number"]
    else:
        raise ConfigError(
            f"--task: targets are {list(labels.shape)} {labels.dtype}, which several tasks take; say which (nll, "
            "perplexity, wer, …: docs/tasks.md)"
        )
    told = f"guessed, since the targets {why}: task={name}; another is given by --task"
    return replace(draft, workload={**draft.workload, "task": {"name": name}}), [told]


def _with_recipes(draft: Draft, asked: Asked, source: Source, n: int) -> tuple[Draft, list[str]]:
    """The draft with an experiment for the user's function, or for each backend that can quantize the reference.

    Args:
        draft: without experiments of its own.
        asked: by the user.
        source: of the samples.
        n: samples to calibrate with.
    """
    if len(asked.models) > 1:
        function = asked.models[1]
        recipe = {"name": "function", "function": function}
        return replace(draft, experiments={function.rpartition(":")[2]: {"recipe": recipe}}), []
    experiments, lines = _proposed(asked, draft.workload["data"].get("calibration_pool", DEFAULT_POOL) if n else 0)
    if not n:
        lines.append(f"no recipe that calibrates was tried: put training samples into {source.training_place}")
    if not experiments:
        model = printable(asked.models[0])
        raise ConfigError("\n".join([*lines, f"{model}: no backend that quantizes it is installed"]))
    return replace(draft, experiments=experiments), lines


def _proposed(asked: Asked, pool: int) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """An experiment for each backend that is installed, and lines about the others.

    Args:
        asked: by the user.
        pool: samples to calibrate with.
    """
    experiments: dict[str, dict[str, Any]] = {}
    lines, tried = [], _backends(asked)
    for backend in tried:
        if not installed(*PROPOSED[backend]):
            lacking = next(each for each in PROPOSED[backend] if not installed(each))
            lines.append(f"not tried: {backend}, which needs pip install 'quantbench-suite[{EXTRAS[lacking]}]'")
            continue
        recipe: dict[str, Any] = {"name": "static_int8_per_channel"}
        if not pool:
            recipe["name"] = "weight_only_int8" if "weight_only" in KINDS[backend] else "dynamic_int8"
        elif pool < DEFAULT_CALIBRATION:
            recipe["calibration_n"] = pool
        name = f"{backend}_{recipe['name'].removesuffix('_per_channel')}"
        experiments[name] = {"recipe": recipe, "backend": backend}
    slow = [each for each in ON_REQUEST if each not in tried]
    if slow and asked.weights is not None and not asked.runtimes:
        lines.append(f"not tried: {', '.join(slow)}, which compile for a minute first; name them with --runtime")
    return experiments, lines


def _backends(asked: Asked) -> list[str]:
    """Backends through which the reference is tried.

    Raises:
        ConfigError: if one is unknown, or none quantizes such a file.
    """
    known: tuple[str, ...] = tuple(PROPOSED)
    if asked.weights is None:
        suffix = Path(asked.models[0]).suffix.lower()
        known = READ_BY.get(suffix, ())
        if not known:
            raise ConfigError(
                f"{printable(asked.models[0])}: no backend quantizes a file that ends in '{suffix}'; name the "
                f"quantized file too, or an fp32 model in one of {', '.join(READ_BY)}"
            )
    for name in asked.runtimes:
        if name not in known:
            raise ConfigError(f"--runtime: {unknown_name('backend', name, list(known))}")
    if asked.runtimes:
        return [name for name in known if name in asked.runtimes]
    quick = [name for name in known if name not in ON_REQUEST]
    return quick if any(installed(*PROPOSED[name]) for name in quick) else list(known)


def _training_samples(source: Source) -> int:
    """Samples of the training side."""
    if isinstance(source, FileSource):
        train = source.listing("train")
        return 0 if train is None else len(train.files)
    side = source.decode(lambda _done, _all: None).train
    return 0 if side is None else len(side.labels)
