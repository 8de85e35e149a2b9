"""A search that somebody published, to be set beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from quantbench.config.reading import read_yaml
from quantbench.errors import ConfigError
from quantbench.registry import validation_lines


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PublishedDecision(_Strict):
    """One layer tried on top of those accepted.

    Attributes:
        layer: its number, from 0.
        drop_pp: total drop, percentage points.
    """

    layer: Annotated[int, Field(ge=0)]
    drop_pp: float
    accepted: bool


class PublishedSearch(_Strict):
    """A published search.

    Attributes:
        what: its model, data and way, for the caption.
        experiments: ours that it is set beside.
        accuracy: with all layers high, per cent.
        epsilon_pp: total drop that was accepted, percentage points.
        sensitivities_pp: drop of each layer alone at its low width, percentage points, in the order of the layers.
        decisions: in the order of the search.
        bits: what was found, in the order of the layers.
        passes: over all samples that it took.
    """

    what: str
    experiments: Annotated[tuple[str, ...], Field(min_length=1)]
    accuracy: float
    epsilon_pp: float
    sensitivities_pp: Annotated[tuple[float, ...], Field(min_length=1)]
    decisions: tuple[PublishedDecision, ...]
    bits: tuple[int, ...]
    passes: int

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        k = len(self.sensitivities_pp)
        if len(self.bits) != k or sorted(each.layer for each in self.decisions) != list(range(k)):
            raise ValueError(
                f"{k} sensitivities, {len(self.bits)} bits and {len(self.decisions)} decisions; each layer has one of "
                "each"
            )
        return self


def read_published_search(path: Path, experiment: str, layers: int) -> PublishedSearch:
    """Reads a file of a published search that an experiment is to be set beside.

    Args:
        path: the file.
        experiment: id of ours.
        layers: how many of its layers are tried.

    Raises:
        ConfigError: if the file is missing or not what is expected, or is no counterpart of the experiment.
    """
    parsed = read_yaml(path, "a file of a published search")
    try:
        found = PublishedSearch.model_validate(parsed)
    except ValidationError as error:
        raise ConfigError("\n".join(validation_lines(error, str(path)))) from None
    if experiment not in found.experiments:
        raise ConfigError(
            f"{path}: is set beside {', '.join(found.experiments)}, not {experiment}; add it, or leave it out"
        )
    if len(found.bits) != layers:
        raise ConfigError(
            f"{path}: is of {len(found.bits)} layers, but of {experiment} {layers} are tried; leave out --layer, or "
            "--published"
        )
    return found
