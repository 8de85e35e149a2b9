"""`configs/<workload>.yaml` → checked workloads and experiments; every mistake is one line with its place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from quantbench.config.component import Component
from quantbench.config.import_paths import check_import_path, is_import_path, project_of
from quantbench.config.parity import GATE, KEY
from quantbench.config.schema import (
    FUNCTION,
    NAME_PATTERN,
    NO_SEARCH_POOL,
    DataConfig,
    EvaluationConfig,
    Experiment,
    ExperimentConfig,
    LatencyConfig,
    ReferenceConfig,
    RegressionConfig,
    SearchConfig,
    Workload,
    WorkloadConfig,
    WorkloadFile,
    gate_bounds,
    reference_backend,
)
from quantbench.config.training import TrainingConfig
from quantbench.config.yaml_text import parsed
from quantbench.errors import ConfigError, ForeignError
from quantbench.files import printable, read_text
from quantbench.foreign import message_of
from quantbench.recipes.lowering import unsupported
from quantbench.recipes.translation import gates_in_new_words, recipe_in_new_words
from quantbench.registry import BACKENDS, DATA, MODELS, QUANTITIES, TASKS, unknown_name, validation_lines

# For whoever has no workload file yet.
FIRST_STEP = (
    "or write my_model.yaml into it (docs/your-model.md shows one) and bring its weights: quantbench adopt my_model "
    "weights.pt"
)
# Parameters of a recipe that are import paths themselves.
FUNCTION_PATHS = ("function", "structure")
# Data set → its parameter that is an import path.
DATA_PATHS = {"function": "function", "jsonl": "tokenizer"}
# A workload file is a page of text; anything larger is a mistake or an attack on the parser.
MAX_CONFIG_BYTES = 1 << 20


def load_workload(path: Path) -> list[Experiment]:
    """Reads one workload file.

    Raises:
        ConfigError: naming the file, the key, what is allowed; all mistakes of the file at once.
    """
    if re.fullmatch(NAME_PATTERN, path.stem) is None:
        raise ConfigError(f"{path}: the file's name is the workload's; use letters, digits, '_', '-' and '.' only")
    return experiments_of(read_yaml(path, "a workload file"), path)


def experiments_of(content: Any, path: Path, is_saved: bool = True, guessed: tuple[str, ...] = ()) -> list[Experiment]:
    """The experiments that the content of a workload file describes.

    Args:
        content: as it was read, or is to be written.
        path: of the file, which need not exist.
        is_saved: the file is there, or is about to be.
        guessed: parameters of the data that nobody gave.

    Raises:
        ConfigError: as `load_workload`.
    """
    content = _in_new_words(content, path)
    try:
        file = WorkloadFile.model_validate(content)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_explain_unknown_keys(line) for line in validation_lines(error, str(path)))
        ) from None
    workload = Workload(path.stem, path, file.workload, is_saved, guessed)
    experiments = [Experiment(workload, name, config) for name, config in file.experiments.items()]
    for place, model in _models(file.workload).items():
        if model is not None:
            MODELS.check(model.name, workload.where(f"{place}.name"))
    if file.workload.reference is not None:
        BACKENDS.check(reference_backend(workload).name, workload.where("reference.backend"))
    for experiment in experiments:
        BACKENDS.check(experiment.backend.name, experiment.where("backend"))
    _check_twins(experiments)
    _check_import_paths(workload, experiments)
    check_patience(file.workload.training, file.workload.data, workload.where("training"))
    # What code of others raises in these checks is no mistake of the file's: it breaks the experiments that call that
    # code again, and no other.
    for check in _checks(workload, experiments, outside=False):
        with suppress(ForeignError):
            check()
    return experiments


def check_outside(experiment: Experiment) -> None:
    """Checks what an import path of the experiment gives, now that it is to be run and its code may be called.

    Raises:
        ConfigError: as `load_workload` of what the tables name.
        ForeignError: whatever else the code raises.
    """
    for check in _checks(experiment.workload, [experiment], outside=True):
        check()


def _checks(workload: Workload, experiments: list[Experiment], *, outside: bool) -> list[Callable[[], None]]:
    """The checks that call what a file names, of names of the tables or of import paths."""
    config = workload.config
    found: list[Callable[[], None]] = []
    if is_import_path(config.data.name) is outside:
        found.append(partial(check_data, workload))
    if is_import_path(config.task.name) is outside:
        found.append(partial(_check_task, workload))
    for experiment in experiments:
        if is_import_path(experiment.config.recipe.name) is outside:
            found += [partial(check_backend, experiment), partial(check_gates, experiment)]
    return found


def _check_twins(experiments: list[Experiment]) -> None:
    """Refuses parity with an experiment that the workload has not, or with itself."""
    for experiment in experiments:
        others = [each.name for each in experiments if each is not experiment]
        for twin in experiment.config.gates.bounds.get(GATE) or ():
            if twin == experiment.name:
                raise ConfigError(f"{experiment.where(KEY)}: it is in parity with itself; name another experiment")
            if twin not in others:
                raise ConfigError(f"{experiment.where(KEY)}: {unknown_name('experiment', twin, others)}")


def _models(config: WorkloadConfig) -> dict[str, Component | None]:
    """Place → factory of a model."""
    return {"model": config.model, "reference.model": None if config.reference is None else config.reference.model}


def _check_task(workload: Workload) -> None:
    TASKS.create(workload.config.task.name, workload.where("task"), workload.config.task.params)


def _check_import_paths(workload: Workload, experiments: list[Experiment]) -> None:
    """Refuses modules that are not the project's, of all names in the file."""
    config, project = workload.config, project_of(workload.path)
    parts = {**_models(config), "data": config.data, "task": config.task}
    if config.reference is not None:
        parts["reference.backend"] = config.reference.backend
    named = {workload.where(f"{part}.name"): value.name for part, value in parts.items() if value is not None}
    for experiment in experiments:
        for part in ("recipe", "backend"):
            if (value := getattr(experiment.config, part)) is not None:
                named[experiment.where(f"{part}.name")] = value.name
    if not is_import_path(config.task.name):
        task = TASKS.create(config.task.name, workload.where("task"), config.task.params)
        for key, own in task.paths.items():
            check_import_path(own, workload.where(f"task.{key}"), project)
    for where, name in named.items():
        if is_import_path(name):
            check_import_path(name, where, project)
    key = DATA_PATHS.get(config.data.name, "")
    if isinstance(path := config.data.params.get(key), str):
        check_import_path(path, workload.where(f"data.{key}"), project)
    for experiment in experiments:
        recipe = experiment.config.recipe
        for key in FUNCTION_PATHS if recipe.name == FUNCTION else ():
            if isinstance(path := recipe.params.get(key), str):
                check_import_path(path, experiment.where(f"recipe.{key}"), project)


