"""The record of one run: everything that was measured of an experiment, as checked JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from quantbench.config.schema import NAME_PATTERN
from quantbench.foreign import calling
from quantbench.recipes.translation import QuantityName, RecipeName, neutral
from quantbench.records.against import Base, SinceBase
from quantbench.records.base import Environment, Part, Record
from quantbench.records.judged import Judged
from quantbench.records.parts import Accuracy, CheckpointFacts, Counted, CoverageFacts, Latency, Memory, Size, Work
from quantbench.records.scores import Score
from quantbench.registry import QUANTITIES
from quantbench.stats.regression import Change
from quantbench.stats.verdicts import Outcome, Verdict

__all__ = [
    "OLDER_VERSIONS",
    "SCHEMA_VERSION",
    "Accuracy",
    "CheckpointFacts",
    "Counted",
    "CoverageFacts",
    "Latency",
    "Memory",
    "NotRun",
    "RecordFile",
    "RunRecord",
    "Score",
    "Size",
    "VerdictRecord",
    "Work",
    "part_models",
]

# Of files of records; raised with every change of their fields.
SCHEMA_VERSION = 4
# Read too: what was added since then may be absent. 4 added `classes` and warnings.
OLDER_VERSIONS = (3,)
# Parts in the order in which files of that version hold them; those of other quantities follow.
WRITTEN_FIRST = ("accuracy", "size", "checkpoint", "coverage", "latency", "memory", "classes")

# Of a workload and of an experiment, which are names of files.
NAME = NAME_PATTERN.strip("^$")

P = TypeVar("P", bound=Part)


class VerdictRecord(Record):
    """One judged claim.

    Attributes:
        change: IMPROVED, SAME, REGRESSED or INCONCLUSIVE, where the claim compares with what was accepted.
        warning: what else was noticed, although it decided nothing.
        figures: behind the words; absent where there are none, and in records of before they were noted.
        blame: the layer that is responsible, and why; written only where it was looked for.
    """

    quantity: QuantityName
    outcome: str
    measured: str
    requirement: str
    change: str | None = None
    warning: str | None = None
    figures: Annotated[Judged | None, Field(exclude_if=lambda figures: figures is None)] = None
    blame: str | None = Field(default=None, exclude_if=lambda value: value is None)

    def impossible(self) -> str | None:
        """A word that is no verdict."""
        if self.outcome not in set(Outcome):
            return f"a verdict on {self.quantity} whose outcome is {self.outcome!r:.40}"
        if self.change is not None and self.change not in set(Change):
            return f"a verdict on {self.quantity} whose change is {self.change!r:.40}"
        words = self.figures.impossible() if self.figures else None
        return f"a verdict on {self.quantity} of {words}" if words else None

    @classmethod
    def of(cls, verdict: Verdict) -> VerdictRecord:
        """A verdict as it is written."""
        return cls(
            quantity=verdict.quantity,
            outcome=verdict.outcome,
            measured=verdict.measured,
            requirement=verdict.requirement,
            change=verdict.change,
            warning=verdict.warning or None,
            figures=Judged.of(verdict),
            blame=verdict.blame or None,
        )


class RunRecord(Record):
    """Everything one run measured of one experiment.

    Beside these facts it holds one part for each quantity of the table that has a `record`, under the quantity's
    `part`; one that was not asked for is None. In JSON all of them are keys of one object. `compile_s` are the seconds
    that the candidate took to compile, which no forward counts; left out where nothing is compiled. `since_base` is
    left out where the run was measured against no other revision.
    """

    model_config = ConfigDict(extra="allow")

    experiment: str
    recipe_name: RecipeName
    recipe: Annotated[dict[str, Any], AfterValidator(neutral)]
    backend: str
    engine: str
    threads: int
    environment: Environment
    data_name: str
    data_note: str
    test_sha256: str
    baseline_sha256: str
    command: str
    compile_s: Annotated[float, Field(ge=0)] | None = Field(default=None, exclude_if=lambda seconds: seconds is None)
    since_base: SinceBase | None = Field(default=None, exclude_if=lambda since: since is None)
    verdicts: list[VerdictRecord] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _with_parts(cls, given: Any) -> Any:
        """Checks each part against the model of its quantity; a part of no installed quantity is refused by name."""
        if not isinstance(given, Mapping):
            return given
        facts = {key: value for key, value in given.items() if key in cls.model_fields}
        parts = {key: value for key, value in given.items() if key not in cls.model_fields and value is not None}
        models = part_models()
        if unknown := [_unknown(part, value) for part, value in parts.items() if part not in models]:
            raise ValidationError.from_exception_data(cls.__name__, unknown)
        checked = _parts_model(tuple(models.items())).model_validate(parts)
        return facts | {part: getattr(checked, part) for part in models}

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Parts stand before the verdicts."""
        fields: dict[str, Any] = handler(self)
        fields["verdicts"] = fields.pop("verdicts")
        return fields

    def impossible(self) -> str | None:
        """A name that no experiment has, a recipe without its kind, or what a part or a verdict of it says of itself.

        Raises:
            ForeignError: if a part of somebody's own quantity raises.
        """
        if re.fullmatch(f"{NAME}/{NAME}", self.experiment) is None:
            return f"a name that no experiment can have, {self.experiment!r:.60}"
        layers = self.recipe.get("layers") or []
        is_list = isinstance(layers, list) and all(isinstance(each, str) for each in layers)
        if "kind" not in self.recipe or not is_list:
            return "a recipe without its kind, or with layers that are no list of names"
        for name, part in self.parts.items():
            with calling(f"{self.experiment}: part '{name}' of its record: impossible"):
                words = part.impossible()
            if words:
                return str(words)
        return next((words for each in self.verdicts if (words := each.impossible() or self._unmeasured(each))), None)

    def _unmeasured(self, verdict: VerdictRecord) -> str | None:
        """A gate that holds of something that was not measured."""
        if verdict.outcome != Outcome.PASS or verdict.quantity not in QUANTITIES.names():
            return None
        part = QUANTITIES.get(verdict.quantity, QUANTITIES.group).part
        if part in self.parts or part not in part_models():
            return None
        return f"a PASS on {verdict.quantity} without its part '{part}'"

    @property
    def parts(self) -> dict[str, Part]:
        """Results, by part of the record."""
        return {part: found for part, found in (self.model_extra or {}).items() if found is not None}

    @property
    def accuracy(self) -> Accuracy | None:
        """Both models on the same test samples."""
        return self._part("accuracy", Accuracy)

    @property
    def score(self) -> Score | None:
        """Scores of both models on the same test samples, of a task whose scores are not 0 and 1."""
        return self._part("score", Score)

    @property
    def size(self) -> Size | None:
        """Bytes of the saved files."""
        return self._part("size", Size)

    @property
    def checkpoint(self) -> CheckpointFacts | None:
        """The saved file, as a fresh process found it."""
        return self._part("checkpoint", CheckpointFacts)

    @property
    def coverage(self) -> CoverageFacts | None:
        """Multiply-accumulates by kernels."""
        return self._part("coverage", CoverageFacts)

    @property
    def latency(self) -> Latency | None:
        """Interleaved forwards."""
        return self._part("latency", Latency)

    @property
    def memory(self) -> Memory | None:
        """Peak resident memory of one forward."""
        return self._part("memory", Memory)

    def _part(self, name: str, model: type[P]) -> P | None:
        found = self.parts.get(name)
        return found if isinstance(found, model) else None


