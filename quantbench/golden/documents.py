"""Goldens that are plain JSON documents: read within bounds, compared leaf by leaf."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from quantbench.errors import CheckpointError
from quantbench.golden.interface import OnRequest
from quantbench.recipes.translation import neutral
from quantbench.strict_json import JsonError, read_json_value

MISSING = "(absent)"
# The accepted checkpoint of a network of 10,000 layers takes 5 MB; anything this large is no golden.
MAX_BYTES = 1 << 24
RESTORE = "restore it from version control"

Document = dict[str, Any]


class DocumentKind(OnRequest[Document]):
    """A kind whose facts are JSON documents without a schema of their own.

    Attributes:
        noun: the document, in messages.
    """

    noun: ClassVar[str] = "a golden"

    def read(self, golden: Path, name: str) -> Document | None:
        """The accepted document without its history, or None if none was accepted.

        Raises:
            CheckpointError: if the file is too large, not JSON or no document.
        """
        path = self.path(golden, name)
        if not path.exists():
            return None
        content = _parsed(path)
        if not isinstance(content, dict):
            raise CheckpointError(f"{path}: holds a {type(content).__name__}, not {self.noun}; {RESTORE}")
        return dict(without_history(content))

    def compare(self, before: Document | None, after: Document) -> list[str]:
        """Every leaf that differs; nothing of a document that is new."""
        return [] if before is None else differences(before, after)

    def content(self, fact: Document) -> Document:
        """The document itself."""
        return fact


def _parsed(path: Path) -> Any:
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path}: larger than {MAX_BYTES} bytes, which no golden is; {RESTORE}")
    try:
        return read_json_value(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {RESTORE}") from None
    except JsonError as error:
        raise CheckpointError(f"{path}: {error}; {RESTORE}") from None


def without_history(content: Any) -> Any:
    """Accepted document without its history, its recipe in the words of today."""
    if not isinstance(content, dict):
        return content
    accepted = {key: value for key, value in content.items() if key != "history"}
    if isinstance(accepted.get("recipe"), dict):
        accepted["recipe"] = neutral(accepted["recipe"])
    return accepted


def differences(old: Any, new: Any) -> list[str]:
    """Every leaf that differs as `path: old → new`, in order of path."""
    before, after = dict(_leaves(old, "")), dict(_leaves(new, ""))
    return [
        f"{path}: {before.get(path, MISSING)} → {after.get(path, MISSING)}"
        for path in sorted({*before, *after})
        if before.get(path, MISSING) != after.get(path, MISSING)
    ]


def _leaves(value: Any, path: str) -> list[tuple[str, str]]:
    """Leaves of nested dictionaries as (path, compact JSON); lists count as leaves, so that a shape reads as one."""
    if isinstance(value, dict) and value:
        return [leaf for key in sorted(value) for leaf in _leaves(value[key], f"{path} / {key}" if path else key)]
    return [(path, json.dumps(value))]
