"""Accepted searches for mixed precision: `golden/searches/<workload>/<experiment>.json`, one for each engine."""

from __future__ import annotations

from collections.abc import Collection

from quantbench.config.schema import Experiment
from quantbench.golden.documents import Document, DocumentKind
from quantbench.golden.interface import Evidence
from quantbench.records.search import Decision, SearchRecord


class Searches(DocumentKind):
    """The widths that an experiment's search found and its decision log, with what they were found from."""

    folder = "searches"
    claims = ("search",)
    by_engine = True
    parts = ("search",)
    noun = "a search's description"

    def is_claimed_by(self, experiment: Experiment) -> bool:
        """Only where the experiment asks for a search."""
        return experiment.config.search is not None

    def document(self, run: Evidence, claims: Collection[str] = claims, before: Document | None = None) -> Document:  # noqa: ARG002
        """The widths and decisions of the run's search.

        Of a rejection no drop is accepted: how far beyond ε it was seen to be depends on how early it was certain.
        """
        record: SearchRecord = run.measured("search")
        return {
            "machine": str(run.machine),
            "samples": {"split": record.split, "n": record.n, "sha256": record.split_sha256},
            "epsilon_pp": record.epsilon_pp,
            "high": record.high,
            "low": record.low,
            "bits": dict(zip((layer.name for layer in record.layers), record.bits, strict=True)),
            "decisions": {f"{i:02} {each.layer}": _words(each) for i, each in enumerate(record.decisions, start=1)},
            # Of files that are in golden folders already, nothing may change where no recipe names layers.
            **({"quantized by": {"backend": found.backend, **found.recipe}} if (found := record.artifact) else {}),
        }

    def outline(self, fact: Document) -> str:
        """Number of layers at fewer bits, in words."""
        bits = list(fact["bits"].values())
        return f", {bits.count(fact['low'])} of {len(bits)} layers at {fact['low']} bits"


def _words(decision: Decision) -> str:
    if decision.accepted and decision.drop_pp is not None:
        return f"accepted, total drop {decision.drop_pp:.3f} pp"
    return "rejected, logits not finite" if decision.reason == "not_finite" else "rejected"


SEARCHES = Searches()
