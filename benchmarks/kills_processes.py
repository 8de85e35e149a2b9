"""Commands that run in forks of this process, and end where they are told to."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

# Seconds within which the processes of a killed command must have ended; one of them may be importing torch.
ENDED_S = 60.0
# Audit events before an operation that changes a file.
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.link"}


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


class Folders(Protocol):
    """Folders of a trial.

    Attributes:
        root: of the project.
        temporary: the system's folder of temporary files.
        data: of the data set.
    """

    root: Path
    temporary: Path
    data: Path


def become(command: Sequence[str], place: Folders, kill: Kill | None) -> NoReturn:
    """Runs a command in this process, which is a fork, and ends it."""
    from multiprocessing import process, util

    root, temporary, status = place.root, place.temporary, 70
    try:
        # Processes of whoever forked are not this one's to wait for.
        process._children.clear()  # type: ignore[attr-defined]
        util._finalizer_registry.clear()  # type: ignore[attr-defined]
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
    # Whatever happens at its end, a fork does not go on with what its parent was doing.
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        _write_changes(temporary)
        # What ends at a regular end: the fork server, and the folder of its socket.
        util._exit_function()  # type: ignore[attr-defined]
    except BaseException as error:
        status = 70
        os.write(2, f"{error!r}\n".encode())
    finally:
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
                end(this, kill.group)

    sys.addaudithook(count)


def _write_changes(temporary: Path) -> None:
    temporary.with_name("changes").write_text(str(_changes[0]), encoding="ascii")


def end(process: int, group: bool) -> None:
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


def still_alive(session: int) -> list[int]:
    """Those that are alive after `ENDED_S`; they are ended then."""
    until = time.monotonic() + ENDED_S
    while (found := alive(session)) and time.monotonic() < until:
        time.sleep(0.05)
    for each in found:
        os.kill(each, signal.SIGKILL)
    return found
