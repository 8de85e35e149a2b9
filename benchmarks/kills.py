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
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

# Networks this small gain nothing from threads, and a fork must not inherit any.
os.environ.setdefault("OMP_NUM_THREADS", "1")

MODEL = """\
from torch import nn
from quantbench.models.quantizable import DeQuantStub, QuantStub, fuse

class Net(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.quant, self.dequant = QuantStub(), DeQuantStub()
        self.conv0, self.bn0, self.relu0 = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()
        self.conv1, self.bn1, self.relu1 = nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()
        self.pool, self.fc = nn.MaxPool2d(4), nn.Linear(4, n_classes)

    def forward(self, x):
        x = self.relu0(self.bn0(self.conv0(self.quant(x))))
        x = self.relu1(self.bn1(self.conv1(x)))
        return self.dequant(self.fc(self.pool(x).flatten(1)))

    def fuse_model(self, is_qat=False):
        fuse(self, [[f"conv{i}", f"bn{i}", f"relu{i}"] for i in range(2)], is_qat)

def net(n_classes=3):
    return Net(n_classes)
"""
CONFIG = """\
workload:
  model: {name: "net:net"}
  data: {name: image_folder, root: images, size: 8, calibration_pool: 20, search_pool: 60}
  baseline: tiny
  training: {epochs: 3, lr: 0.05, batch_size: 16, augment: []}
  latency: {batch_size: 4, rounds: 12}
experiments:
  ptq: {recipe: {name: static_int8, calibration_n: 16}, gates: {accuracy_drop_pp: 50.0}}
"""
ABLATION = """\
workload: tiny
rows:
  base: {}
  slower: {lr: 0.01}
"""
CLASSES, TRAIN_N, TEST_N = ("blue", "green", "red"), 50, 20
# Keys of JSON that differ from run to run: times, and what depends on them.
VOLATILE = {
    "duration_s", "seconds", "latency", "memory", "memory_bytes", "code", "command", "verdicts", "sha256_of_this",
    "speedups", "machine",
}  # fmt: skip
PASSED_OVER = ("__pycache__", ".pytest_cache", "log")
# Exit statuses of commands that did all they were asked for: 1 says that nothing was accepted so far.
DONE = (0, 1)
# In the system's folder of temporary files: what `multiprocessing` and `tempfile` leave when they are killed.
PYTHONS_OWN = re.compile(r"pymp-\w{8}|[a-z0-9_]{8}")
# Seconds within which the processes of a killed command must have ended; one of them may be importing torch.
ENDED_S = 60.0
# Audit events before an operation that changes a file.
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.link"}


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
class Kill:
    """When a command is killed, and how much of it.

    Attributes:
        group: the whole process group, not the main process alone.
        after_s: seconds from its start, or None.
        before: number of the operation on files before which it ends, from 1, or None.
    """

    group: bool
    after_s: float | None = None
    before: int | None = None


def make_project(root: Path, data: Path) -> None:
    """A workload of 8×8 images in three noisy colours, two sets of weights for it, and an ablation."""
    import numpy as np
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    pixels = np.random.RandomState(0)
    for side, count in {"train": TRAIN_N, "test": TEST_N}.items():
        for label, name in enumerate(CLASSES):
            folder = data / "images" / side / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = pixels.randint(60, 196, (8, 8, 3))
                image[..., label] += pixels.randint(0, 60)
                Image.fromarray(image.astype(np.uint8)).save(folder / f"{i:03}.png")
    for path, text in {
        "net.py": MODEL, "configs/tiny.yaml": CONFIG, "configs/ablations/rows.yaml": ABLATION,
        "pytest.ini": "[pytest]\naddopts = -p no:cacheprovider\n",
    }.items():  # fmt: skip
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    shutil.copytree(Path(__file__).parents[1] / "bench", root / "bench", ignore=shutil.ignore_patterns(*PASSED_OVER))
    namespace: dict[str, Any] = {}
    exec(MODEL, namespace)  # noqa: S102 — the text above
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        state = {key: value.contiguous() for key, value in namespace["net"]().state_dict().items()}
        save_file(state, root / f"{name}.safetensors")


