"""Base of all records: strict fields, the machine it was made on, packed bits, one reader."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quantbench.errors import ConfigError, QuantbenchError
from quantbench.files import short_name
from quantbench.registry import validation_lines
from quantbench.strict_json import JsonError, read_json_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Model = TypeVar("Model", bound=BaseModel)
# Lines of mistakes that a message shows of one file.
SHOWN_MISTAKES = 20
# Figures that are computed from others in a record agree to this share; they are written with all their digits.
TOLERANCE = 1e-9


def is_share(*values: float) -> bool:
    """True if all lie within 0..1."""
    return all(0 <= each <= 1 for each in values)


def agree(one: float, other: float, tolerance: float = TOLERANCE) -> bool:
    """True if two figures are the same but for rounding."""
    return abs(one - other) <= tolerance * max(1.0, abs(one), abs(other))


def holds(interval: tuple[float, float], estimate: float, rounding: float = TOLERANCE) -> bool:
    """True if an interval is in order and holds its estimate, but for rounding."""
    low, high = interval
    return low - rounding <= estimate <= high + rounding and low <= high


class Record(BaseModel):
    """Strict and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def impossible(self) -> str | None:
        """Value that nothing could have measured, or that contradicts another one; None without one.

        The words complete the sentence "its record has …".
        """
        return None


class Part(Record):
    """Result of one quantity, as it stands in the record of a run."""


class Environment(Record):
    """Machine and software of a computation; never the machine's name.

    Attributes:
        isa: instruction sets that decide which int8 kernels run.
        versions: of the libraries that compute.
    """

    processor: str
    architecture: str
    isa: tuple[str, ...]
    cores: int
    system: str
    python: str
    versions: dict[str, str]
    accelerator: str | None = None


def pack_bits(correct: NDArray[np.bool_]) -> str:
    """Per-sample correctness `[n]` as base64 of packed bits."""
    import numpy as np

    return base64.b64encode(np.packbits(correct).tobytes()).decode("ascii")


def unpack_bits(packed: str, n: int) -> NDArray[np.bool_]:
    """The reverse of `pack_bits`.

    Raises:
        ValueError: if these are not the bits of `n` samples, of which there may be none.
    """
    import numpy as np

    try:
        raw = base64.b64decode(packed, validate=True)
    except ValueError as error:
        raise ValueError(f"not base64 ({error})") from None
    # Before anything of that length is made: what counts the samples may be damaged.
    expected = -(-n // 8)
    if n < 0 or len(raw) != expected:
        raise ValueError(f"holds {len(raw):,} bytes, but the bits of {n:,} samples take {expected:,}")
    if raw and raw[-1] & (1 << (8 * expected - n)) - 1:
        raise ValueError(f"has bits beyond the {n:,} samples")
    return np.unpackbits(np.frombuffer(raw, dtype=np.uint8), count=n).astype(np.bool_)


def read_json(
    model: type[Model], path: Path, error: type[QuantbenchError], advice: str, again: str | None = None
) -> Model:
    """Reads a JSON file into a checked model, within the bounds of `quantbench.strict_json`.

    Args:
        model: what the file must hold.
        path: the file.
        error: raised for anything wrong, with one line per mistake.
        advice: ends the message: what to do.
        again: the same where the file holds what nothing could have measured; default: `advice`.
    """
    return _validated(model, _content(path, error, advice), path, error, advice, again or advice)


def _content(path: Path, error: type[QuantbenchError], advice: str) -> Any:
    try:
        return read_json_value(path)
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror}); {advice}") from None
    except JsonError as problem:
        raise error(f"{path}: {problem}; {advice}") from None


def _validated(
    model: type[Model], content: Any, path: Path, error: type[QuantbenchError], advice: str, again: str
) -> Model:
    try:
        found = model.model_validate(content)
    except ValidationError as problem:
        raise error("\n".join([*validation_lines(problem, str(path))[:SHOWN_MISTAKES], advice])) from None
    for place, words in contradictions(found):
        raise error(f"{path}: {place}its record has {words}; {again}")
    return found


def contradictions(found: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Contradictions of a record and of those within it: the place, with a colon after it, and the words."""
    if isinstance(found, Record) and (words := found.impossible()):
        yield place, words
    elif isinstance(found, BaseModel):
        for name in type(found).model_fields:
            yield from contradictions(getattr(found, name), place)
    elif isinstance(found, list | tuple):
        for each in found:
            if isinstance(each, BaseModel):
                yield from contradictions(each, f"{place}{_name_of(each)}")


def _name_of(record: BaseModel) -> str:
    """The name of a record among others, in words that stand before the sentence about it."""
    names = (getattr(record, key, None) for key in ("experiment", "name", "layer"))
    name = next((each for each in names if isinstance(each, str)), None)
    return f"{short_name(name)}: " if name else ""


class _AnyVersion(BaseModel):
    schema_version: Annotated[int, Field(strict=True)]


def read_versioned(
    model: type[Model],
    path: Path,
    version: int,
    advice: str,
    outdated: str | None = None,
    damaged: str | None = None,
    older: Collection[int] = (),
    again: str | None = None,
) -> Model:
    """Reads a JSON file of a version: that first, since another one may have other keys.

    Args:
        model: what the file must hold.
        path: the file.
        version: its `schema_version`.
        advice: ends the message of a file that is missing or of something else: what to do.
        outdated: the same of a file of another version; default: `advice`.
        damaged: the same of a file of that version with mistakes; default: `advice`.
        older: versions that are read too, since what was added since then may be absent.
        again: the same of a file that holds what nothing could have measured; default: as for mistakes.

    Raises:
        ConfigError: for anything wrong, with one line per mistake.
    """
    content = _content(path, ConfigError, advice)
    found = _validated(_AnyVersion, content, path, ConfigError, advice, advice).schema_version
    if found != version and found not in older:
        raise ConfigError(f"{path}: schema_version {found} is not {version}; {outdated or advice}")
    damaged = damaged or advice
    return _validated(model, content, path, ConfigError, damaged, again or damaged)