def part_models() -> dict[str, type[Part]]:
    """Part of a record → its model, for each quantity of the table that records what it measures."""
    models = {each.part: each.record for each in QUANTITIES.all() if each.record is not None}
    return {part: models[part] for part in sorted(models, key=lambda part: (part not in WRITTEN_FIRST, _rank(part)))}


def _rank(part: str) -> int:
    return WRITTEN_FIRST.index(part) if part in WRITTEN_FIRST else 0


def _unknown(part: str, value: Any) -> InitErrorDetails:
    message = "no installed quantity measures this part; install the distribution that does, or measure again without"
    return {"type": PydanticCustomError("unknown_part", message), "loc": (part,), "input": value}


@cache
def _parts_model(models: tuple[tuple[str, type[Part]], ...]) -> type[Record]:
    fields: dict[str, Any] = {part: (model | None, None) for part, model in models}
    return create_model("Parts", __base__=Record, **fields)


class NotRun(Record):
    """An experiment that this run could not start, with the reason and the way to run it."""

    experiment: str
    reason: str


class ExperimentError(Record):
    """An error of one experiment, of which something, or everything, could therefore not be measured."""

    experiment: str
    reason: str


class ShardFacts(Record):
    """Part of a run that one machine made.

    Attributes:
        index: of the part, from 1.
        count: of parts.
        planned: ids of the experiments of all parts, in order; those of this one are every `count`-th from `index` on.
        revision: hashes of what decides the verdicts; absent in files of before they were noted.
    """

    index: int
    count: int
    planned: list[str]
    revision: Annotated[dict[str, str], Field(exclude_if=lambda hashes: not hashes)] = Field(default_factory=dict)

    def impossible(self) -> str | None:
        """A part that is none of the parts."""
        return None if 0 < self.index <= self.count else f"shard {self.index} of {self.count}"


class RecordFile(Record):
    """File that `--json` writes.

    Attributes:
        not_run: experiments whose data was not on the machine.
        errors: of the others; absent in files of before they were noted.
        shard: which part of a run it is; absent where it is the whole.
        premises: lines about gates that are gone or looser than accepted, each of which fails the run; absent where
            there are none.
        base: the revision that the run was measured against; absent without one.
    """

    schema_version: int = SCHEMA_VERSION
    records: list[RunRecord]
    not_run: list[NotRun] = Field(default_factory=list)
    errors: list[ExperimentError] = Field(default_factory=list)
    premises: Annotated[list[str], Field(exclude_if=lambda lines: not lines)] = Field(default_factory=list)
    shard: Annotated[ShardFacts | None, Field(exclude_if=lambda shard: shard is None)] = None
    base: Annotated[Base | None, Field(exclude_if=lambda base: base is None)] = None

    def impossible(self) -> str | None:
        """An experiment with two records, of which one would be shown and the other judged."""
        ids = [record.experiment for record in self.records]
        twice = next((id_ for id_ in ids if ids.count(id_) > 1), None)
        return None if twice is None else f"two records of {twice:.60}"
