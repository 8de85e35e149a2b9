"""Damaged inputs at every reader: `python benchmarks/hostile_inputs.py` (11,600 of them, 2 minutes on two cores).

Each input is a valid file with one seeded mutation: bits flipped, spans cut out, moved or overwritten, JSON and YAML
edited by structure, archives and pickles rebuilt with their checksums right. It is read in a worker with bounded memory
and time. Exit status 1 if a defect was found: an error that is no line of ours, a hang, memory that grew by far more
than the file's size, or other content that was accepted without a reason.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from hostile_files import DIED
from hostile_readers import Reader, canonical, readers
from hostile_samples import DROPPED

from quantbench.errors import QuantbenchError
from quantbench.files import cache_dir

SEED, PER_READER = 1, 400
# Address space beyond what the libraries have, and resident memory beyond that before an input.
CAP_BYTES, GROWTH_BYTES = 2 << 30, 256 << 20
SECONDS = 10.0
LONGEST_LINE = 1500
EQUAL, DIFFERENT, REFUSED, DEFECT = "accepted, equal", "accepted, other", "refused", "defects"
# Inputs that a worker is given at a time.
BATCH = 50


class TookTooLongError(BaseException):
    """Raised by the alarm; no reader catches it."""


@dataclass
class Tally:
    """Outcomes of one reader.

    Attributes:
        counts: by outcome.
        reasons: for which other content was accepted.
        defects: number of the input, mutation and what happened.
        crashes: refused since a runtime crashed, in a process of its own.
    """

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    defects: list[str] = field(default_factory=list)
    crashes: int = 0

    def add(self, other: Tally) -> None:
        """Takes in the outcomes of more inputs."""
        self.counts += other.counts
        self.reasons += other.reasons
        self.defects += other.defects
        self.crashes += other.crashes


def attack(reader: Reader, numbers: Sequence[int], seed: int, folder: Path) -> Tally:
    """Reads damaged inputs.

    Args:
        reader: and its sample.
        numbers: of the inputs, each of which decides its mutation with the seed.
        seed: of all.
        folder: empty, for the files.
    """
    tally = Tally()
    place = _place(reader, folder)
    before = _read(reader, reader.sample, place)
    if before is None or before == DROPPED:
        raise AssertionError(f"{reader.name}: its valid sample is not read")
    for number in numbers:
        rng = random.Random(f"{seed} {reader.name} {number}")
        mutation = rng.choice(reader.mutations)
        try:
            data = mutation(reader.sample, rng)
        # An edit that the sample has no place for; the bytes are damaged instead.
        except (ValueError, KeyError, IndexError, RecursionError):
            data = reader.sample[: rng.randrange(len(reader.sample))]
        outcome, words = _outcome(reader, mutation, data, place, before)
        tally.counts[outcome] += 1
        if outcome == DIFFERENT:
            tally.reasons[words] += 1
        elif outcome == REFUSED:
            tally.crashes += DIED in words
        elif outcome == DEFECT:
            tally.defects.append(f"{reader.name} {number} {getattr(mutation, '__name__', '')}: {words}")
    return tally


def _place(reader: Reader, folder: Path) -> Path:
    """The folder of a reader's files: an entry of the cache for what is kept."""
    kinds = {"kept: rows of ablations": "ablations", "kept: searches": "searches",
             "kept: descriptions of data": "data", "kept: decoded data": "data"}  # fmt: skip
    kind = kinds.get(reader.name)
    return cache_dir() / kind / folder.name if kind else folder


def _read(reader: Reader, data: bytes, place: Path) -> object:
    shutil.rmtree(place, ignore_errors=True)
    path = place / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, content in reader.beside.items():
        (place / name).write_bytes(content)
    path.write_bytes(data)
    return canonical(reader.read(place))


