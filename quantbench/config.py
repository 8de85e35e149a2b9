"""`configs/<workload>.yaml` → checked workloads and experiments; every mistake is one line with its place."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from quantbench.errors import ConfigError
from quantbench.registry import BACKENDS, DATA, MODELS, RECIPES, unknown_name, validation_lines
from quantbench.training_config import PositiveInt
from quantbench.training_config import TrainingConfig as TrainingConfig

# A workload file is a page of text; anything larger is a mistake or an attack on the parser.
MAX_CONFIG_BYTES = 1 << 20
# Names become file names of goldens and parts of pytest ids.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
# Instruction sets that decide which int8 kernels run, under the names that /proc/cpuinfo and sysctl give them.
INSTRUCTION_SETS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimd", "asimddp", "i8mm", "sve"
)  # fmt: skip
DEFAULT = "default"


# Ends what is said of a search where nothing is held out for it.
NO_SEARCH_POOL = (
    "no sample is held out to search on, and the test split is for reporting; set workload.data.search_pool to the "
    "number of training samples to hold out, such as 2000, and train again"
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Component(BaseModel):
    """A registered name with the parameters that its factory takes: `{name: cifar_cnn, width: 0.5}`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def params(self) -> dict[str, Any]:
        """Everything beside the name."""
        return dict(self.model_extra or {})


class DataConfig(Component):
    """A data set and how many of its training samples are set aside, unseen by training.

    Attributes:
        calibration_pool: samples that calibration draws from; beyond about 1,024 there is little to gain.
        search_pool: samples on which choices are made: the best epoch of a training, when to stop it, bit widths.
    """

    calibration_pool: PositiveInt = 1024
    search_pool: Annotated[int, Field(ge=0, strict=True)] = 0


class LatencyConfig(_Strict):
    """How forward time is measured.

    Attributes:
        batch_size: samples in one timed forward.
        threads: intra-operator threads, pinned for the measurement.
        rounds: interleaved fp32/int8 pairs before the first look at them.
        looks: planned; each needs twice the rounds of the one before, and is taken only if that one did not decide.
        budget_s: seconds after which no further look is begun; the first is always reached.
    """

    batch_size: PositiveInt = 32
    threads: PositiveInt = 1
    # With fewer than 12 pairs even their whole range is no interval for their median at the level of six looks.
    rounds: Annotated[int, Field(ge=12, le=10_000, strict=True)] = 40
    looks: Annotated[int, Field(ge=1, le=6, strict=True)] = 4
    budget_s: Annotated[float, Field(gt=0)] = 6.0


class RegressionConfig(_Strict):
    """How much worse than what was accepted an experiment may be.

    Attributes:
        accuracy_pp: accuracy lost on the same samples, percentage points.
        speedup: share of the accepted speed-up that is lost: 0.1 where 3.6× is left of 4×.
    """

    accuracy_pp: Annotated[float, Field(ge=0, le=100)] = 0.5
    speedup: Annotated[float, Field(ge=0, lt=1)] = 0.1


class WorkloadConfig(_Strict):
    """A model, its data, its baseline and how that was trained.

    Attributes:
        baseline: name of the committed weights under `golden/baselines/`.
        training: how `quantbench train` makes the baseline; not needed for weights that were adopted.
        data_note: what a reader of the card should know of the data, such as its encoding.
    """

    model: Component
    data: DataConfig
    baseline: Name
    data_note: str = ""
    training: TrainingConfig | None = None
    latency: LatencyConfig = LatencyConfig()
    regression: RegressionConfig = RegressionConfig()


def _by_isa(bound: Any) -> Any:
    """One number is a bound for every processor."""
    return bound if isinstance(bound, dict) else {DEFAULT: bound}


def _check_instruction_sets(bounds: dict[str, float]) -> dict[str, float]:
    known = [DEFAULT, *INSTRUCTION_SETS]
    wrong = [unknown_name("instruction set", name, known) for name in bounds if name not in known]
    if not wrong and DEFAULT not in bounds:
        wrong = [f"a bound for each instruction set needs one for all others: add '{DEFAULT}'"]
    if wrong:
        raise PydanticCustomError("instruction_sets", "{wrong}", {"wrong": wrong[0]})
    return bounds


# Not a union with a number, of which a mistake would be told once for each of its members.
SpeedupBounds = Annotated[
    dict[str, Annotated[float, Field(gt=0)]], BeforeValidator(_by_isa), AfterValidator(_check_instruction_sets)
]


