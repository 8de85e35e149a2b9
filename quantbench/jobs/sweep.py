"""Every cell of a sweep computed once: several at a time, shown together, none stopped by the end of another."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic

from quantbench.errors import QuantbenchError
from quantbench.foreign import first_line
from quantbench.jobs.places import Place, opened
from quantbench.jobs.worker import LOOK_S, STOP, Asked, Ended, Job, Result, in_worker, note_of
from quantbench.measure.fresh import STOP_S
from quantbench.progress import Progress
from quantbench.temporary import temporary_folder

# Of loky, about the processes that it has lost.
EXIT_CODES = re.compile(r"exit codes of the workers are \{(.*)\}")
EXIT_CODE = re.compile(r"(SIG\w+|EXIT)\((-?\d+)\)")


def run_each(
    work: Callable[[Job, Progress], Result],
    jobs: Mapping[str, Job],
    sizes: Mapping[str, int],
    show: Progress,
    where: str | None = None,
    threads: int = 1,
) -> dict[str, Ended[Result]]:
    """Calls `work(job, progress)` for each job in a worker; one that fails or dies stops no other.

    A worker that dies takes with it all that ran at the same time, as far as anyone can tell: each of these cells is
    then run once more, alone, and what dies again is that cell's failure. Results do not depend on the place, nor on
    how many run at once, on processors of one kind.

    Args:
        work: a function of a module; it, the jobs and the results must be picklable.
        jobs: by name, started in order.
        sizes: steps of each job, for the display.
        show: the display, in steps of all jobs together.
        where: as `--jobs` has it; None for one process for each core of this machine.
        threads: that libraries take in a worker, unless the work sets them itself.

    Returns:
        The outcome of each job, in their order.

    Raises:
        ConfigError: if the place is none, or cannot compute.
        KeyboardInterrupt: when interrupted, once all workers have stopped.
    """
    with temporary_folder() as folder, opened(where, len(jobs), threads) as place:
        sweep = _Sweep(work, jobs, place, Asked.by_this_process(Path(folder)))
        thread = threading.Thread(target=sweep.run, daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(LOOK_S)
                sweep.show(sizes, show)
        except BaseException:
            sweep.stop()
            thread.join(STOP_S)
            raise
    if sweep.error is not None:
        raise sweep.error
    return {name: sweep.ended[name] for name in jobs}


class _Sweep(Generic[Job, Result]):
    """Cells in rounds, in a thread beside the one that shows them and may be interrupted."""

    def __init__(
        self, work: Callable[[Job, Progress], Result], jobs: Mapping[str, Job], place: Place, asked: Asked
    ) -> None:
        self._work, self._jobs, self._place, self._asked = work, jobs, place, asked
        self._is_stopped = False
        self.ended: dict[str, Ended[Result]] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        """Ends every cell, or notes the error by which that cannot be done."""
        try:
            waiting = list(self._jobs)
            while waiting and not self._is_stopped:
                lost, why = self._round(waiting)
                if why is not None and not lost:
                    raise QuantbenchError(f"no worker could be started ({first_line(why)})")
                for name in lost:
                    self._alone(name)
                waiting = [name for name in waiting if name not in self.ended]
        except QuantbenchError as error:
            # Of the place, which computes no more: what has ended is kept.
            for name in self._jobs:
                self.ended.setdefault(name, Ended(None, str(error)))
        except BaseException as error:
            self.error = error

    def _alone(self, name: str) -> None:
        if self._is_stopped:
            return
        _, why = self._round([name])
        if name not in self.ended and why is not None:
            self.ended[name] = Ended(None, died(why))

    def _round(self, names: Sequence[str]) -> tuple[list[str], Exception | None]:
        """Runs cells until all have ended or the first was lost.

        Returns:
            Those that had begun, maybe, and have not ended, and the error that ended the round.
        """
        begun: list[str] = []

        def calls() -> Iterator[tuple[str, Job]]:
            for name in names:
                if self._is_stopped:
                    return
                begun.append(name)
                yield name, self._jobs[name]

        try:
            for name, ended in self._place.each(in_worker, self._work, calls(), self._asked):
                if ended.traceback:
                    print(ended.traceback, file=sys.stderr)
                self.ended[name] = ended
        except QuantbenchError:
            raise
        except Exception as error:
            return [name for name in begun if name not in self.ended], error
        return [], None

    def stop(self) -> None:
        """Lets every worker end its cell and begin no other."""
        self._is_stopped = True
        (self._asked.folder / STOP).touch()
        self._place.stop(self._asked.folder.name)

    def show(self, sizes: Mapping[str, int], show: Progress) -> None:
        """Shows the steps of all cells, and the last word of one that runs."""
        steps, note = {name: sizes[name] for name in list(self.ended)}, ""
        for name in self._jobs:
            if name not in steps and (told := _told(note_of(name, self._asked.folder))):
                of, total, words = told
                steps[name], note = sizes[name] * min(of, total) // max(total, 1), f"{name} {words}".rstrip()
        done = f"{len(self.ended)} of {len(self._jobs)} done"
        show.update(sum(steps.values()), sum(sizes.values()), f"{done}; {note}" if note else done)


def _told(path: Path) -> Any:
    """Steps done, all steps and a note of a cell; None where it has told nothing, or is just writing it."""
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None


def died(error: BaseException) -> str:
    """The words about a cell whose worker died when it ran alone.

    Args:
        error: of joblib's.
    """
    again = "and left no result, when it ran once more alone too"
    codes = EXIT_CODE.findall("".join(EXIT_CODES.findall(str(error))))
    if not codes:
        return f"its worker was lost {again} ({first_line(error)})"
    name, code = codes[0]
    how = f"ended with status {code}" if name == "EXIT" else f"was killed by {name}"
    hint = "; where memory ran out, it needs more than there is" if name == "SIGKILL" else ""
    return f"its process {how} {again}{hint}"
