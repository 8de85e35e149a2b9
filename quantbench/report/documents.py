"""Records from files, and the Markdown documents that are generated from them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from quantbench.config.selection import claims_command
from quantbench.errors import ConfigError
from quantbench.files import check_replaceable, read_text, write_text
from quantbench.records.against import Base
from quantbench.records.base import read_versioned
from quantbench.records.run import (
    OLDER_VERSIONS,
    SCHEMA_VERSION,
    ExperimentError,
    NotRun,
    RecordFile,
    RunRecord,
    ShardFacts,
)
from quantbench.report.pareto import pareto_markdown
from quantbench.report.sensitivity import sensitivities, sensitivity_markdown
from quantbench.report.tables import error_lines, markdown_table, provenance

# Where a generated section begins, whoever writes it.
ANY_BEGIN = re.compile(r"<!-- \w+: begin(?:\s[^>]*)?-->")
# Ours take some KB; anything this large is no page to read.
MAX_DOCUMENT_BYTES = 1 << 26


def check_place(path: Path, option: str = "--json", read: Iterable[Path] = ()) -> None:
    """Refuses a place for a file before minutes of measuring, not after.

    Args:
        path: of the file.
        option: that names it.
        read: files that are read, which are not written over.

    Raises:
        ConfigError: if the path is no ordinary file or one that is read, or its folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{option} {path}: its folder cannot be made ({error.strerror}); name another file") from None
    if path.is_dir():
        raise ConfigError(f"{option} {path}: is a folder; name a file in it")
    try:
        check_replaceable(path)
        if path.exists() and any(each.exists() and path.samefile(each) for each in read):
            raise ConfigError(f"{option} {path}: is read here, and would be written over; name another file")
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}; name another file") from None


def write_records(
    path: Path,
    records: Sequence[RunRecord],
    not_run: Sequence[NotRun],
    errors: Sequence[ExperimentError] = (),
    shard: ShardFacts | None = None,
    premises: Sequence[str] = (),
    base: Base | None = None,
) -> None:
    """Writes what `read_records` reads, whole or not at all."""
    file = RecordFile(
        records=list(records),
        not_run=list(not_run),
        errors=list(errors),
        shard=shard,
        premises=list(premises),
        base=base,
    )
    write_text(path, file.model_dump_json(indent=1) + "\n")


def read_records(paths: Sequence[Path]) -> list[RunRecord]:
    """The records of several files, without errors: see `read_with_errors`."""
    return read_with_errors(paths)[0]


def read_with_errors(paths: Sequence[Path]) -> tuple[list[RunRecord], list[ExperimentError]]:
    """The records of several files, and the errors of experiments that no later file measured without any.

    A later file's record replaces an earlier one of the same experiment.

    Raises:
        ConfigError: if a file is missing, not what `--json` writes, of another version, holds no record at all, or one
            with a figure that nothing could have measured.
    """
    found = read_all(paths)
    return found.records, found.errors


def read_all(paths: Sequence[Path], empty: bool = False) -> RecordFile:
    """Several files as one, as `read_with_errors` tells of; with the experiments that none of them could start.

    Args:
        paths: of the files.
        empty: files in which nothing was measured are read too, since their errors are to be told.

    Raises:
        ConfigError: see `read_with_errors`.
    """
    found: dict[str, RunRecord] = {}
    not_run: dict[str, NotRun] = {}
    errors: list[ExperimentError] = []
    premises: dict[str, None] = {}
    base: Base | None = None
    for path in paths:
        file = read_file(path)
        premises |= dict.fromkeys(file.premises)
        base = file.base or base
        found |= {record.experiment: record for record in file.records}
        measured = {each.experiment for each in file.records} | {each.experiment for each in file.errors}
        errors = [each for each in errors if each.experiment not in measured] + file.errors
        not_run |= {each.experiment: each for each in [*_of_other_shards(path, file.shard), *file.not_run]}
    if not found and not (empty and (errors or not_run)):
        only = f", but an error: {error_lines(errors)[0]}" if errors else ""
        raise ConfigError(
            f"{', '.join(map(str, paths))}: no record{only}; write some with: {claims_command()} --json FILE"
        )
    known = {*found, *(each.experiment for each in errors)}
    left = [each for id_, each in not_run.items() if id_ not in known]
    return RecordFile(records=list(found.values()), not_run=left, errors=errors, premises=list(premises), base=base)


def _of_other_shards(path: Path, shard: ShardFacts | None) -> list[NotRun]:
    """Experiments that a file of one shard says nothing of, so that it is not taken for the whole of a run."""
    if shard is None:
        return []
    own = set(shard.planned[shard.index - 1 :: shard.count])
    reason = (
        f"in another shard: {path} is {shard.index} of {shard.count}; put all of them together with: quantbench merge "
        "FILE…"
    )
    return [NotRun(experiment=id_, reason=reason) for id_ in shard.planned if id_ not in own]


def read_file(path: Path) -> RecordFile:
    """One file as `--json` writes it.

    Raises:
        ConfigError: see `read_with_errors`.
    """
    return read_versioned(
        RecordFile,
        path,
        SCHEMA_VERSION,
        f"write it with: {claims_command()} --json FILE",
        outdated=f"measure again: {claims_command()} --json FILE",
        damaged=f"write it again with: {claims_command()} --json FILE",
        older=OLDER_VERSIONS,
        again="measure it again",
    )


