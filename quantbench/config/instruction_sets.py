"""Bounds of speed by instruction set: the same kernels are faster on a processor that has more of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from quantbench.registry import unknown_name

# Instruction sets that decide which int8 kernels run, under the names that /proc/cpuinfo and sysctl give them.
INSTRUCTION_SETS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimd", "asimddp", "i8mm", "sve"
)  # fmt: skip
DEFAULT = "default"


def _by_isa(bound: Any) -> Any:
    """One number is a bound for every processor."""
    return bound if isinstance(bound, dict) else {DEFAULT: bound}


def _check_instruction_sets(bounds: dict[str, float]) -> dict[str, float]:
    known = [DEFAULT, *INSTRUCTION_SETS]
    wrong = [unknown_name("instruction set", name, known) for name in bounds if name not in known]
    if not wrong and DEFAULT not in bounds:
        wrong = [f"a bound for each instruction set needs one for all others: add '{DEFAULT}'"]
    if wrong:
        raise PydanticCustomError("instruction_sets", "{wrong}", {"wrong": wrong[0]})
    return bounds


# Not a union with a number, of which a mistake would be reported once for each of its members.
SpeedupBounds = Annotated[
    dict[str, Annotated[float, Field(gt=0)]], BeforeValidator(_by_isa), AfterValidator(_check_instruction_sets)
]


def bound_on(bounds: dict[str, float], isa: Collection[str]) -> float:
    """The bound that a machine with these instruction sets is held to: the highest of those that it has."""
    own = [value for name, value in bounds.items() if name in isa]
    return max(own, default=bounds[DEFAULT])