class Gates(_Strict):
    """Bounds on measured quantities; a quantity without a bound is shown and not judged.

    Attributes:
        accuracy_drop_pp: largest accepted drop against the baseline, percentage points on the same samples.
        block_drop_pp: the same for an experiment that quantizes some blocks of its model, judged by the claim about
            their sensitivity.
        size_ratio: smallest accepted fp32 bytes / int8 bytes of the saved files.
        speedup: smallest accepted median of fp32 time / int8 time over interleaved pairs; one number, or one for each
            instruction set and a `default`: a machine is held to the highest of those that it has.
        int8_share: smallest accepted share of multiply-accumulates that ran as int8 kernels.
        memory_ratio: smallest accepted fp32 bytes / int8 bytes at the peak of one forward.
        card_drift_pp: for the baseline: largest accepted distance of its accuracy from its card's, percentage points.
        search_drop_pp: for an experiment with a `search`: largest accepted drop of what that finds, on the test
            split against all layers at their high width, percentage points.
    """

    accuracy_drop_pp: Annotated[float, Field(ge=-100, le=100)] | None = None
    block_drop_pp: Annotated[float, Field(ge=-100, le=100)] | None = None
    size_ratio: Annotated[float, Field(gt=0)] | None = None
    speedup: SpeedupBounds | None = None
    int8_share: Annotated[float, Field(ge=0, le=1)] | None = None
    memory_ratio: Annotated[float, Field(gt=0)] | None = None
    card_drift_pp: Annotated[float, Field(ge=0)] | None = None
    search_drop_pp: Annotated[float, Field(ge=-100, le=100)] | None = None

    def bound(self, gate: str, isa: Sequence[str]) -> float | None:
        """The bound of a gate on a machine with these instruction sets, or None where the gate is not set."""
        bound: float | dict[str, float] | None = getattr(self, gate)
        if not isinstance(bound, dict):
            return bound
        own = [value for name, value in bound.items() if name in isa]
        return max(own, default=bound[DEFAULT])


class SearchConfig(_Strict):
    """A search for mixed precision whose outcome is accepted as a golden.

    Attributes:
        low: width that layers are tried at; their own is the high one.
        epsilon_pp: total drop against all layers high that is accepted on the search split, percentage points.
    """

    low: Annotated[int, Field(ge=2, le=8, strict=True)]
    epsilon_pp: Annotated[float, Field(ge=0, le=100)] = 1.0


class ExperimentConfig(_Strict):
    """One recipe through one backend, with its gates, and the search that is made of its layers' widths, if any."""

    recipe: Component
    backend: str = "eager"
    gates: Gates = Gates()
    search: SearchConfig | None = None


class _File(_Strict):
    workload: WorkloadConfig
    experiments: Annotated[dict[Name, ExperimentConfig], Field(min_length=1)]


@dataclass(frozen=True)
class Workload:
    """A workload file that was read and checked."""

    name: str
    path: Path
    config: WorkloadConfig

    def where(self, key: str) -> str:
        """The place of a key for messages: `configs/a.yaml: workload.model`."""
        return f"{self.path}: workload.{key}"


@dataclass(frozen=True)
class Experiment:
    """One experiment of a workload; `id` is the pytest parameter, the golden's path and the record's key."""

    workload: Workload
    name: str
    config: ExperimentConfig
    place: str = ""

    @property
    def id(self) -> str:
        """`<workload>/<experiment>`."""
        return f"{self.workload.name}/{self.name}"

    def where(self, key: str) -> str:
        """The place of a key for messages; `place` stands for an experiment that is in no file."""
        return f"{self.place}: {key}" if self.place else f"{self.workload.path}: experiments.{self.name}.{key}"

    def recipe(self) -> Any:
        """The recipe, its parameters checked."""
        return RECIPES.create(self.config.recipe.name, self.where("recipe"), self.config.recipe.params)


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, which PyYAML would silently resolve to the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is not plain text", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_workload(path: Path) -> list[Experiment]:
    """Reads one workload file.

    Raises:
        ConfigError: naming the file, the key, what is allowed; all mistakes of the file at once.
    """
    if re.fullmatch(NAME_PATTERN, path.stem) is None:
        raise ConfigError(f"{path}: the file's name is the workload's; use letters, digits, '_', '-' and '.' only")
    parsed = read_yaml(path, "a workload file")
    try:
        file = _File.model_validate(parsed)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_explain_unknown_keys(line) for line in validation_lines(error, str(path)))
        ) from None
    workload = Workload(path.stem, path, file.workload)
    experiments = [Experiment(workload, name, config) for name, config in file.experiments.items()]
    MODELS.check(file.workload.model.name, workload.where("model.name"))
    data = file.workload.data
    DATA.create(data.name, workload.where("data"), data.params, beside=DataConfig.model_fields)
    check_patience(file.workload.training, data, workload.where("training"))
    for experiment in experiments:
        BACKENDS.check(experiment.config.backend, experiment.where("backend"))
        check_backend(experiment)
        check_search(experiment)
    return experiments


def check_backend(experiment: Experiment) -> None:
    """Refuses a recipe through a backend of ours that does not run its kind; of a user's own nothing is known.

    Raises:
        ConfigError: naming the backend that does.
    """
    needed, given = getattr(experiment.recipe(), "backend", None), experiment.config.backend
    if needed is not None and given != needed and ":" not in given:
        raise ConfigError(
            f"{experiment.where('backend')}: backend '{given}' does not run recipe '{experiment.config.recipe.name}'; "
            f"set backend: {needed}"
        )


