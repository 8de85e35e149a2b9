"""Facts about tensors by the memory that they share: views of one storage have one fact."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch.multiprocessing.reductions import StorageWeakRef

T = TypeVar("T")


class Storages(Generic[T]):
    """One value for each storage, which it neither keeps alive nor mistakes for a later one."""

    def __init__(self) -> None:
        # While a weak reference is held, no other storage takes the address that is its key.
        self._values: dict[int, tuple[StorageWeakRef, T]] = {}

    def get(self, tensor: torch.Tensor) -> T | None:
        """The value of a tensor's storage; None where it has none."""
        found = self._values.get(storage_key(tensor))
        return None if found is None else found[1]

    def put(self, tensor: torch.Tensor, value: T) -> None:
        """Gives a tensor's storage a value; of tensors without a storage nothing is remembered."""
        if key := storage_key(tensor):
            kept = self._values.get(key)
            self._values[key] = (kept[0] if kept else StorageWeakRef(tensor.untyped_storage()), value)


def storage_key(tensor: torch.Tensor) -> int:
    """Names a tensor's storage; 0 where it has none of its own, such as a sparse one."""
    try:
        storage = tensor.untyped_storage()
        return int(storage._cdata) if storage.data_ptr() else 0
    except (NotImplementedError, RuntimeError):
        return 0