def results_tables(records: Sequence[RunRecord], errors: Sequence[ExperimentError] = ()) -> str:
    """The results table, the errors of what is missing in it, and where its figures come from."""
    lines = "".join(f"- {line}\n" for line in error_lines(errors))
    return "\n".join(part for part in (markdown_table(records, errors), lines, provenance(records)) if part)


def pareto_document(records: Sequence[RunRecord], errors: Sequence[ExperimentError] = ()) -> str:
    """The Pareto tables, the results table, and where the figures come from."""
    return (
        "# Accuracy against size and latency\n\n"
        "● marks the front: no other experiment of the workload is at least as accurate, as small and as fast, and "
        "better in one of them; of other tasks than top-1 what is lost counts. Estimates are compared, not intervals; "
        "the plot shows both of accuracies, the page both of every task.\n\n"
        f"{pareto_markdown(records)}\n## Results\n\n{results_tables(records, errors)}"
    )


def sensitivity_document(records: Sequence[RunRecord]) -> str:
    """The tables of layers and hybrids, and where their figures come from; empty where no layer was measured."""
    text = sensitivity_markdown(records)
    measured = set(sensitivities(records))
    own = [record for record in records if record.experiment.partition("/")[0] in measured]
    return f"# Sensitivity of layers\n\n{text}\n{provenance(own)}" if text else ""


def with_tables(path: Path, records: Sequence[RunRecord], errors: Sequence[ExperimentError] = ()) -> str:
    """A Markdown file's text with generated sections in the place of what stands between their markers.

    `<!-- NAME: begin ARGUMENTS -->` … `<!-- NAME: end -->`, where NAME is `results` or `sensitivity`, with globs that
    choose experiments (all, if there is none).

    Raises:
        ConfigError: if the file cannot be read, has no markers, or one alone, or a glob that chooses nothing.
    """
    return with_sections(
        path, ("results", "sensitivity"), lambda name, arguments: _section(path, name, arguments, records, errors)
    )


def with_sections(
    path: Path, names: Sequence[str], section: Callable[[str, list[str]], str], what: str = "results"
) -> str:
    """A Markdown file's text with the marked sections of these names made anew; those of other names stay.

    Args:
        path: the file.
        names: of the sections; the error names the first where the file has none.
        section: gives the text for a name and the arguments of its marker.
        what: stands in such a section, for the message.

    Raises:
        ConfigError: if the file cannot be read, has no markers, or one alone.
    """
    text = _read(path)
    any_name = "|".join(names)
    begins = re.compile(rf"<!-- (?P<name>{any_name}): begin(?P<arguments>(?:\s[^>]*)?)-->")
    ends = re.compile(rf"<!-- ({any_name}): end -->")
    pieces, at = [], 0
    for begin in begins.finditer(text):
        end = f"<!-- {begin['name']}: end -->"
        stop = text.find(end, begin.end())
        if stop < 0:
            raise ConfigError(f"{path}: the marker '{begin[0]}' has no '{end}' after it; put it where the section ends")
        if inner := ANY_BEGIN.search(text, begin.end(), stop):
            raise ConfigError(
                f"{path}: the marker '{inner[0]}' stands inside the section of '{begin[0]}', which would replace it; "
                f"put '{end}' before it"
            )
        _refuse_end(path, ends.search(text, at, begin.start()))
        made = section(begin["name"], begin["arguments"].split())
        pieces += [text[at : begin.end()], "\n", made.strip("\n"), "\n"]
        at = stop + len(end)
        pieces.append(end)
    _refuse_end(path, ends.search(text, at))
    if not pieces:
        raise ConfigError(
            f"{path}: put the lines '<!-- {names[0]}: begin -->' and '<!-- {names[0]}: end -->' where the {what} belong"
        )
    return "".join([*pieces, text[at:]])


def _read(path: Path) -> str:
    try:
        return read_text(path, MAX_DOCUMENT_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a Markdown file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: cannot be read (not UTF-8 text); name a Markdown file") from None


def _refuse_end(path: Path, end: re.Match[str] | None) -> None:
    if end:
        begin = end[0].replace("end -->", "begin -->")
        raise ConfigError(f"{path}: the marker '{end[0]}' has no '{begin}' before it; put it where the section begins")


def _section(
    path: Path,
    name: str,
    arguments: Sequence[str],
    records: Sequence[RunRecord],
    errors: Sequence[ExperimentError],
) -> str:
    marker = " ".join([f"<!-- {name}: begin", *arguments, "-->"])
    for glob in arguments:
        if not fnmatch.filter([*(each.experiment for each in records), *(each.experiment for each in errors)], glob):
            raise ConfigError(
                f"{path}: {marker}: no record of '{glob}'; correct it, or measure it with: "
                f"{claims_command()} --experiment '{glob}' --json FILE"
            )

    def is_chosen(each: RunRecord | ExperimentError) -> bool:
        return not arguments or any(fnmatch.fnmatchcase(each.experiment, glob) for glob in arguments)

    chosen = [record for record in records if is_chosen(record)]
    broken = [error for error in errors if is_chosen(error)]
    text = results_tables(chosen, broken) if name == "results" else sensitivity_markdown(chosen)
    if not text:
        raise ConfigError(
            f"{path}: {marker}: none of these records is of one layer in int8; measure some: {claims_command()} "
            "--json FILE"
        )
    return text
