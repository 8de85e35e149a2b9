"""A candidate that the user's own function makes, with whatever library."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import StringConstraints

from quantbench.recipes.spec import Function
from quantbench.registry import Factories

ImportPath = Annotated[str, StringConstraints(min_length=1)]
# Reached by import paths alone.
OWN_FUNCTIONS: Factories[Any] = Factories("function", "quantbench.functions", {})


def function(function: ImportPath, structure: ImportPath | None = None, **params: Any) -> Function:
    """The function of an import path, called as `fn(model_or_path, calibration_batches, **params)`.

    Args:
        function: `your.module:function`. It is imported and called when the experiment runs.
        structure: `your.module:function`, fp32 model → module that the state dict of the returned module fits, where
            the fp32 model's own structure does not.
        params: passed on to the function.

    Raises:
        ValueError: if a parameter is neither text, a number, a truth value, nor a list or mapping of such.

    Example:
        >>> function("my_package.quantize:int8", bits=4).params
        (('bits', 4),)
    """
    for name, value in params.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(
                f"'{name}' is a {type(value).__name__}; write text, numbers, true or false, or lists and maps of such"
            ) from None
    return Function(function, tuple(params.items()), structure)


def own_function(path: str, where: str) -> Callable[..., Any]:
    """The function of an import path, imported now.

    Raises:
        ConfigError: if there is none.
    """
    return OWN_FUNCTIONS.factory(path, where)