def _in_new_words(content: Any, path: Path) -> Any:
    """The file's recipes and gates in the words of today, with a hint for each old one; mistakes stay as they are."""
    experiments = content.get("experiments") if isinstance(content, dict) else None
    if not isinstance(experiments, dict):
        return content
    translated = {}
    for name, experiment in experiments.items():
        own = dict(experiment) if isinstance(experiment, dict) else experiment
        for key, translate in (("recipe", recipe_in_new_words), ("gates", gates_in_new_words)):
            if isinstance(own, dict) and isinstance(own.get(key), dict):
                own[key] = translate(own[key], f"{path}: experiments.{name}.{key}")
        translated[name] = own
    return {**content, "experiments": translated}


def check_data(workload: Workload) -> None:
    """Refuses wrong parameters of a data set, and an optional one that nobody is told how to get.

    Raises:
        ConfigError: naming the parameter.
    """
    data = workload.config.data
    source = DATA.create(data.name, workload.where("data"), data.params, beside=DataConfig.model_fields)
    if workload.config.optional and not source.obtain:
        raise ConfigError(
            f"{workload.where('optional')}: whoever lacks the data must be told how to get it; set "
            "workload.data.obtain to the command or place, or leave out optional"
        )


def check_backend(experiment: Experiment) -> None:
    """Refuses a recipe through a backend of ours that does not run its kind; any other is asked when it runs.

    Raises:
        ConfigError: naming the backend that does.
    """
    if reason := unsupported(experiment.backend.name, experiment.recipe):
        raise ConfigError(f"{experiment.where('backend')}: {reason}")


def check_gates(experiment: Experiment) -> None:
    """Refuses a search without samples of its own, and a bound on what cannot be measured of the experiment.

    Raises:
        ConfigError: naming the setting that is missing.
    """
    config, data = experiment.config, experiment.workload.config.data
    if config.search is not None and data.search_pool == 0:
        raise ConfigError(f"{experiment.where('search')}: {NO_SEARCH_POOL}")
    for gate in config.gates.bounds:
        if reason := QUANTITIES.get(gate, experiment.where("gates")).why_not(experiment):
            raise ConfigError(f"{experiment.where(f'gates.{gate}')}: {reason}")


