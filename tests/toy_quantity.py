"""A quantity as another distribution would bring it: bytes of the largest tensor of the candidate, in one file."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any

from pydantic import Field

from quantbench.quantities.interface import Column, Quantity
from quantbench.records.base import Part
from quantbench.stats.verdicts import Verdict, at_most

BYTES = {"uint8": 1, "qint8": 1, "quint8": 1, "float32": 4, "int64": 8}


class Tensors(Part):
    """The tensors of a checkpoint."""

    largest: str
    largest_bytes: int


class LargestTensor(Quantity[Tensors]):
    """Most bytes that one tensor may take."""

    name = "largest_tensor_bytes"
    part = "tensors"
    record = Tensors
    bound = Annotated[int, Field(gt=0, strict=True)]
    columns = (Column("largest tensor", lambda tensors: f"{tensors.largest_bytes:,} B"),)

    def measure(self, run: Any) -> Tensors:
        """Of the checkpoint as a fresh process describes it."""
        sizes = {
            key: prod(entry["shape"]) * BYTES[entry["dtype"]]
            for key, entry in run.checkpoint.keys.items()
            if entry.get("shape") and entry.get("dtype") in BYTES
        }
        largest = max(sizes, key=sizes.__getitem__)
        return Tensors(largest=largest, largest_bytes=sizes[largest])

    def judge(self, run: Any, measured: Tensors, bound: int) -> Verdict:
        """Exact."""
        text = f"{measured.largest_bytes:,} bytes ('{measured.largest}')"
        return at_most(self.name, measured.largest_bytes, None, bound, 1, text, " bytes")


LARGEST_TENSOR = LargestTensor()
