"""Forwards of a model that start from whatever values are at hand, with the multiply-accumulates really performed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from quantbench.backends.kernels import count_macs
from quantbench.quant.switchable import WholeModel
from quantbench.search.steps import INPUT, Step, checked_steps

Values = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """Plan of one forward: the steps that are computed.

    Attributes:
        steps: in order.
        reads: names of the values it starts from.
        macs: multiply-accumulates for one sample.
        last_reads: for each step, names of the values that nothing reads after it.
    """

    steps: tuple[Step, ...]
    reads: frozenset[str]
    macs: int
    last_reads: tuple[tuple[str, ...], ...]


class Replay:
    """A model whose forwards can start anywhere.

    The values that lie between what a changed layer influences and what it does not are its *frontier*: with them at
    hand, only what the layer influences is computed. In a chain the frontier is the layer's input; beside a residual
    connection it holds the other branch too.

    Bits of a value do not depend on the other samples in its batch where layers compute exactly, as converted low-bit
    layers do (integer codes). Floating-point kernels may round otherwise in batches of another size.

    Args:
        model: in eval mode.
        layers: names of its switchable layers.
        sample: `[2, channels, …]` float32, what the model is given.
        settings: see `checked_steps`.

    Attributes:
        not_replayable: reason why values cannot be reused, so that every forward is a whole one; empty where they can.
        output: name of the logits.
        macs: multiply-accumulates of a whole forward of one sample.
        layer_macs: of each switchable layer alone; empty where every forward is a whole one.
        value_bytes: of each value, for one sample; without those that are no tensors with a row for each sample.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Collection[str],
        sample: torch.Tensor,
        settings: Iterable[Callable[[], None]] = (),
    ) -> None:
        self.steps, self.not_replayable = checked_steps(model, layers, sample, settings)
        self.output = self.steps[-1].name
        self._by_name = {step.name: step for step in self.steps}
        self._macs, self.value_bytes = self._measured(sample)
        if isinstance(model, WholeModel):
            # Its kernels are not torch's, and nobody here can listen to them.
            self._macs = {self.output: model.macs}
        self.macs = sum(self._macs.values())
        self.layer_macs = dict.fromkeys(layers, 0) if not self.not_replayable else {}
        for step in self.steps:
            if step.layer:
                self.layer_macs[step.layer] += self._macs[step.name]
        self.influenced = {name: self._influenced(name) for name in layers}
        self.frontier = {name: self._frontier(name) for name in layers}
        self.calls = {name: tuple(step.name for step in self.steps if step.layer == name) for name in layers}
        self.plan = lru_cache(maxsize=4096)(self._plan)

    def run(self, plan: Plan, given: Mapping[str, Any], keep: Collection[str] = ()) -> Values:
        """Computes what is planned.

        Args:
            plan: from `plan`.
            given: the values it starts from, by name.
            keep: names of values to be returned beside those given; all others are freed as soon as nothing reads them.
        """
        values, kept = dict(given), {self.output, *keep}
        for step, last in zip(plan.steps, plan.last_reads, strict=True):
            values[step.name] = step.compute(values)
            for name in last:
                if name not in kept:
                    del values[name]
        return values

    def _plan(self, wanted: frozenset[str], given: frozenset[str]) -> Plan:
        """The fewest steps that lead from values at hand to those wanted.

        Args:
            wanted: names of values.
            given: names of values at hand, which need not all be used; the model's input is always at hand.
        """
        needed, reads = set(wanted - given), set(wanted & given)
        chosen: list[Step] = []
        for step in reversed(self.steps):
            if step.name in needed:
                chosen.append(step)
                reads |= {name for name in step.inputs if name in given or name == INPUT}
                needed |= {name for name in step.inputs if name not in given and name != INPUT}
        chosen.reverse()
        seen: set[str] = set()
        last: list[tuple[str, ...]] = []
        for step in reversed(chosen):
            last.append(tuple(set(step.inputs) - seen))
            seen |= set(step.inputs)
        macs = sum(self._macs[step.name] for step in chosen)
        return Plan(tuple(chosen), frozenset(reads), macs, tuple(reversed(last)))

    def _measured(self, sample: torch.Tensor) -> tuple[dict[str, int], dict[str, int]]:
        """Multiply-accumulates and bytes of each step, for one sample."""
        values: Values = {INPUT: sample}
        alone: Values = {INPUT: sample[:1]}
        macs, sizes = {}, {}
        for step in self.steps:
            results: list[Any] = []
            macs[step.name] = count_macs(lambda step=step, results=results: results.append(step.compute(alone)))  # type: ignore[misc]
            alone[step.name] = results[0]
            with torch.no_grad():
                both = values[step.name] = step.compute(values)
            if _has_a_row_each(results[0], 1) and _has_a_row_each(both, len(sample)):
                sizes[step.name] = results[0].numel() * results[0].element_size()
        return macs, sizes

    def _influenced(self, layer: str) -> frozenset[str]:
        found: set[str] = set()
        for step in self.steps:
            # Without steps, every layer is somewhere in the only one.
            if step.layer == layer or self.not_replayable or found.intersection(step.inputs):
                found.add(step.name)
        return frozenset(found)

    def _frontier(self, layer: str) -> tuple[str, ...]:
        influenced = self.influenced[layer]
        reads = {name for step in self.steps if step.name in influenced for name in step.inputs}
        return tuple(step.name for step in self.steps if step.name in reads - influenced)


def _has_a_row_each(value: Any, n: int) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0 and len(value) == n
