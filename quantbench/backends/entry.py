"""One key of a file in words."""

from __future__ import annotations

from quantbench.backends.interface import Entry


def describe_entry(entry: Entry) -> str:
    """An entry on one line: `qint8 [32, 3, 3, 3] per_channel_affine axis 0`, or `(…, …)` for a packed tuple.

    Example:
        >>> describe_entry({"dtype": "int8", "shape": [8, 4], "qscheme": "per_channel_symmetric", "axis": 0})
        'int8 [8, 4] per_channel_symmetric axis 0'
    """
    if "members" in entry:
        return f"({', '.join(describe_entry(member) for member in entry['members'])})"
    if "type" in entry:
        return f"{entry['type']} {entry['value']}"
    axis = f" axis {entry['axis']}" if "axis" in entry else ""
    block = f" block {entry['block_size']}" if "block_size" in entry else ""
    scheme = f" {entry['qscheme']}" if "qscheme" in entry else ""
    name = f"{entry['class']} " if "class" in entry else ""
    activation = f" activation {entry['activation']}" if "activation" in entry else ""
    return f"{name}{entry['dtype']} {entry['shape']}{scheme}{axis}{block}{activation}"