def check_patience(training: TrainingConfig | None, data: DataConfig, where: str) -> None:
    """Refuses to stop early where no sample is held out to stop by; the test split is never one.

    Raises:
        ConfigError: naming the setting that holds samples out.
    """
    if training is not None and training.patience and data.search_pool == 0:
        raise ConfigError(
            f"{where}.patience: {training.patience} epochs by which split? None is held out for validation; set "
            "workload.data.search_pool to the number of training samples to hold out, or remove patience"
        )


def load_experiments(folder: Path) -> list[Experiment]:
    """Every experiment of every `*.yaml` in a folder, in file order; `unread` tells what lies deeper.

    Raises:
        ConfigError: if the folder holds no workload file, any of them is wrong, or one has another suffix.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     written = (Path(folder) / "cnn.yaml").write_text(
        ...         "{workload: {model: {name: cifar_cnn}, data: {name: shapes}, baseline: cnn},"
        ...         " experiments: {fp32: {recipe: {name: fp32_baseline}}, ptq: {recipe: {name: static_int8}}}}"
        ...     )
        ...     [experiment.id for experiment in load_experiments(Path(folder))]
        ['cnn/fp32', 'cnn/ptq']
    """
    _refuse_other_suffixes(folder)
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ConfigError(f"{folder}: no workload file (*.yaml) here; name the folder with --configs, {FIRST_STEP}")
    found = {file: load_workload(file) for file in files}
    _refuse_shared_baselines(found)
    return [experiment for experiments in found.values() for experiment in experiments]


def unread(folder: Path) -> list[str]:
    """Lines about folders below one of workload files that hold YAML files too, of which none is read with it."""
    counts = Counter(path.parent for path in sorted(folder.rglob("*")) if _is_yaml(path) and path.parent != folder)
    return [
        f"{place}: {n} file{'s' * (n > 1)} not read with {folder}; read as workload files by --configs {place}"
        for place, n in counts.items()
    ]


def _refuse_other_suffixes(folder: Path) -> None:
    """A file that is not read would drop its experiments and gates without a word."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if _is_yaml(path) and path.suffix != ".yaml":
            raise ConfigError(f"{path}: not read, since workload files end in .yaml; rename it to {path.stem}.yaml")


def _is_yaml(path: Path) -> bool:
    return path.suffix.lower() in (".yaml", ".yml") and not path.name.startswith(".") and path.is_file()


def _refuse_shared_baselines(found: dict[Path, list[Experiment]]) -> None:
    """Two workloads with one baseline would train over each other's weights, and judge them on other data."""
    owners: dict[str, Path] = {}
    for path, (first, *_) in found.items():
        baseline = first.workload.config.baseline
        if baseline is None:
            continue
        if baseline in owners:
            raise ConfigError(
                f"{first.workload.where('baseline')}: '{baseline}' is the baseline of {owners[baseline]} too; give "
                "each workload one of its own"
            )
        owners[baseline] = path


def read_yaml(path: Path, what: str) -> Any:
    """Reads a YAML file, every key given once.

    Args:
        path: the file.
        what: it should be, for messages: `a workload file`.

    Raises:
        ConfigError: if it cannot be read, is no YAML, or is far larger or deeper than it should be.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; {what} is a page of text")
        return parsed(read_text(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply; {what} has four levels at most") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{path}: {place}not valid YAML: {printable(problem)}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        # PyYAML's constructors of dates, numbers and tagged values let these through.
        raise ConfigError(f"{path}: not valid YAML: a value cannot be read: {message_of(error)}") from None


_KEYS: dict[str, type[BaseModel]] = {
    "search": SearchConfig,
    "workload": WorkloadConfig,
    "workload.reference": ReferenceConfig,
    "workload.training": TrainingConfig,
    "workload.evaluation": EvaluationConfig,
    "workload.latency": LatencyConfig,
    "workload.regression": RegressionConfig,
}


def _explain_unknown_keys(line: str) -> str:
    """Turns pydantic's 'Extra inputs are not permitted' into our words, with the nearest key that exists."""
    if "Extra inputs are not permitted" not in line:
        return line
    file, place, _ = line.split(": ", 2)
    parent, _, key = place.rpartition(".")
    model = _KEYS.get(parent) or _KEYS.get(parent.rpartition(".")[2])
    if model is None and parent.endswith(".gates"):
        return f"{file}: {parent}: {unknown_name('key', key, sorted(gate_bounds()))}"
    if model is None:
        model = ExperimentConfig if parent.startswith("experiments.") else WorkloadFile
    return f"{file}: {parent + ': ' if parent else ''}{unknown_name('key', key, sorted(model.model_fields))}"