class Place:
    """Folders of all trials: each begins with a copy of one state, at the same path.

    Args:
        folder: empty.
    """

    def __init__(self, folder: Path) -> None:
        self.root, self.states, self.temporary = folder / "project", folder / "states", folder / "tmp"
        # The same files in all trials, since a data set is known by how the system describes them.
        self.data = folder / "data"
        self.temporary.mkdir(parents=True)
        make_project(self.root, self.data)
        self.keep("made")

    def keep(self, name: str) -> None:
        """Keeps the project as it is now."""
        shutil.copytree(self.root, self.states / name)

    def begin(self, name: str) -> None:
        """Makes the project what it was when it was kept."""
        for each in (self.root, self.temporary):
            shutil.rmtree(each)
        shutil.copytree(self.states / name, self.root)
        self.temporary.mkdir()

    def run(self, command: Sequence[str], kill: Kill | None = None) -> tuple[int, int]:
        """Runs a command in a session of its own.

        Returns:
            Its number, and its exit status, negative where a signal ended it.
        """
        with warnings.catch_warnings():
            # Threads of whoever runs this are not used in the fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if process == 0:
            _become(command, self, kill)
        if kill and kill.after_s is not None:
            time.sleep(kill.after_s)
            _end(process, kill.group)
        return process, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def state(self) -> dict[str, str]:
        """Hash of each file of the project but locks, of JSON without what differs from run to run."""
        return {
            str(path.relative_to(self.root)): _hash(path) for path in self._files(self.root) if path.suffix != ".lock"
        }

    def damaged(self) -> list[str]:
        """Accepted facts and results that whoever reads them right now would refuse."""
        from quantbench.errors import QuantbenchError
        from quantbench.golden.baselines import load_card, weights_path

        found = []
        for path in self._files(self.root):
            if path.suffix == ".json" and "cache" not in path.relative_to(self.root).parts:
                try:
                    json.loads(path.read_text(encoding="utf-8"))
                except ValueError as error:
                    found.append(f"{path}: {error}")
        # In a copy, since a reader completes what it finds.
        copy = self.states / "read"
        shutil.rmtree(copy, ignore_errors=True)
        if (self.root / "golden").is_dir():
            shutil.copytree(self.root / "golden", copy)
            try:
                load_card(weights_path(copy, "tiny"), "")
            except QuantbenchError as error:
                found.append(str(error))
        return found

    def left(self) -> list[Path]:
        """Temporary files, but for two of Python's own: the socket of its fork server, and its look for a folder."""
        from quantbench.temporary import TEMPORARY

        in_project = [path for path in self._files(self.root) if any(map(TEMPORARY.fullmatch, path.parts))]
        return in_project + [path for path in self.temporary.iterdir() if not PYTHONS_OWN.fullmatch(path.name)]

    def names(self) -> frozenset[str]:
        """Names in the system's folder of temporary files."""
        return frozenset(path.name for path in self.temporary.iterdir())

    def _files(self, root: Path) -> Iterator[Path]:
        for path in sorted(root.rglob("*")):
            if path.is_file() and not set(path.relative_to(root).parts) & set(PASSED_OVER):
                yield path


def _become(command: Sequence[str], place: Place, kill: Kill | None) -> NoReturn:
    """Runs a command in this process, which is a fork, and ends it."""
    root, temporary, status = place.root, place.temporary, 70
    try:
        os.setsid()
        os.chdir(root)
        log = os.open(root / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        sys.stdout, sys.stderr = (os.fdopen(each, "w", encoding="utf-8") for each in (1, 2))
        os.environ.update(TMPDIR=str(temporary), QUANTBENCH_CACHE=str(root / "cache"), QUANTBENCH_DATA=str(place.data))
        for variable in ("CI", "GITHUB_STEP_SUMMARY", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"):
            os.environ.pop(variable, None)
        tempfile.tempdir = None
        sys.path.insert(0, str(root))
        sys.argv = list(command)
        _count_changes(root, temporary, kill)
        status = _called(command)
    except BaseException as error:
        sys.stderr.write(f"{error!r}\n")
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        _write_changes(temporary)
        # What ends at a regular end: the fork server, and the folder of its socket.
        from multiprocessing import util

        util._exit_function()  # type: ignore[attr-defined]
        _exit(status)


def _called(command: Sequence[str]) -> int:
    if command[0] == "pytest":
        import pytest

        return int(pytest.main(list(command[1:])))
    from quantbench.cli.app import main

    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


# The system's own: a command lets no code end its process past everything that is still to be judged.
_exit = os._exit
_changes: list[int] = [0]


def _count_changes(root: Path, temporary: Path, kill: Kill | None) -> None:
    """Counts operations that change files of the project, and ends this process before the one that a kill names."""
    _changes[0] = 0
    places, this = (f"{root}{os.sep}", f"{temporary}{os.sep}"), os.getpid()

    def count(event: str, given: tuple[Any, ...]) -> None:
        if event == "open":
            is_change = isinstance(given[2], int) and bool(given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        else:
            is_change = event in CHANGES
        if not is_change or os.getpid() != this or not isinstance(given[0], str | os.PathLike):
            return
        if str(root / os.fsdecode(given[0])).startswith(places):
            _changes[0] += 1
            if kill and _changes[0] == kill.before:
                _end(this, kill.group)

    sys.addaudithook(count)


def _write_changes(temporary: Path) -> None:
    temporary.with_name("changes").write_text(str(_changes[0]), encoding="ascii")


def _end(process: int, group: bool) -> None:
    try:
        (os.killpg if group else os.kill)(process, signal.SIGKILL)
    except ProcessLookupError:
        # Before it had a group, or after its end.
        os.kill(process, signal.SIGKILL)


def alive(session: int) -> list[int]:
    """Processes of a session, but for those that only wait to be asked how they ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = path.read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()[:4]
        except OSError:
            continue
        if int(own) == session and state not in ("Z", "X"):
            found.append(int(path.parent.name))
    return found


def _still_alive(session: int) -> list[int]:
    """Those that are alive after `ENDED_S`; they are ended then."""
    until = time.monotonic() + ENDED_S
    while (found := alive(session)) and time.monotonic() < until:
        time.sleep(0.05)
    for each in found:
        os.kill(each, signal.SIGKILL)
    return found


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".json":
        content = json.dumps(_steady(json.loads(content)), sort_keys=True).encode()
    elif path.suffix == ".md":
        # Pages name the command and its times.
        content = b"".join(line for line in content.splitlines(keepends=True) if b"took" not in line)
    return hashlib.sha256(content).hexdigest()


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        # Of files of JSON a cache entry has hashes, which change with what is left out of them.
        return {key: _steady(each) for key, each in value.items() if key not in VOLATILE and not key.endswith(".json")}
    return [_steady(each) for each in value] if isinstance(value, list) else value


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
    processes, damaged = _still_alive(process), place.damaged()
    second, status = place.run(kind.command)
    processes += _still_alive(second)
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
