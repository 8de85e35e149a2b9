"""Records of a session, the same whoever asked for what in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from quantbench.errors import ForeignError
from quantbench.records.run import RunRecord
from quantbench.registry import validation_lines
from quantbench.session.plan import position


def in_order(records: Sequence[RunRecord], experiments: Sequence[str]) -> list[RunRecord]:
    """Records in the order of the configuration, their verdicts in that of the table of quantities.

    Args:
        records: one for each experiment.
        experiments: ids of all that are configured.
    """
    place = {id_: i for i, id_ in enumerate(experiments)}
    return [
        record.model_copy(update={"verdicts": sorted(record.verdicts, key=lambda verdict: position(verdict.quantity))})
        for record in sorted(records, key=lambda record: place.get(record.experiment, 0))
    ]


def checked(record: RunRecord) -> RunRecord:
    """The record, if it is the same after it was written and read.

    Raises:
        ForeignError: naming the part that is not, such as one of somebody's own quantity.
    """
    try:
        RunRecord.model_validate_json(record.model_dump_json())
    except ValidationError as error:
        raise ForeignError(f"its record is left out: {validation_lines(error, '', '')[0]}") from error
    return record


def merged(parts: Sequence[dict[str, Any]]) -> list[RunRecord]:
    """Records of which several processes measured a part each.

    Args:
        parts: as JSON; of what two of them hold, the later counts.
    """
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        known = found.setdefault(part["experiment"], part)
        verdicts = {verdict["quantity"]: verdict for verdict in [*known["verdicts"], *part["verdicts"]]}
        known.update({key: value for key, value in part.items() if value is not None})
        known["verdicts"] = list(verdicts.values())
    return [RunRecord.model_validate(each) for each in found.values()]
