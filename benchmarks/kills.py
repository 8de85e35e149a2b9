"""Is anything lost, wrong or left where a process is killed? `python benchmarks/kills.py` (quarter of an hour, Linux).

Each trial begins with the same project, runs a command and ends it by SIGKILL: its main process alone or its whole
process group, at a random moment or right before a random one of its operations on files, where a half-done change
would lie. Then the same command runs to its end. It must give the status, the files and the figures of a run that
nothing disturbed; whoever reads what was accepted in between must find it whole, no process of the killed command may
be alive, and no temporary file left.

The commands run in forks of this process, which has imported what they need, so that a trial takes a second or two.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# Networks this small gain nothing from threads, and a fork must not inherit any.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from kills_place import Place
from kills_processes import Kill, still_alive

# Exit statuses of commands that did all they were asked for: 1 says that nothing was accepted so far.
DONE = (0, 1)


@dataclass(frozen=True)
class Kind:
    """A command that is killed.

    Attributes:
        command: its arguments.
        begins_with: commands that have run before, in the project that each trial begins with.
        kills: how many.
        change: done to the project after these.
    """

    command: tuple[str, ...]
    begins_with: tuple[tuple[str, ...], ...] = ()
    kills: int = 16
    change: Callable[[Path], None] = lambda _: None


ADOPT = ("quantbench", "adopt", "tiny", "first.safetensors", "--accept-accuracy")
ADOPT_OTHER = ("quantbench", "adopt", "tiny", "second.safetensors", "--accept-accuracy")
QUANTIZE = ("quantbench", "quantize", "tiny", "--config", "ptq", "--out", "tiny.pt")
SEARCH = ("quantbench", "search", "tiny/ptq", "--epsilon", "20", "--json", "search.json")
ACCEPT_ALL = ("--update-golden", "--reason", "first", "--experiment", "tiny/ptq")
ACCEPT = ("pytest", "bench", "-q", "-m", "not latency", *ACCEPT_ALL)
RUN = ("quantbench", "run", "tiny/ptq", "--json", "records.json")
REPORT = ("quantbench", "report", "records.json")
ABLATE = ("quantbench", "ablate", "rows", "--jobs", "2")


def _forget_data(root: Path) -> None:
    for each in ("data", "data_known"):
        shutil.rmtree(root / "cache" / each)


KINDS = {
    "training": Kind(("quantbench", "train", "tiny"), (ADOPT,), 20),
    "decoding data": Kind(QUANTIZE, (ADOPT,), 16, _forget_data),
    "quantizing": Kind(QUANTIZE, (ADOPT,), 16),
    "quantizing again": Kind(QUANTIZE, (ADOPT, QUANTIZE), 16),
    "searching": Kind(SEARCH, (ADOPT, QUANTIZE), 16),
    "adopting": Kind(ADOPT_OTHER, (ADOPT,), 24),
    "reporting": Kind(REPORT, (ADOPT, RUN), 12),
    "accepting": Kind(ACCEPT, (ADOPT,), 10),
    "measuring": Kind(RUN, (ADOPT,), 10),
    "training rows": Kind(ABLATE, (ADOPT,), 10),
}


@dataclass
class Tally:
    """Outcome of the trials of one kind.

    Attributes:
        damaged: facts and results that a reader would have refused right after the kill.
        same: trials that ended with the bits of an undisturbed run.
        processes: of killed commands, alive after `ENDED_S`.
        files: temporary ones that were left.
        defects: a line for each trial in which anything was wrong.
    """

    kills: int = 0
    alone: int = 0
    at_files: int = 0
    damaged: int = 0
    same: int = 0
    processes: int = 0
    files: int = 0
    defects: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Undisturbed:
    """A command that nothing disturbed: its status, its files, and how long it takes.

    Attributes:
        changes: operations on files.
        temporary: names that it leaves in the system's folder of temporary files, such as torch's of its compiler.
    """

    status: int
    state: dict[str, str]
    seconds: float
    changes: int
    temporary: frozenset[str] = frozenset()


def undisturbed(place: Place, name: str, kind: Kind) -> Undisturbed:
    """Prepares the state that trials of a kind begin with, and runs its command from there, twice.

    Raises:
        RuntimeError: if a command fails, or two undisturbed runs differ.
    """
    place.begin("made")
    for command in kind.begins_with:
        if place.run(command)[1] not in DONE:
            raise RuntimeError(f"{name}: {' '.join(command)} failed: {(place.root / 'log').read_text()[-2000:]}")
    kind.change(place.root)
    (place.root / "log").unlink(missing_ok=True)
    place.keep(name)
    found = []
    for _ in range(2):
        place.begin(name)
        began = time.monotonic()
        status = place.run(kind.command)[1]
        seconds = time.monotonic() - began
        changes = int(place.temporary.with_name("changes").read_text(encoding="ascii"))
        if status not in DONE:
            raise RuntimeError(f"{name}: status {status}: {(place.root / 'log').read_text()[-2000:]}")
        found.append(Undisturbed(status, place.state(), seconds, changes, place.names()))
    if differing := _differing(found[0].state, found[1].state):
        raise RuntimeError(f"{name}: two undisturbed runs differ in {', '.join(differing)}")
    return found[1]


def _differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return sorted(path for path in before | after if before.get(path) != after.get(path))


def trial(place: Place, name: str, kind: Kind, expected: Undisturbed, kill: Kill, tally: Tally) -> None:
    """Kills the command once, runs it again and counts what is wrong."""
    place.begin(name)
    process, _ = place.run(kind.command, kill)
    processes, damaged = still_alive(process), place.damaged()
    second, status = place.run(kind.command)
    processes += still_alive(second)
    differing = _differing(expected.state, place.state())
    left = [path for path in place.left() if path.name not in expected.temporary]
    tally.kills += 1
    tally.alone += not kill.group
    tally.at_files += kill.before is not None
    tally.same += status == expected.status and not differing
    tally.damaged += len(damaged)
    tally.processes += len(processes)
    tally.files += len(left)
    wrong = [f"status {status}"] if status != expected.status else []
    wrong += [f"other bits in {', '.join(differing)}"] if differing else []
    wrong += [f"right after the kill: {'; '.join(damaged)}"] if damaged else []
    wrong += [f"{len(processes)} processes left"] if processes else []
    wrong += [f"left {', '.join(map(str, left))}"] if left else []
    if wrong:
        last = (place.root / "log").read_text(encoding="utf-8", errors="replace")[-1000:]
        tally.defects.append(f"{name}: {kill}: {'; '.join(wrong)}\n{last}")


def kill_at_random(draw: random.Random, expected: Undisturbed) -> Kill:
    """A kill by the clock, or by operations on files, as often."""
    group = draw.random() < 0.5
    if draw.random() < 0.5:
        return Kill(group, after_s=draw.uniform(0.0, expected.seconds))
    return Kill(group, before=draw.randint(1, max(expected.changes, 1)))


def kills_of(place: Place, name: str, kind: Kind, n: int, seed: int) -> Tally:
    """So many trials of one kind."""
    draw, tally = random.Random(f"{seed} {name}"), Tally()
    expected = undisturbed(place, name, kind)
    for _ in range(n):
        trial(place, name, kind, expected, kill_at_random(draw, expected), tally)
    return tally


def import_all() -> None:
    """Imports what the commands need, so that no fork takes seconds for it."""
    import importlib
    import pkgutil

    import quantbench

    for module in pkgutil.walk_packages(quantbench.__path__, "quantbench."):
        if module.name != "quantbench.__main__" and not module.name.startswith("quantbench.claims."):
            importlib.import_module(module.name)
    for other in ("matplotlib.pyplot", "scipy.optimize", "scipy.stats", "torch._dynamo", "torch.ao.quantization"):
        importlib.import_module(other)
    gc.freeze()


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="only this one; may be repeated")
    parser.add_argument("--kills", type=int, help="of each kind; default: its own number")
    given = parser.parse_args()
    import_all()
    from quantbench.measure.environment import environment

    here = environment()
    print(
        f"{here.processor}, {here.system}, Python {here.python}, torch {here.versions['torch']}, seed {given.seed}\n\n"
        "| killed | kills | main process alone | before an operation on files | damaged | same bits | processes left "
        "| files left | defects |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        place, all_of = Place(Path(folder)), Tally()
        for name in given.kind or KINDS:
            tally = kills_of(place, name, KINDS[name], given.kills or KINDS[name].kills, given.seed)
            print(_row(name, tally), flush=True)
            print("\n".join(tally.defects), file=sys.stderr, end="", flush=True)
            for each in ("kills", "alone", "at_files", "damaged", "same", "processes", "files", "defects"):
                setattr(all_of, each, getattr(all_of, each) + getattr(tally, each))
        print(_row("**all**", all_of), flush=True)
    sys.exit(1 if all_of.defects else 0)


def _row(name: str, tally: Tally) -> str:
    counts = (tally.kills, tally.alone, tally.at_files, tally.damaged, tally.same, tally.processes, tally.files)
    return f"| {name} | {' | '.join(map(str, counts))} | {len(tally.defects)} |"


if __name__ == "__main__":
    main()
