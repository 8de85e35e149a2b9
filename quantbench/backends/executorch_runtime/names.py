"""Names that a `.pte` file does not hold by itself, written beside the model: of inputs and of layers that multiply.

They stand as JSON in a method that gives a constant, as ExecuTorch has it for whatever belongs to a model.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from quantbench.backends.executorch_runtime.pte_file import PteFile


@dataclass(frozen=True)
class Names:
    """Names that quantbench wrote into a file.

    Attributes:
        inputs: in their order.
        layers: of each operator that multiplies, in the order in which the file has them.
    """

    inputs: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()

    def written(self) -> str:
        """As JSON, the same each time."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


def names_in(file: PteFile) -> Names:
    """The names in a file; none where it was made elsewhere, or says something else."""
    try:
        told = json.loads(file.names)
        inputs, layers = (tuple(each for each in told[key] if isinstance(each, str)) for key in ("inputs", "layers"))
    except (ValueError, LookupError, TypeError, RecursionError):
        return Names()
    return Names(inputs if len(inputs) == len(file.method.inputs) else (), layers)
