"""The rows of an ablation compared: each with the first one, and their ranking with the published one."""

from __future__ import annotations

from collections.abc import Mapping

from quantbench.config.ablation import Ablation, Row
from quantbench.records.ablation import AblationRecord, RowRecord, TrainedRow, ranked
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.proportions import wilson_interval
from quantbench.stats.ranking import agreement

LEVEL = 0.95


def compare(
    ablation: Ablation,
    trained: Mapping[str, TrainedRow],
    failed: Mapping[str, str],
    data_sha256: dict[str, str],
    command: str,
) -> AblationRecord:
    """The ablation's record.

    Args:
        ablation: its file.
        trained: result of each row that has one, by name.
        failed: why there is none, by name.
        data_sha256: of each split.
        command: that made them.
    """
    first = trained.get(ablation.rows[0].name)
    rows = [_row(row, trained.get(row.name), failed.get(row.name), first) for row in ablation.rows]
    both = [(row.published, row.accuracy) for row in rows if row.published is not None and row.accuracy is not None]
    found = agreement([one for one, _ in both], [other for _, other in both]) if len(both) > 1 else None
    ranked_by, pairs = ranked(rows, LEVEL)
    config = ablation.workload.config
    return AblationRecord(
        name=ablation.name,
        workload=ablation.workload.name,
        published=ablation.published,
        data_name=config.data.name,
        data_note=config.data_note,
        data_sha256=data_sha256,
        level=LEVEL,
        command=command,
        rows=rows,
        ranked_by=ranked_by,
        pairs=pairs,
        tau=found.tau if found else None,
        p_value=found.p_value if found else None,
        n_ranked=len(both),
    )


def _row(row: Row, trained: TrainedRow | None, failed: str | None, first: TrainedRow | None) -> RowRecord:
    given = RowRecord(name=row.name, changes=row.changes, published=row.published, failed=failed, trained=trained)
    if trained is None:
        return given
    bits, best = trained.bits, trained.best_epoch
    update: dict[str, object] = {
        "accuracy": float(bits.mean()),
        "accuracy_interval": _wilson(int(bits.sum()), trained.n_test),
    }
    if best is not None:
        accuracy = trained.history[best - 1]["validation_accuracy"]
        right = round(accuracy * trained.n_validation)
        update |= {"validation_accuracy": accuracy, "validation_interval": _wilson(right, trained.n_validation)}
    if first is not None and trained is not first:
        # What would be lost by going from this row to the first one is what this row has more.
        outcomes = PairedOutcomes.from_correct(before=bits, after=first.bits)
        interval = tango_interval(outcomes, LEVEL)
        update["difference_pp"] = 100 * outcomes.drop
        update["difference_interval_pp"] = (100 * interval.low, 100 * interval.high)
    return given.model_copy(update=update)


def _wilson(right: int, n: int) -> tuple[float, float]:
    interval = wilson_interval(right, n, LEVEL)
    return interval.low, interval.high
