"""The same experiments at several versions, processors or machines, compared from their records alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantbench.errors import ConfigError
from quantbench.experiment.accuracy import ACCURACY_LEVEL
from quantbench.parity.comparison import Found, difference
from quantbench.records.base import read_versioned
from quantbench.records.parity import NotCompared, ParityRecord, Side, read_parity
from quantbench.records.run import OLDER_VERSIONS, SCHEMA_VERSION, RecordFile, RunRecord
from quantbench.stats.proportions import wilson_interval
from quantbench.strict_json import JsonError, read_json_value

ADVICE = "write it with: quantbench run EXPERIMENT --json FILE, or quantbench parity WORKLOAD --out FILE"
UNTIMED = "not of one run"
NO_SCALES = "records hold no scales"


@dataclass(frozen=True)
class Recorded:
    """One experiment in a file.

    Attributes:
        side: its figures.
        test_sha256: of its samples.
        data: name and note.
    """

    side: Side
    test_sha256: str
    data: tuple[str, str]


def compared_records(paths: Sequence[Path], command: str) -> list[ParityRecord]:
    """Each experiment of the first file against the same one of every other file.

    Args:
        paths: of `quantbench run --json` or `quantbench parity --out`.
        command: that asks for it.

    Raises:
        ConfigError: if a file cannot be read, fewer than two are given, or they share no experiment.
    """
    if len(paths) < 2:
        raise ConfigError("--records: name two files or more")
    labels = _labels(paths)
    (first, *others) = files = {label: _read(path, label) for label, path in zip(labels, paths, strict=True)}
    found = []
    for id_, base in files[first].items():
        there = {label: files[label][id_] for label in others if id_ in files[label]}
        lacking = (label for label in others if label not in there)
        absent = [NotCompared(name=label, reason=f"holds no {id_}", failed=False) for label in lacking]
        if there:
            found.append(_record(id_, base, there, absent, command))
    if not found:
        known = "; ".join(f"{label}: {', '.join(each) or 'none with an accuracy'}" for label, each in files.items())
        raise ConfigError(f"--records: the files share no experiment ({known}); measure the same one on both sides")
    return found


def _labels(paths: Sequence[Path]) -> list[str]:
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]


def _read(path: Path, label: str) -> dict[str, Recorded]:
    """Experiments with an accuracy, by id."""
    try:
        content = read_json_value(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {ADVICE}") from None
    except JsonError as error:
        raise ConfigError(f"{path}: {error}; {ADVICE}") from None
    if isinstance(content, dict) and "comparisons" in content:
        return {
            side.experiment: Recorded(
                side.model_copy(update={"name": label}), record.test_sha256, (record.data_name, record.data_note)
            )
            for record in read_parity(path)
            for side in record.sides
        }
    file = read_versioned(RecordFile, path, SCHEMA_VERSION, ADVICE, older=OLDER_VERSIONS, again="measure it again")
    return {each.experiment: found for each in file.records if (found := _of_run(each, label)) is not None}


def _of_run(record: RunRecord, label: str) -> Recorded | None:
    accuracy, size, checkpoint = record.accuracy, record.size, record.checkpoint
    if accuracy is None or size is None:
        return None
    own = wilson_interval(round(accuracy.quantized * accuracy.n), accuracy.n, ACCURACY_LEVEL)
    side = Side(
        name=label,
        experiment=record.experiment,
        backend=record.backend,
        engine=record.engine,
        threads=record.threads,
        environment=record.environment,
        libraries=[],
        sha256=[] if checkpoint is None else [checkpoint.sha256],
        size_bytes=size.quantized_bytes,
        n=accuracy.n,
        accuracy=accuracy.quantized,
        accuracy_interval=(own.low, own.high),
        level=ACCURACY_LEVEL,
        correct=accuracy.quantized_correct,
    )
    return Recorded(side, record.test_sha256, (record.data_name, record.data_note))


def _record(
    id_: str, base: Recorded, others: dict[str, Recorded], absent: list[NotCompared], command: str
) -> ParityRecord:
    for label, each in others.items():
        if each.test_sha256 != base.test_sha256 or each.side.n != base.side.n:
            here, those = base.side, f"(n={each.side.n:,}, sha256 {each.test_sha256[:12]}…)"
            raise ConfigError(
                f"--records: {id_}: {label} is of other test samples {those} than {here.name} (n={here.n:,}, sha256 "
                f"{base.test_sha256[:12]}…); measure both on the same data"
            )
    nothing = Found(speed=UNTIMED, no_scales=NO_SCALES)
    return ParityRecord(
        title=id_,
        workload=id_.partition("/")[0],
        data_name=base.data[0],
        data_note=base.data[1],
        test_sha256=base.test_sha256,
        command=command,
        sides=[base.side, *(each.side for each in others.values())],
        differences=[difference(base.side, each.side, nothing) for each in others.values()],
        left_out=absent,
    )
