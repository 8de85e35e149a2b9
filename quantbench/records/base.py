"""Base of all records: strict fields, the machine it was made on, packed bits, one reader."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from quantbench.errors import ConfigError, QuantbenchError
from quantbench.registry import validation_lines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Model = TypeVar("Model", bound=BaseModel)


class Record(BaseModel):
    """Strict and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(Record):
    """Result of one quantity, as it stands in the record of a run."""

    def impossible(self) -> str | None:
        """Value that nothing could have measured, such as the NaN that a JSON reader lets through; None without one.

        The words complete the sentence "its record has …".
        """
        return None


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
    """The reverse of `pack_bits`."""
    import numpy as np

    return np.unpackbits(np.frombuffer(base64.b64decode(packed), dtype=np.uint8), count=n).astype(np.bool_)


def read_json(model: type[Model], path: Path, error: type[QuantbenchError], advice: str) -> Model:
    """Reads a JSON file into a checked model.

    Args:
        model: what the file must hold.
        path: the file.
        error: raised for anything wrong, with one line per mistake.
        advice: ends the message: what to do.
    """
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror}); {advice}") from None
    except ValidationError as problem:
        raise error("\n".join([*validation_lines(problem, str(path)), advice])) from None
    except ValueError as problem:
        raise error(f"{path}: not valid JSON ({problem}); {advice}") from None


class _AnyVersion(BaseModel):
    schema_version: int


def read_versioned(
    model: type[Model],
    path: Path,
    version: int,
    advice: str,
    outdated: str | None = None,
    damaged: str | None = None,
    older: Collection[int] = (),
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

    Raises:
        ConfigError: for anything wrong, with one line per mistake.
    """
    found = read_json(_AnyVersion, path, ConfigError, advice).schema_version
    if found != version and found not in older:
        raise ConfigError(f"{path}: schema_version {found} is not {version}; {outdated or advice}")
    return read_json(model, path, ConfigError, damaged or advice)
