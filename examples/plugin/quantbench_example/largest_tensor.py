"""Quantity `largest_tensor_bytes`: bytes of the largest tensor of the candidate."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from quantbench.quantities.interface import Column, Quantity
from quantbench.records.base import Part
from quantbench.stats.verdicts import Verdict, at_most

if TYPE_CHECKING:
    from quantbench.experiment.run import Run


class LargestTensor(Part):
    """The largest tensor of a candidate."""

    key: str
    size_bytes: int


class LargestTensorBytes(Quantity[LargestTensor]):
    """At most so many bytes in one tensor, for devices that move whole tensors."""

    name = "largest_tensor_bytes"
    part = "largest_tensor"
    record = LargestTensor
    bound = Annotated[int, Field(gt=0, strict=True)]
    smaller_is_looser = False
    columns = (Column("largest tensor B", lambda found: f"{found.size_bytes:,}"),)

    def measure(self, run: Run) -> LargestTensor:
        """See `Quantity.measure`; from the keys that a fresh process found in the file."""
        import numpy as np

        sizes = {
            key: prod(entry["shape"]) * np.dtype(entry["dtype"].removeprefix("q")).itemsize
            for key, entry in run.checkpoint.keys.items()
            if "dtype" in entry
        }
        key = max(sizes, key=sizes.__getitem__)
        return LargestTensor(key=key, size_bytes=sizes[key])

    def judge(self, run: Run, measured: LargestTensor, bound: int) -> Verdict:
        """See `Quantity.judge`; exact."""
        text = f"{measured.size_bytes:,} bytes ('{measured.key}')"
        return at_most(self.name, measured.size_bytes, None, bound, 1, text, " bytes")


LARGEST_TENSOR = LargestTensorBytes()
