"""Cache of activations for every sample, within a stated memory, from which later forwards start."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from quantbench.search.replay import Replay
from quantbench.stats.draws import Ids


class ActivationCache:
    """Activations under the configuration accepted so far, one row for each sample, and which rows are valid.

    The cached activations are chosen once: whichever saves the most multiply-accumulates per byte, given those chosen
    before it, until the memory is full. A trial's values downstream of its layer are held as *pending* where there is
    room: if the trial is accepted they take the place of those that it has made wrong.

    Args:
        replay: the model.
        layers: names of those whose trials will start from the values.
        n: samples.
        budget_bytes: for cached and pending values together.

    Attributes:
        names: of the activations that are cached.
        peak_bytes: most that was held at once.
    """

    def __init__(self, replay: Replay, layers: Collection[str], n: int, budget_bytes: int) -> None:
        self.replay, self.n = replay, n
        self.names, used = _chosen(replay, layers, n, budget_bytes)
        self._rows: dict[str, torch.Tensor] = {}
        self._valid = {name: np.zeros(n, np.bool_) for name in self.names}
        self._pending: dict[str, list[tuple[Ids, torch.Tensor]]] = {}
        self._may_hold: set[str] = set()
        room = budget_bytes - used
        # Those nearest to the output are the smallest, and made wrong by the most layers.
        for name in reversed(self.names):
            if (size := replay.value_bytes[name] * n) <= room:
                self._may_hold.add(name)
                room -= size
        self.peak_bytes = 0

    def groups(self, ids: Ids, layer: str) -> Iterator[tuple[Ids, frozenset[str]]]:
        """Samples that start from the same values, and the names of these.

        Args:
            ids: positions in the split.
            layer: name of the one that is tried; no value that it influences is given.
        """
        names = [name for name in self.names if name not in self.replay.influenced[layer]]
        if not names:
            yield ids, frozenset()
            return
        at_hand = np.stack([self._valid[name][ids] for name in names], axis=1)
        patterns, which = np.unique(at_hand, axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            group = frozenset(name for name, valid in zip(names, pattern, strict=True) if valid)
            yield ids[which.reshape(-1) == number], group

    def rows(self, names: Collection[str], ids: Ids) -> dict[str, torch.Tensor]:
        """Cached values of some samples, by name."""
        return {name: self._rows[name][torch.from_numpy(ids)] for name in names}

    def fill(self, values: Mapping[str, Any], ids: Ids) -> None:
        """Caches values under the accepted configuration; those that are not among the chosen ones are ignored."""
        for name in self._valid.keys() & values.keys():
            if not self._valid[name][ids].all():
                self._put(name, values[name], ids)

    def hold(self, values: Mapping[str, Any], ids: Ids) -> None:
        """Holds values that will be right if the trial is accepted."""
        for name in self._may_hold & values.keys():
            self._pending.setdefault(name, []).append((ids, values[name]))
        self._count()

    def accept(self, layer: str) -> None:
        """The layer tried is accepted: what it influences is wrong now, but for what is pending."""
        for name in self._valid.keys() & self.replay.influenced[layer]:
            self._valid[name][:] = False
            for ids, value in self._pending.pop(name, []):
                self._put(name, value, ids)
        self.reject()

    def reject(self) -> None:
        """The layer tried is not accepted: nothing is pending any more."""
        self._pending.clear()

    @torch.inference_mode()
    def _put(self, name: str, value: torch.Tensor, ids: Ids) -> None:
        if name not in self._rows:
            self._rows[name] = torch.empty((self.n, *value.shape[1:]), dtype=value.dtype)
        self._rows[name][torch.from_numpy(ids)] = value
        self._valid[name][ids] = True
        self._count()

    def _count(self) -> None:
        cached = sum(rows.nbytes for rows in self._rows.values())
        pending = sum(value.nbytes for each in self._pending.values() for _, value in each)
        self.peak_bytes = max(self.peak_bytes, cached + pending)


def _chosen(replay: Replay, layers: Collection[str], n: int, budget_bytes: int) -> tuple[list[str], int]:
    """Names of the activations to cache, in the order of the steps, and their bytes for all samples."""
    chosen: set[str] = set()
    used = 0
    frontiers = {name for layer in layers for name in replay.frontier[layer] if name in replay.value_bytes}

    def cost(cached: set[str]) -> int:
        """Multiply-accumulates of one trial of each layer."""
        wanted = frozenset({replay.output})
        return sum(replay.plan(wanted, frozenset(cached - replay.influenced[layer])).macs for layer in layers)

    while True:
        now = cost(chosen)
        # The whole frontier of a layer at a time: half of one may save nothing.
        gains = []
        for layer in layers:
            more = {name for name in replay.frontier[layer] if name in frontiers} - chosen
            size = n * sum(replay.value_bytes[name] for name in more)
            if more and used + size <= budget_bytes and (saved := now - cost(chosen | more)) > 0:
                gains.append((saved / size, sorted(more), size))
        if not gains:
            return [step.name for step in replay.steps if step.name in chosen], used
        _, more_names, size = max(gains)
        chosen |= set(more_names)
        used += size