def check_search(experiment: Experiment) -> None:
    """Refuses a search without samples of its own, and a bound on one that is not asked for.

    Raises:
        ConfigError: naming the setting that is missing.
    """
    config, data = experiment.config, experiment.workload.config.data
    if config.search is not None and data.search_pool == 0:
        raise ConfigError(f"{experiment.where('search')}: {NO_SEARCH_POOL}")
    if config.search is None and config.gates.search_drop_pp is not None:
        raise ConfigError(
            f"{experiment.where('gates.search_drop_pp')}: a bound on what a search finds, but none is asked for; add "
            "search: {low: …, epsilon_pp: …} to the experiment, or remove the bound"
        )


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
    """Every experiment of every `*.yaml` in a folder, in file order.

    Raises:
        ConfigError: if the folder holds no workload file, or any of them is wrong.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ConfigError(f"{folder}: no workload file (*.yaml) here; name the folder with --configs")
    return [experiment for file in files for experiment in load_workload(file)]


def select(experiments: list[Experiment], pattern: str) -> list[Experiment]:
    """The experiments whose id matches an exact id or a glob.

    Raises:
        ConfigError: if none matches.
    """
    chosen = [experiment for experiment in experiments if fnmatch.fnmatchcase(experiment.id, pattern)]
    if not chosen:
        raise ConfigError(unknown_name("experiment", pattern, [experiment.id for experiment in experiments]))
    return chosen


def find_workload(name_or_path: str, folder: Path) -> Workload:
    """The workload named by a file path or by the name of a file in the folder.

    Raises:
        ConfigError: if there is no such workload.
    """
    path = Path(name_or_path)
    if path.suffix != ".yaml":
        path = folder / f"{name_or_path}.yaml"
        if not path.is_file():
            known = sorted(file.stem for file in folder.glob("*.yaml"))
            raise ConfigError(f"{folder}: {unknown_name('workload', name_or_path, known)}")
    return load_workload(path)[0].workload


def with_recipe(workload: Workload, recipe: str, params: dict[str, Any]) -> Experiment:
    """The workload's own experiment of that name or of that recipe with these parameters, or one made up without gates.

    Raises:
        ConfigError: if there is no such recipe or parameter, or several experiments of the workload have the recipe.
    """
    experiments = load_workload(workload.path)
    place = f"--config {recipe}"
    for experiment in experiments:
        if experiment.name == recipe:
            if not params:
                return experiment
            own = experiment.config.recipe
            return _made_up(workload, recipe, Component(name=own.name, **{**own.params, **params}), place)
    RECIPES.check(recipe, "--config")
    alike = []
    for experiment in experiments:
        own = experiment.config.recipe
        if own.name == recipe and RECIPES.create(recipe, "--config", {**own.params, **params}) == experiment.recipe():
            alike.append(experiment)
    if len(alike) > 1:
        names = ", ".join(experiment.name for experiment in alike)
        raise ConfigError(
            f"--config {recipe}: several experiments of {workload.path} use it; name one of them: {names}"
        )
    if alike:
        return alike[0]
    return _made_up(workload, recipe, Component(name=recipe, **params), place)


def _made_up(workload: Workload, name: str, recipe: Component, place: str) -> Experiment:
    made = RECIPES.create(recipe.name, place, recipe.params)
    backend = getattr(made, "backend", None) or ExperimentConfig.model_fields["backend"].default
    return Experiment(workload, name, ExperimentConfig(recipe=recipe, backend=backend), place)


def read_yaml(path: Path, what: str) -> Any:
    """What a YAML file holds, every key given once.

    Args:
        path: the file.
        what: it should be, for messages: `a workload file`.

    Raises:
        ConfigError: if it cannot be read, is no YAML, or is far larger or deeper than it should be.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; {what} is a page of text")
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 — a SafeLoader
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
        raise ConfigError(f"{path}: {place}not valid YAML: {problem}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # PyYAML's constructors of dates, numbers and tagged values let these through.
        raise ConfigError(f"{path}: not valid YAML: a value cannot be read: {error}") from None


_KEYS: dict[str, type[BaseModel]] = {
    "search": SearchConfig,
    "workload": WorkloadConfig,
    "workload.training": TrainingConfig,
    "workload.latency": LatencyConfig,
    "workload.regression": RegressionConfig,
    "gates": Gates,
}


def _explain_unknown_keys(line: str) -> str:
    """Turns pydantic's 'Extra inputs are not permitted' into our words, with the nearest key that exists."""
    if "Extra inputs are not permitted" not in line:
        return line
    file, place, _ = line.split(": ", 2)
    parent, _, key = place.rpartition(".")
    model = _KEYS.get(parent) or _KEYS.get(parent.rpartition(".")[2])
    if model is None:
        model = ExperimentConfig if parent.startswith("experiments.") else _File
    return f"{file}: {parent + ': ' if parent else ''}{unknown_name('key', key, sorted(model.model_fields))}"
