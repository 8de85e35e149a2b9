"""Trials of single layers on top of a configuration, from whatever values are cached; and what is checked first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import floor

import numpy as np
import torch
from numpy.typing import NDArray

from quantbench.errors import QuantizationError, StatisticsError
from quantbench.quant.switchable import Switchable, switchable_layers
from quantbench.registry import unknown_name
from quantbench.search.activation_cache import ActivationCache
from quantbench.search.problem import Problem
from quantbench.search.replay import Replay, Values
from quantbench.search.steps import INPUT
from quantbench.stats.draws import Ids
from quantbench.stats.paired import PairedOutcomes, samples_to_decide
from quantbench.tasks.classes import check_logits

# Absorbs the rounding of ε · n / 100, which is meant to be a whole number where ε was given in hundredths.
COUNT_TOLERANCE = 1e-9


@dataclass(frozen=True)
class TrialOutcome:
    """Outcome of a trial on some samples.

    Attributes:
        correct: `[m]` bool.
        finite: `[m]` bool, whether all logits were numbers; a sample without is not correct.
        margin: `[m]` float32, logit of the label above the largest other one.
    """

    correct: NDArray[np.bool_]
    finite: NDArray[np.bool_]
    margin: NDArray[np.float32]


class Engine:
    """A model whose chosen layers are switched and whose forwards are replayed.

    Args:
        problem: checked here.

    Attributes:
        names: of the layers, in the model's order.
        macs: multiply-accumulates performed so far.

    Raises:
        QuantizationError: if no layer can be switched, a layer does not exist, or has no such width.
        EvaluationError: if the output cannot be compared with the labels.
    """

    def __init__(self, problem: Problem) -> None:
        self.layers = checked_layers(problem)
        self.names = tuple(self.layers)
        self.split, self.low, self.high = problem.split, problem.low, problem.high
        self.labels = torch.from_numpy(np.array(problem.split.labels))
        self.n = len(problem.split)
        self.macs = 0
        with self.configured(()):
            # Twice the first sample where there is only one: a graph is checked on more than one row.
            sample = self.inputs(np.resize(np.arange(min(self.n, 2)), 2)).clone()
            with torch.no_grad():
                check_logits(problem.model(sample), len(sample), int(self.labels.max()))
            alone = ((name,) for name in self.names)
            settings = [partial(self._set, low) for low in (*alone, self.names, ())]
            self.replay = Replay(problem.model, self.names, sample, settings)
        self.everything = frozenset({self.replay.output})

    @property
    def passes(self) -> float:
        """Work done, in whole forwards of the whole split."""
        return self.macs / (self.replay.macs * self.n)

    def inputs(self, ids: Ids) -> torch.Tensor:
        """Model input `[m, channels, …]` float32 of some samples."""
        return self.split.normalization(torch.from_numpy(self.split.take(ids)[0]))

    @contextmanager
    def configured(self, low: Collection[str]) -> Iterator[None]:
        """The named layers at the low width, the others at the high one; all as they were afterwards."""
        before = {name: layer.bits for name, layer in self.layers.items()}
        try:
            self._set(low)
            yield
        finally:
            for name, layer in self.layers.items():
                layer.bits = before[name]

    def _set(self, low: Collection[str]) -> None:
        for name, layer in self.layers.items():
            layer.bits = self.low if name in low else self.high

    @torch.inference_mode()
    def run(
        self, ids: Ids, given: Mapping[str, torch.Tensor], wanted: Collection[str] = (), keep: Collection[str] = ()
    ) -> Values:
        """One forward of some samples as configured now.

        Args:
            ids: positions in the split.
            given: values at hand, by name.
            wanted: names of values to be computed beside the logits.
            keep: names of values not to be freed if they are computed on the way.
        """
        plan = self.replay.plan(self.everything | frozenset(wanted), frozenset(given))
        start: dict[str, torch.Tensor] = {name: given[name] for name in plan.reads if name != INPUT}
        if INPUT in plan.reads:
            start[INPUT] = self.inputs(ids)
        self.macs += plan.macs * len(ids)
        return self.replay.run(plan, start, {*wanted, *keep})

    @torch.inference_mode()
    def trial(self, ids: Ids, layer: str, cache: ActivationCache) -> TrialOutcome:
        """Some samples with one layer more at the low width, which the caller has configured.

        Values upstream of the layer are kept, those downstream pending.
        """
        logits: list[torch.Tensor] = []
        order: list[Ids] = []
        for group, names in cache.groups(ids, layer):
            needed = self.replay.plan(self.everything, names).reads & names
            values = self.run(group, cache.rows(needed, group), keep=cache.names)
            influenced = self.replay.influenced[layer]
            cache.fill({name: value for name, value in values.items() if name not in influenced}, group)
            cache.hold({name: value for name, value in values.items() if name in influenced}, group)
            logits.append(values[self.replay.output])
            order.append(group)
        outcome = self.outcome(torch.cat(logits), np.concatenate(order))
        back = np.empty(len(ids), np.int64)
        where = {int(each): position for position, each in enumerate(np.concatenate(order))}
        for position, each in enumerate(ids):
            back[position] = where[int(each)]
        return TrialOutcome(outcome.correct[back], outcome.finite[back], outcome.margin[back])

    def outcome(self, logits: torch.Tensor, ids: Ids) -> TrialOutcome:
        """Judges logits `[m, classes]` of the samples at `ids`."""
        labels = self.labels[torch.from_numpy(ids)]
        finite = torch.isfinite(logits).all(dim=1)
        correct = (logits.argmax(1) == labels) & finite
        own = logits.gather(1, labels[:, None]).squeeze(1)
        others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
        return TrialOutcome(correct.numpy(), finite.numpy(), (own - others).float().numpy())


def checked_layers(problem: Problem) -> dict[str, Switchable]:
    """Name → layer of those to be tried, in the model's order.

    Raises:
        QuantizationError: as in `Engine`.
    """
    layers = switchable_layers(problem.model)
    for name in problem.layers:
        if name not in layers:
            raise QuantizationError(unknown_name("switchable layer", name, list(layers)))
    chosen = {name: layer for name, layer in layers.items() if not problem.layers or name in problem.layers}
    for name, layer in chosen.items():
        for bits in (problem.low, problem.high):
            if bits not in layer.bit_choices:
                known = ", ".join(str(each) for each in layer.bit_choices)
                raise QuantizationError(f"layer '{name}' cannot compute with {bits} bits; its choices are {known}")
    if problem.low >= problem.high:
        raise QuantizationError(
            f"low width {problem.low} is not below the high one, {problem.high}; layers are tried at fewer bits"
        )
    return chosen


def allowed_drop(epsilon_pp: float, n: int, split: str) -> int:
    """Number of samples that may be lost on balance: drop ≤ ε, in whole samples.

    Args:
        epsilon_pp: percentage points. 0 asks for no loss on the split itself, which a split of any size answers.
        n: samples of the split.
        split: its name, for messages.

    Raises:
        StatisticsError: if ε is below zero or no number, or not even a layer that changes no sample at all could be
            told from one that costs ε.
    """
    if not 0 <= epsilon_pp <= 100:
        raise StatisticsError(f"epsilon is {epsilon_pp:g} pp; the accepted drop is between 0 and 100 percentage points")
    if 0 < epsilon_pp < 100:
        needed = samples_to_decide(PairedOutcomes(n, 0, 0), epsilon_pp / 100)
        if needed is not None and n < needed:
            raise StatisticsError(
                f"split '{split}' has {n:,} samples, too few to decide about epsilon = {epsilon_pp:g} pp: even if none "
                f"changed, a loss of that size could not be excluded at 95 % with fewer than {needed:,}; enlarge the "
                "split (data.search_pool) or epsilon"
            )
    return floor(epsilon_pp * n / 100 + COUNT_TOLERANCE)
