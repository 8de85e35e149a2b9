"""The gate `parity_pp` of an experiment and the experiment that it is in parity with, brought together."""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticCustomError

GATE, KEY = "parity_pp", "parity_with"


def with_twin(given: Any) -> Any:
    """An experiment's content with the bound of `parity_pp` by the name of `parity_with`, accepted as one with it.

    Example:
        >>> with_twin({"parity_with": "ptq_eager", "gates": {"parity_pp": 0.5}})["gates"]
        {'parity_pp': {'ptq_eager': 0.5}}
    """
    if not isinstance(given, dict) or given.get(KEY) is None:
        return given
    gates = given["gates"] if isinstance(given.get("gates"), dict) else {}
    bound = gates.get(GATE)
    if bound is None:
        raise PydanticCustomError(
            "parity", f"'{KEY}' is set and nothing is gated by it; add gates: {{{GATE}: 0.5}}, or remove it"
        )
    if isinstance(bound, dict):
        raise PydanticCustomError("parity", f"'{KEY}' and {GATE} both name the other experiment; name it once")
    return {**given, "gates": {**gates, GATE: {str(given[KEY]): bound}}}
