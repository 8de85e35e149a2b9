"""Workloads and experiments as `configs/<workload>.yaml` describes them: typed, strict, immutable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from quantbench.config.component import Component, NamedComponent, OptionalComponent
from quantbench.config.file_formats import backend_of_file
from quantbench.config.instruction_sets import DEFAULT, bound_on
from quantbench.config.parity import with_twin
from quantbench.config.training import PositiveInt, TrainingConfig
from quantbench.recipes.lowering import ON_REQUEST, RUNTIMES
from quantbench.recipes.spec import Recipe
from quantbench.registry import QUANTITIES, RECIPES, unknown_name

# Names become file names of goldens and parts of pytest ids.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
DEFAULT_BACKEND = Component(name="eager")
# The recipe of candidates that are files made elsewhere.
READY_MADE = "ready_made"
# The recipe of candidates that the user's own function makes, and the backend of the modules that it returns.
FUNCTION = "function"
FUNCTION_BACKEND = TORCH_BACKEND = Component(name="torch")
# Ends what is said of a search where nothing is held out for it.
NO_SEARCH_POOL = (
    "no sample is held out to search on, and the test split is for reporting; set workload.data.search_pool to the "
    "number of training samples to hold out, such as 2000, and train again"
)


class Strict(BaseModel):
    """A part of a file: unknown keys, NaN and infinity are refused, and truth values where a number belongs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, given: Any, info: ValidationInfo) -> Any:
        # In YAML `no` and `off` are False, which is 0 where a number is asked for: a bound that everything reaches.
        inner = given.values() if isinstance(given, dict) else (given,)
        if any(isinstance(each, bool) for each in inner):
            kinds = _kinds(cls.model_fields[str(info.field_name)].annotation)
            if kinds & {int, float} and bool not in kinds:
                raise PydanticCustomError("number", "Input should be a number, not true or false (yes, no, on, off)")
        return given


def _kinds(annotation: Any) -> set[Any]:
    """The plain types that an annotation is made of."""
    inner = [each for each in get_args(annotation) if isinstance(each, type) or get_args(each)]
    return {kind for each in inner for kind in _kinds(each)} if inner else {annotation}


class DataConfig(Component):
    """A data set and how many of its training samples are set aside, unseen by training.

    Attributes:
        calibration_pool: samples that calibration draws from; beyond about 1,024 there is little to gain.
        search_pool: samples on which choices are made: the best epoch of a training, when to stop it, bit widths.
        classes: names in the order of the model's outputs; where it is empty, in the order of the data set, which is
            that of their names for folders. May name classes of which there is no sample.
        cache: keep decoded samples in the cache; `off` decodes them anew in each pass.
    """

    calibration_pool: PositiveInt = 1024
    search_pool: Annotated[int, Field(ge=0, strict=True)] = 0
    # Where it is not given it goes without saying, as it did when hashes of the configuration were accepted.
    classes: Annotated[tuple[str, ...], Field(exclude_if=lambda names: not names)] = ()
    cache: Annotated[bool, Field(exclude_if=lambda kept: kept)] = True


