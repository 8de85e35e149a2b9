"""Names of a `.pte` file's inputs, outputs and layers.

The file itself has names of outputs alone, if they were a dictionary. Those of inputs and of layers that multiply are
written beside the model: as JSON in a method that gives a constant, as ExecuTorch has it for whatever belongs to a
model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from quantbench.arrays import INPUT, OUTPUT
from quantbench.backends.executorch_runtime.pte_file import PteFile
from quantbench.files import printable

# Characters of a name.
LONGEST = 80


@dataclass(frozen=True)
class Names:
    """Names of a file.

    Attributes:
        inputs: in their order.
        outputs: in their order.
        layers: of each operator that multiplies, in the order in which the file has them; none where it was made
            elsewhere.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[str, ...]


def written(inputs: Sequence[str], layers: Sequence[str]) -> str:
    """Names as they are written into a file, the same each time."""
    return json.dumps({"inputs": list(inputs), "layers": list(layers)}, sort_keys=True, separators=(",", ":"))


def names_in(file: PteFile) -> Names:
    """The names in a file, or numbers."""
    given, made = len(file.method.inputs), len(file.method.outputs)
    try:
        told = json.loads(file.names)
        inputs, layers = (tuple(printable(each)[:LONGEST] for each in told[key]) for key in ("inputs", "layers"))
    # Of files of other writers.
    except (ValueError, LookupError, TypeError, RecursionError):
        inputs, layers = (), ()
    named = inputs if len(inputs) == given else _numbered(INPUT, given)
    return Names(named, output_names(file.method.output_tree, made), layers)


def output_names(tree: str, n: int) -> tuple[str, ...]:
    r"""Names of outputs, by the structure that a file gives them in: the keys of a dictionary, or numbers.

    Example:
        >>> output_names(r'[1, {"type": "builtins.dict", "context": "[\"a\", \"b\"]"}]', 2)
        ('a', 'b')
    """
    try:
        spec = json.loads(tree)[1]
        keys = json.loads(spec["context"]) if "dict" in str(spec["type"]).lower() else []
    # Of files of other writers.
    except (ValueError, LookupError, TypeError, RecursionError):
        keys = []
    if isinstance(keys, list) and len(keys) == n:
        return tuple(printable(key)[:LONGEST] for key in keys)
    return _numbered(OUTPUT, n)


def _numbered(name: str, n: int) -> tuple[str, ...]:
    return (name,) if n == 1 else tuple(f"{name}_{i}" for i in range(n))
