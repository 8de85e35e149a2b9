"""A candidate that was made elsewhere: by a vendor, another library, or the user's own script."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from quantbench.recipes.spec import ReadyMade


def ready_made(path: Annotated[str, StringConstraints(min_length=1)]) -> ReadyMade:
    """The file of the candidate, loaded as it is; a relative path begins at the workload file.

    Example:
        >>> ready_made("models/net.int8.onnx").path
        'models/net.int8.onnx'
    """
    return ReadyMade(path)