def _outcome(reader: Reader, mutation: object, data: bytes, place: Path, before: object) -> tuple[str, str]:
    started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()), _alarm():
            after = _read(reader, data, place)
    except QuantbenchError as error:
        outcome = _refusal(str(error))
    except TookTooLongError:
        return DEFECT, f"took more than {SECONDS:g} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        return DEFECT, f"{type(error).__name__}: {str(error)[:120]} at {Path(where.filename).name}:{where.lineno}"
    else:
        if after == DROPPED:
            outcome = _refusal(said.getvalue().strip())
        elif after == before:
            outcome = EQUAL, ""
        elif excuse := reader.excuse(mutation, before, after):  # type: ignore[arg-type]
            outcome = DIFFERENT, excuse
        else:
            outcome = DEFECT, "other content was accepted"
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started)
    if grown > GROWTH_BYTES:
        return DEFECT, f"took {grown:,} bytes of memory for {len(data):,}"
    return outcome


def _refusal(text: str) -> tuple[str, str]:
    """A refusal, if it is lines that a terminal shows, and not of memory that ran out."""
    lines = text.splitlines()
    if not lines or any(not line.isprintable() or len(line) > LONGEST_LINE for line in lines):
        return DEFECT, f"its message is none or no printable line: {text[:120]!r}"
    if "MemoryError" in text or "allocate memory" in text:
        return DEFECT, f"memory ran out: {text[:120]}"
    return REFUSED, text


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TookTooLongError

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


_READERS: list[Reader] = []


def _begin(folder: str) -> None:
    """Makes the samples in a worker, and bounds its memory."""
    warnings.simplefilter("ignore")
    os.environ["OMP_NUM_THREADS"] = "1"
    _READERS[:] = readers(Path(folder) / f"worker-{os.getpid()}")
    size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + CAP_BYTES, size + CAP_BYTES))


def _work(index: int, numbers: Sequence[int], seed: int, folder: str) -> tuple[int, Tally]:
    place = Path(folder) / f"worker-{os.getpid()}" / "inputs"
    return index, attack(_READERS[index], numbers, seed, place)


def table(tallies: dict[str, Tally]) -> str:
    """Counts of each reader and of all, in Markdown."""
    columns = (EQUAL, DIFFERENT, REFUSED, DEFECT)
    rows = [(name, tally.counts) for name, tally in tallies.items()]
    rows.append(("**all**", sum((counts for _, counts in rows), Counter())))
    lines = [f"| reader | inputs | {' | '.join(columns)} |", "| --- |" + " ---: |" * (1 + len(columns))]
    lines += [
        f"| {name} | {sum(counts.values()):,} | {' | '.join(f'{counts[each]:,}' for each in columns)} |"
        for name, counts in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Prints the table, the reasons and the defects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--per-reader", type=int, default=PER_READER)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--reader", default="", help="only those whose name holds this text")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        names = [each.name for each in readers(Path(folder) / "names")]
        tallies = {name: Tally() for name in names if options.reader in name}
        with ProcessPoolExecutor(
            options.jobs, mp_context=get_context("spawn"), initializer=_begin, initargs=(folder,)
        ) as pool:
            work = [
                pool.submit(_work, i, range(start, min(start + BATCH, options.per_reader)), options.seed, folder)
                for start in range(0, options.per_reader, BATCH)
                for i, name in enumerate(names)
                if name in tallies
            ]
            for each in work:
                index, tally = each.result()
                tallies[names[index]].add(tally)
    print(table(tallies))
    for name, tally in tallies.items():
        for reason, count in tally.reasons.items():
            print(f"- {name}: {count} times other content was accepted: {reason}")
        if tally.crashes:
            print(f"- {name}: {tally.crashes} times the runtime crashed, in a process of its own")
    defects = [line for tally in tallies.values() for line in tally.defects]
    n = sum(sum(tally.counts.values()) for tally in tallies.values())
    print(f"\n{n:,} inputs, seed {options.seed}, {time.monotonic() - started:.0f} s, {len(defects)} defects")
    print("\n".join(defects[:100]), file=sys.stderr)
    sys.exit(1 if defects else 0)


if __name__ == "__main__":
    main()