def _check_runtimes(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for name in names or ():
        if name not in (known := [*RUNTIMES, *ON_REQUEST]):
            raise PydanticCustomError("runtime", "{wrong}", {"wrong": unknown_name("runtime", name, known)})
    return names


class LatencyConfig(Strict):
    """Settings of the measurement of forward time.

    Attributes:
        batch_size: samples in one timed forward.
        threads: intra-operator threads, pinned for the measurement.
        rounds: interleaved fp32/int8 pairs before the first look at them.
        looks: planned; each needs twice the rounds of the one before, and is taken only if that one did not decide.
        budget_s: seconds after which no further look is begun; the first is always reached.
        wait_s: seconds within which a measurement that a busy machine made worthless is made again.
        runtimes: whose fp32 form is timed too, beside the reference's own; all that are installed where none is named.
    """

    batch_size: PositiveInt = 32
    threads: PositiveInt = 1
    # With fewer than 12 pairs even their whole range is no interval for their median at the level of six looks.
    rounds: Annotated[int, Field(ge=12, le=10_000, strict=True)] = 20
    looks: Annotated[int, Field(ge=1, le=6, strict=True)] = 5
    budget_s: Annotated[float, Field(gt=0)] = 6.0
    wait_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    runtimes: Annotated[tuple[str, ...] | None, AfterValidator(_check_runtimes)] = None


class EvaluationConfig(Strict):
    """Settings of the measurement of accuracy.

    Attributes:
        batch_size: samples of one forward. Small, so that allocators which cannot be told to keep memory still reuse it
            from batch to batch. Models that quantize activations batch by batch, as dynamic int8 does, answer
            otherwise in batches of another size.
        clusters: resample whole groups of samples for scores that are not 0 and 1; by default where there are groups.
        sequential: look at samples in random order and stop once every gate is decided; by default of a test set of
            more than 20,000 samples.
    """

    batch_size: PositiveInt = 64
    clusters: Annotated[bool | None, Field(strict=True, exclude_if=lambda asked: asked is None)] = None
    sequential: Annotated[bool | None, Field(strict=True, exclude_if=lambda asked: asked is None)] = None


class RegressionConfig(Strict):
    """Tolerances of an experiment against what was accepted.

    Attributes:
        accuracy_pp: accuracy lost on the same samples, percentage points.
        score: loss of the figure of another task, in its unit; where it is not given, it follows from the task.
        speedup: share of the accepted speed-up that is lost: 0.1 where 3.6× is left of 4×.
    """

    accuracy_pp: Annotated[float, Field(ge=0, le=100)] = 0.5
    speedup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    score: Annotated[float | None, Field(ge=0)] = None


class ReferenceConfig(Strict):
    """A file that everything is compared with, made elsewhere and loaded as it is.

    Attributes:
        path: of the file; a relative one begins at the workload file.
        model: the factory of its structure, of a file that is a state dict; such a reference has no card.
        backend: that loads it, with its parameters; found by the file's suffix where it is not given.
        accept_accuracy: compare with it although its accuracy is not surely more than that of giving every sample one
            class; such a reference says nothing of a candidate, so that it is refused otherwise.
    """

    path: Annotated[str, StringConstraints(min_length=1)]
    model: OptionalComponent = None
    backend: OptionalComponent = None
    accept_accuracy: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _one_loader(self) -> ReferenceConfig:
        """Refuses a backend beside a factory, whose module torch runs."""
        if self.model is not None and self.backend is not None:
            raise PydanticCustomError(
                "reference", "'backend' does not go with 'model', which torch runs as it is written; remove one of them"
            )
        return self


class WorkloadConfig(Strict):
    """A model with its committed weights, or a file that holds both; its data, its task and how it was trained.

    Attributes:
        model: the factory of its structure.
        data: the data set, with what is set aside of its training side.
        task: how outputs and targets make a score.
        baseline: name of the committed weights under `golden/baselines/`.
        reference: the file, in the place of `model` and `baseline`.
        training: how `quantbench train` makes the baseline; not needed for weights that were adopted.
        evaluation: how accuracy is measured.
        latency: how speed is measured.
        regression: by how much an experiment may be worse than what was accepted of it.
        data_note: what a reader of the card should know of the data, such as its encoding.
        licence: of the weights, for the card of what is exported.
        optional: a run goes on where its data is absent; otherwise that is an error, and in CI always.
    """

    model: Component | None = None
    data: DataConfig
    task: NamedComponent = Component(name="top1")
    baseline: Name | None = None
    reference: ReferenceConfig | None = None
    data_note: str = ""
    licence: str = ""
    optional: Annotated[bool, Field(strict=True)] = False
    training: TrainingConfig | None = None
    evaluation: EvaluationConfig = EvaluationConfig()
    latency: LatencyConfig = LatencyConfig()
    regression: RegressionConfig = RegressionConfig()

    @model_validator(mode="after")
    def _one_reference(self) -> WorkloadConfig:
        """Refuses two references, none, and half of one."""
        weights = {"model": self.model, "baseline": self.baseline}
        if self.reference is None and (missing := [name for name, value in weights.items() if value is None]):
            raise PydanticCustomError(
                "reference",
                "'{missing}' is missing; name a model with its committed weights (model and baseline), or a file that "
                "holds both (reference: {path: model.onnx})",
                {"missing": missing[0]},
            )
        given = [name for name, value in {**weights, "training": self.training}.items() if value is not None]
        if self.reference is not None and given:
            raise PydanticCustomError(
                "reference",
                "'{given}' does not go with 'reference', which is a whole model; remove one of them (the factory of a "
                "state dict is reference.model)",
                {"given": given[0]},
            )
        return self


class Gates(BaseModel):
    """Bounds on measured quantities; a quantity without a bound is shown and not judged.

    One key for each quantity of the table that takes a bound, checked by that quantity's annotation.

    Example:
        >>> gates = Gates(size_ratio=3.5, speedup={"default": 1.5, "avx512_vnni": 2})
        >>> gates.bound("speedup", ("avx2", "avx512_vnni"))
        2.0
        >>> gates.bound("int8_share", ()) is None
        True
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _checked(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return _bounds_model(tuple(gate_bounds().items())).model_validate(given).model_dump(exclude_none=True)

    @property
    def bounds(self) -> dict[str, Any]:
        """Gate → its bound, of those that are set."""
        return dict(self.model_extra or {})

    def bound(self, gate: str, isa: Sequence[str]) -> Any:
        """The bound of a gate on a machine with these instruction sets, or None where the gate is not set."""
        bound = self.bounds.get(gate)
        return bound_on(bound, isa) if isinstance(bound, dict) and DEFAULT in bound else bound


def gate_bounds() -> dict[str, Any]:
    """Gate → annotation of its bound, for each quantity of the table that takes one."""
    return {each.name: each.bound for each in QUANTITIES.all() if each.bound is not None}


@cache
def _bounds_model(bounds: tuple[tuple[str, Any], ...]) -> type[BaseModel]:
    fields: dict[str, Any] = {gate: (annotation | None, None) for gate, annotation in bounds}
    return create_model("Gates", __base__=Strict, **fields)


class SearchConfig(Strict):
    """A search for mixed precision whose outcome is accepted as a golden.

    Attributes:
        low: width that layers are tried at; their own is the high one.
        epsilon_pp: total drop against all layers high that is accepted on the search split, percentage points.
    """

    low: Annotated[int, Field(ge=2, le=8, strict=True)]
    epsilon_pp: Annotated[float, Field(ge=0, le=100)] = 1.0


class ExperimentConfig(Strict):
    """One recipe through one backend, with its gates, and the search that is made of its layers' widths, if any.

    Attributes:
        recipe: what to quantize and how, with its parameters.
        parity_with: the other experiment of the gate `parity_pp`.
        backend: that quantizes and runs; where none is given, the first that runs such recipes, or loads such a file.
        gates: bounds on what is measured.
        search: which layers can do with fewer bits.
    """

    recipe: Component
    # The other experiment of the gate `parity_pp`.
    parity_with: Name | None = None
    # Where none is given, the first that runs such recipes, or loads such a file: see `Experiment.backend`.
    backend: OptionalComponent = None
    # Made when it is needed: the table of quantities imports modules that may import this one.
    gates: Gates = Field(default_factory=Gates)
    search: SearchConfig | None = None

    _twin = model_validator(mode="before")(with_twin)


class WorkloadFile(Strict):
    """A workload and its experiments, by name."""

    workload: WorkloadConfig
    experiments: Annotated[dict[Name, ExperimentConfig], Field(min_length=1)]


@dataclass(frozen=True)
class Workload:
    """A workload file that was read and checked.

    Attributes:
        name: of the file, without its suffix.
        path: of the file.
        config: its content.
        is_saved: the file is there; else the command line alone describes the workload.
        guessed: parameters of the data that nobody gave, and that may be wrong.
    """

    name: str
    path: Path
    config: WorkloadConfig
    is_saved: bool = True
    guessed: tuple[str, ...] = ()

    def where(self, key: str) -> str:
        """The place of a key for messages: `configs/a.yaml: workload.model`."""
        return f"{self.place}: workload.{key}"

    @property
    def place(self) -> str:
        """The file for messages; of a workload that the command line alone describes, its name."""
        return str(self.path) if self.is_saved else f"{self.name} (as the command line says, in no file)"


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
        return f"{self.place}: {key}" if self.place else f"{self.workload.place}: experiments.{self.name}.{key}"

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, its parameters checked.

        Raises:
            ConfigError: one line per parameter that is unknown, of a wrong type or out of range.
        """
        return RECIPES.create(self.config.recipe.name, self.where("recipe"), self.config.recipe.params)

    @property
    def backend(self) -> Component:
        """The backend that is configured, or else the one that loads the recipe's file, or the file that is compared.

        Of a function that is given a module it is the one for modules.

        Raises:
            ConfigError: if no backend is known for the file.
        """
        if self.config.backend is not None:
            return self.config.backend
        if self.config.recipe.name == READY_MADE and isinstance(path := self.config.recipe.params.get("path"), str):
            return Component(name=backend_of_file(path, self.where("recipe.path")))
        if (reference := self.workload.config.reference) is not None and reference.model is None:
            return reference_backend(self.workload)
        return FUNCTION_BACKEND if self.config.recipe.name == FUNCTION else DEFAULT_BACKEND


def reference_backend(workload: Workload) -> Component:
    """The backend that loads a workload's reference, of one that is a file.

    Raises:
        ConfigError: if no backend is known for the file.
    """
    reference = workload.config.reference
    if reference is None:
        return DEFAULT_BACKEND
    if reference.model is not None:
        return TORCH_BACKEND
    return reference.backend or Component(name=backend_of_file(reference.path, workload.where("reference.path")))
