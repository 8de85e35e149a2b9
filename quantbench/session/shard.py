"""A part of the experiments of a run, so that several machines share it; `quantbench merge` puts them together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantbench.config.schema import Experiment
from quantbench.errors import ConfigError
from quantbench.records.run import ShardFacts
from quantbench.session.revision import code

WRITTEN = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})")


@dataclass(frozen=True)
class Shard:
    """One of several equal parts.

    Attributes:
        index: from 1.
        count: of parts.

    Example:
        >>> Shard.read("2/8")
        Shard(index=2, count=8)
    """

    index: int
    count: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """A part as it is typed, `2/8`.

        Raises:
            ConfigError: if it is none.
        """
        found = WRITTEN.fullmatch(text)
        if found is None or int(found[1]) > int(found[2]):
            raise ConfigError(f"--shard {text!r:.40}: is no part; write 1/8 to 8/8")
        return cls(int(found[1]), int(found[2]))

    def of(self, experiments: Sequence[Experiment]) -> list[Experiment]:
        """Its experiments: every `count`-th, so that expensive neighbours are shared out.

        Raises:
            ConfigError: if there are fewer experiments than parts.
        """
        if len(experiments) < self.count:
            raise ConfigError(
                f"--shard {self.index}/{self.count}: {len(experiments)} experiments are chosen; take that many parts "
                "or fewer"
            )
        return list(experiments[self.index - 1 :: self.count])

    def facts(self, experiments: Sequence[Experiment], revision: Mapping[str, str]) -> ShardFacts:
        """Note of the part in its file of records, made once the part was run.

        Args:
            experiments: of all parts.
            revision: of the run, as it was before it could accept anything.
        """
        planned = [experiment.id for experiment in experiments]
        return ShardFacts(index=self.index, count=self.count, planned=planned, revision={**revision, **code()})

    def sentence(self, experiments: Sequence[Experiment]) -> str:
        """Sentence about the part for the summary of its run."""
        return (
            f"shard {self.index} of {self.count}: {len(self.of(experiments))} of {len(experiments)} experiments; put "
            "all of them together with: quantbench merge FILE…"
        )
