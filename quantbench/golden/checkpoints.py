"""Accepted checkpoints: `golden/checkpoints/<workload>/<experiment>.json`, one for each quantized engine."""

from __future__ import annotations

import json
from collections.abc import Collection

from quantbench.golden.documents import Document, DocumentKind
from quantbench.golden.interface import Evidence
from quantbench.recipes.spec import describe


class Checkpoints(DocumentKind):
    """Keys, dtypes, shapes, recipe and observers of an experiment's checkpoint: exact on each machine with its engine.

    Files that hold their own graph add its operators, versions, inputs and outputs.

    Scales are not among them, since they may differ between processors.
    """

    folder = "checkpoints"
    claims = ("checkpoint",)
    by_engine = True
    parts = ("checkpoint",)
    noun = "a checkpoint's description"

    def document(self, run: Evidence, claims: Collection[str] = claims, before: Document | None = None) -> Document:  # noqa: ARG002
        """The checkpoint as a fresh process finds it."""
        from quantbench.backends.entry import describe_entry

        facts = run.measured("checkpoint")
        return {
            "engine": run.engine,
            "recipe": describe(run.experiment.recipe),
            "observers": run.observers,
            "payload_bytes": facts.payload_bytes,
            "keys": {key: describe_entry(entry) for key, entry in facts.keys.items()},
            # State dicts tell no more than their keys; what was accepted of them stays as it is.
            # In the order of keys in which the accepted one was written, however deep they lie.
            **({"graph": json.loads(json.dumps(facts.graph, sort_keys=True))} if facts.graph else {}),
        }

    def content(self, fact: Document) -> Document:
        """The document with its keys in order, as syrupy writes them; those of the recipe stay as it declares them."""
        ordered: Document = json.loads(json.dumps(fact, sort_keys=True))
        return {**ordered, "recipe": json.loads(json.dumps(fact["recipe"]))}

    def outline(self, fact: Document) -> str:
        """Number of its keys, in words."""
        return f", {len(fact['keys'])} keys"


CHECKPOINTS = Checkpoints()
