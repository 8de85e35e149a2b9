"""`configs/ablations/<name>.yaml`: a workload, and the rows of a table of trainings that differ in some settings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quantbench.config.reading import check_patience, read_yaml
from quantbench.config.schema import Name, Strict, Workload
from quantbench.config.selection import find_workload
from quantbench.config.training import TrainingConfig
from quantbench.errors import ConfigError
from quantbench.registry import unknown_name, validation_lines

FOLDER = "ablations"


class AblationRow(BaseModel):
    """A training key and its value for each change, and what the source published for it.

    Attributes:
        published: accuracy, per cent.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    published: Annotated[float, Field(ge=0, le=100)] | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """The training keys."""
        return dict(self.model_extra or {})


class AblationFile(Strict):
    """An ablation file as it stands.

    Attributes:
        workload: name of one, or its file.
        published: what the published figures are of.
        training: keys that all rows share.
        rows: by name; the first is the one that the others are compared with.
    """

    workload: str
    published: str = ""
    training: dict[str, Any] = Field(default_factory=dict)
    rows: Annotated[dict[Name, AblationRow], Field(min_length=2)]


@dataclass(frozen=True)
class Row:
    """One training of an ablation.

    Attributes:
        name: of the row.
        training: all settings.
        changes: those in which it differs from the workload's, apart from what all rows share.
        published: accuracy that the source gives, per cent.
    """

    name: str
    training: TrainingConfig
    changes: dict[str, Any]
    published: float | None


@dataclass(frozen=True)
class Ablation:
    """An ablation file that was read and checked.

    Attributes:
        path: of the file; its stem is the ablation's name.
        workload: whose model is trained on whose data.
        rows: in file order; the first is the one that the others are compared with.
        published: what the published figures are of.
    """

    path: Path
    workload: Workload
    rows: tuple[Row, ...]
    published: str

    @property
    def name(self) -> str:
        """The file's."""
        return self.path.stem


def find_ablation(name_or_path: str, configs: Path) -> Ablation:
    """The ablation of a file, or of the name of one in the folder `ablations` of the workload files.

    Raises:
        ConfigError: if there is none, or anything in it is wrong, one line per mistake.
    """
    path = Path(name_or_path)
    if path.suffix != ".yaml":
        path = configs / FOLDER / f"{name_or_path}.yaml"
        # Whatever else has that name is told by the reader.
        if not os.path.lexists(path):
            known = sorted(file.stem for file in path.parent.glob("*.yaml"))
            raise ConfigError(f"{path.parent}: {unknown_name('ablation', name_or_path, known)}")
    parsed = read_yaml(path, "an ablation file")
    try:
        file = AblationFile.model_validate(parsed)
    except ValidationError as error:
        raise ConfigError("\n".join(_lines(error, path, "", sorted(AblationFile.model_fields)))) from None
    try:
        workload = find_workload(file.workload, configs)
    except ConfigError as error:
        raise ConfigError(f"{path}: workload: {error}") from None
    base = workload.config.training
    if base is None:
        raise ConfigError(f"{path}: {workload.where('training')}: missing; the rows change it, so it must be there")
    shared = _changed(base, file.training, f"{path}: training", list(TrainingConfig.model_fields))
    keys = [*TrainingConfig.model_fields, "published"]
    rows = [
        Row(name, _changed(shared, row.changes, f"{path}: rows.{name}", keys), row.changes, row.published)
        for name, row in file.rows.items()
    ]
    for row in rows:
        check_patience(row.training, workload.config.data, f"{path}: rows.{row.name}")
    _refuse_twins(rows, path)
    return Ablation(path, workload, tuple(rows), file.published)


def _changed(base: TrainingConfig, changes: dict[str, Any], where: str, keys: list[str]) -> TrainingConfig:
    try:
        return base.changed(changes)
    except ValidationError as error:
        raise ConfigError("\n".join(_lines(error, where, ".", sorted(keys)))) from None


def _refuse_twins(rows: list[Row], path: Path) -> None:
    """Two rows that are the same training would show a difference of exactly nothing, at twice the cost."""
    seen: dict[str, str] = {}
    for row in rows:
        described = repr(row.training.described())
        if described in seen:
            raise ConfigError(
                f"{path}: rows.{row.name}: trains exactly as row '{seen[described]}'; change a setting, or remove one"
            )
        seen[described] = row.name


def _lines(error: ValidationError, where: str | Path, joint: str, keys: list[str]) -> list[str]:
    """One line per mistake; an unknown key's says which keys there are."""
    lines = validation_lines(error, str(where), joint or ": ")
    for i, item in enumerate(error.errors(include_url=False)):
        if item["type"] == "extra_forbidden":
            key = str(item["loc"][-1])
            lines[i] = f"{where}: {unknown_name('key', key, keys)}"
    return lines
