"""Records of all shards of a run as one file: none missing, none twice, all of the same plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from quantbench.config.schema import Experiment
from quantbench.errors import ConfigError
from quantbench.records.against import Base
from quantbench.records.base import agree
from quantbench.records.run import RecordFile, RunRecord, ShardFacts
from quantbench.session.revision import differing

# Ids that a message names.
SHOWN = 4


def merged_shards(files: Sequence[tuple[Path, RecordFile]]) -> RecordFile:
    """All parts in the order of the plan.

    False alarms need no correction here: each part was judged with the gates of all parts.

    Raises:
        ConfigError: in one line, if a file is no part, a part is missing or there twice, parts are of other plans or
            revisions, or of other samples, or an experiment of a part has neither a record nor a reason.
    """
    first = _plan(files)
    by_index: dict[int, Path] = {}
    for path, file in files:
        facts = _facts(path, file)
        if (facts.count, facts.planned) != (first.count, first.planned):
            raise ConfigError(
                f"{path}: is shard {facts.index} of {facts.count} over {len(facts.planned)} experiments, but "
                f"{files[0][0]} is of {first.count} over {len(first.planned)}, or of others; run all shards of one "
                "revision with the same options"
            )
        _check_revision(path, facts, files[0][0], first)
        if facts.index in by_index:
            raise ConfigError(f"{path}: shard {facts.index} is {by_index[facts.index]} already; name each shard once")
        by_index[facts.index] = path
        _check_whole(path, file, facts)
    if missing := [str(i) for i in range(1, first.count + 1) if i not in by_index]:
        raise ConfigError(f"shard {', '.join(missing)} of {first.count} is missing; name the files of all shards")
    _check_inputs(files)
    place = {id_: i for i, id_ in enumerate(first.planned)}
    return RecordFile(
        records=sorted((r for _, file in files for r in file.records), key=lambda r: place[r.experiment]),
        not_run=[each for _, file in files for each in file.not_run],
        errors=[each for _, file in files for each in file.errors],
        # A claim that one machine left out is left out of the whole.
        premises=list(dict.fromkeys(line for _, file in files for line in file.premises)),
        base=_base(files),
    )


def _base(files: Sequence[tuple[Path, RecordFile]]) -> Base | None:
    """The revision that all shards were measured against, with what each of them says of it."""
    found = [(path, file.base) for path, file in files]
    first = found[0][1]
    for path, base in found:
        if (base and base.commit) != (first and first.commit):
            raise ConfigError(
                f"{path}: was measured against {base.name if base else 'no revision'}, but {found[0][0]} against "
                f"{first.name if first else 'none'}; run all shards with the same --against"
            )
    if first is None:
        return None
    each = [base for _, base in found if base is not None]
    lists = {
        name: list(dict.fromkeys(line for base in each for line in getattr(base, name)))
        for name in ("notes", "base_only", "head_only")
    }
    return first.model_copy(update=lists)


def _plan(files: Sequence[tuple[Path, RecordFile]]) -> ShardFacts:
    return _facts(*files[0])


def _facts(path: Path, file: RecordFile) -> ShardFacts:
    if file.shard is None:
        raise ConfigError(f"{path}: is the whole of a run, and no shard; write shards with: --shard 1/8 --json FILE")
    return file.shard


def _check_revision(path: Path, facts: ShardFacts, first_path: Path, first: ShardFacts) -> None:
    """Refuses a part of another revision, whose plan may be the same."""
    if bool(facts.revision) != bool(first.revision):
        older, newer = (path, first_path) if first.revision else (first_path, path)
        raise ConfigError(
            f"{older}: does not say of which revision it is, as {newer} does; run all shards with one version of "
            "quantbench"
        )
    if differences := differing(first.revision, facts.revision):
        raise ConfigError(
            f"{path}: is of another revision than {first_path}, and differs in {_named(differences)}; run all shards "
            "of one revision"
        )


def _check_whole(path: Path, file: RecordFile, facts: ShardFacts) -> None:
    own = set(facts.planned[facts.index - 1 :: facts.count])
    found = {each.experiment for part in (file.records, file.not_run, file.errors) for each in part}
    if strange := sorted(found - own):
        raise ConfigError(f"{path}: holds {_named(strange)}, which shard {facts.index} does not have; run it again")
    if absent := sorted(own - found):
        raise ConfigError(f"{path}: says nothing of {_named(absent)}; it was cut short, run shard {facts.index} again")


def _check_inputs(files: Sequence[tuple[Path, RecordFile]]) -> None:
    """Refuses records of one workload that were measured on other samples, or with another reference."""
    seen: dict[str, tuple[Path, RunRecord]] = {}
    for path, file in files:
        for record in file.records:
            first_path, first = seen.setdefault(record.experiment.partition("/")[0], (path, record))
            for what, one, other in (
                ("test split", first.test_sha256, record.test_sha256),
                ("reference", first.baseline_sha256, record.baseline_sha256),
            ):
                if one != other:
                    raise ConfigError(
                        f"{path}: {record.experiment} was measured with another {what} ({other:.9}) than "
                        f"{first.experiment} in {first_path} ({one:.9}); run all shards on the same data"
                    )


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(ids[:SHOWN]) + more


def unjudged_lines(records: Iterable[RunRecord], configured: Sequence[Experiment]) -> list[str]:
    """A line about the gates that no shard has judged, as one that was run with `-k` or `-m` leaves some out."""
    bounds = {each.id: set(each.config.gates.bounds) for each in configured}
    left = sorted(
        f"{record.experiment}: {gate}"
        for record in records
        for gate in bounds.get(record.experiment, set()) - {verdict.quantity for verdict in record.verdicts}
    )
    return [f"{len(left)} gates were judged by no shard: {_named(left)}"] if left else []


def rebound_lines(records: Iterable[RunRecord], configured: Sequence[Experiment]) -> list[str]:
    """A line for each verdict by another bound than the configured one, as of a shard of another revision."""
    gates = {each.id: each.config.gates for each in configured}
    lines = []
    for record in records:
        for verdict in record.verdicts:
            judged = verdict.figures.bound if verdict.figures else None
            bound = gates[record.experiment].bound(verdict.quantity, record.environment.isa)
            if judged is not None and isinstance(bound, int | float) and not agree(judged, bound):
                lines.append(
                    f"{record.experiment}: {verdict.quantity} was judged by {judged:g}, and {bound:g} is configured; "
                    "run its shard again at this revision"
                )
    return lines


def machine_lines(records: Iterable[RunRecord]) -> list[str]:
    """Lines about records of several machines or versions, whose speeds are not each other's."""
    machines: dict[str, int] = {}
    for record in records:
        e = record.environment
        versions = ", ".join(f"{name} {version}" for name, version in sorted(e.versions.items()))
        words = f"{e.processor} ({' '.join(e.isa)}), {e.cores} cores, Python {e.python}, {versions}"
        machines[words] = machines.get(words, 0) + 1
    if len(machines) < 2:
        return []
    return [
        f"shards ran on {len(machines)} machines or versions; speeds of one are not those of another",
        *(f"  {n} experiments: {words}" for words, n in machines.items()),
    ]
