"""Records for the page: of each kind of part one, with names that nobody should trust."""

from __future__ import annotations

import numpy as np

from quantbench.records.base import Environment
from quantbench.records.blame import BlameRecord, CauseRecord, LayerBlame, Trial
from quantbench.records.classes import ClassFacts
from quantbench.records.judged import Judged
from quantbench.records.parts import CheckpointFacts, CoverageFacts
from quantbench.records.run import RunRecord, VerdictRecord

HOSTILE = "<script>alert(1)</script>\"'&\u202e"


def verdict(
    quantity: str = "accuracy_drop_pp", outcome: str = "PASS", change: str | None = None, **figures: object
) -> VerdictRecord:
    """A verdict on a loss of 0.4 [0.1, 0.7] pp that may be 1."""
    given = {"estimate": 0.4, "interval": (0.1, 0.7), "level": 0.95, "bound": 1.0, "n": 1_000} | figures
    return VerdictRecord(
        quantity=quantity,
        outcome=outcome,
        measured=f"{given['estimate']} pp",
        requirement=f"at most {given['bound']} pp",
        change=change,
        figures=Judged(**given),
    )


def classes(names: tuple[str, ...] = ("cat", "dog")) -> ClassFacts:
    """Ten samples: number 3 is lost, 6 gained, 8 changed from one mistake to another where there is a third class."""
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    before = np.array([0, 0, 0, 0, 0, 1, 0, 1, 0, 1])
    after = np.array([0, 0, 0, 1, 0, 1, 1, 1, min(2, len(names) - 1) if len(names) > 2 else 0, 1])
    return ClassFacts.of(names, labels, before, after)


def blame(experiment: str, layer: str = "conv", sentence: str = "conv is to blame.") -> BlameRecord:
    """A blame of two layers, of which the first is responsible."""
    common = {"op": "Conv", "quantized": True, "weights_db": 30.0, "largest_error": 0.5, "mean_error": 0.1,
              "range": (-1.0, 1.0), "needed": (-2.0, 2.0), "clipped": 0.1}  # fmt: skip
    cause = CauseRecord(kind="clipped", share=0.9, words="its range is too small", advice="")
    return BlameRecord(
        experiment=experiment, backend="eager", unit="pp", reference=91.0, candidate=80.0, drop=11.0,
        drop_interval=(9.0, 13.0), level=0.95, n=1_000, found_on=(256, 64), outcome="layer", responsible=[layer],
        sentence=sentence,
        layers=[
            LayerBlame(name=layer, propagated_db=12.0, local_db=12.5, removed=0.9, causes=[cause], **common),
            LayerBlame(name="fc", propagated_db=13.0, local_db=300.0, **common),
        ],
        trials=[Trial(layers=[layer], n=1_000, recovered=10.5, interval=(9.0, 12.0), level=0.99, complete=True)],
        unmatched=[], notes=[], passes=3.5, seconds=2.0, command="quantbench blame w/a", environment=ENVIRONMENT,
    )  # fmt: skip


ENVIRONMENT = Environment(
    processor="Example CPU", architecture="x86_64", isa=(), cores=8, system="Linux", python="3.12", versions={}
)


def whole(record: RunRecord, **changes: object) -> RunRecord:
    """A record with classes, a saved file and the work of its layers."""
    parts = {
        "classes": classes(),
        "checkpoint": CheckpointFacts(
            sha256="a" * 64,
            payload_bytes=10,
            keys={"conv.weight": {"dtype": "qint8"}, "conv.bias": {"dtype": "float32"}},
            reload_identical=True,
            largest_difference=0.0,
        ),
        "coverage": CoverageFacts(
            int8_macs=90, float_macs=10, int8_share=0.9, float_layers={"fc": 10}, int8_layers={"conv": 90}
        ),
    }
    return record.model_copy(update=parts | changes)
