"""What every record shares: strict fields, the machine it was made on, packed bits, one reader."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from quantbench.errors import QuantbenchError
from quantbench.registry import validation_lines

Model = TypeVar("Model", bound=BaseModel)


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Environment(Record):
    """Where something was computed; never the machine's name.

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
    return base64.b64encode(np.packbits(correct).tobytes()).decode("ascii")


def unpack_bits(packed: str, n: int) -> NDArray[np.bool_]:
    """The reverse of `pack_bits`."""
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
