"""Text of workload files that are written for a user, with a comment where a figure says why."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

# Beside the workload files, where editors look for it.
SCHEMA_FILE = "quantbench.schema.json"
MODELINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"
_KEY = re.compile(r"( *)'?([^\s'#:-][^':]*)'?:(?: |$)")
_INDENT = 2


class _Plain(yaml.SafeDumper):
    """Lists on one line, and no aliases, which few people read."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:  # noqa: ARG002
        return super().represent_sequence(tag, sequence, flow_style=True)


def workload_text(
    content: Mapping[str, Any],
    comments: Mapping[tuple[str, ...], str] | None = None,
    head: Sequence[str] = (),
    has_schema: bool = False,
) -> str:
    """The text of a workload file.

    Args:
        content: of the file.
        comments: keys from the top down → what is said at the end of that line.
        head: lines of comments above all.
        has_schema: the schema lies beside the file, so that editors are told of it.

    Example:
        >>> print(workload_text({"a": {"b": 1, "c": 2}}, {("a", "c"): "measured 1.5"}, ["Written by hand."]), end="")
        # Written by hand.
        a:
          b: 1
          c: 2  # measured 1.5
    """
    lines = [MODELINE] if has_schema else []
    lines += [f"# {line}" for line in head]
    place: list[str] = []
    for line in yaml.dump(dict(content), Dumper=_Plain, sort_keys=False, allow_unicode=True).splitlines():
        if found := _KEY.match(line):
            place[len(found[1]) // _INDENT :] = [found[2]]
            if comment := (comments or {}).get(tuple(place)):
                line = f"{line}  # {comment}"
        lines.append(line)
    return "\n".join([*lines, ""])
