"""Seconds of a run by phase: `python benchmarks/phases.py bench -k ptq`, or `python benchmarks/phases.py compare …`.

Runs `pytest`, or the command `quantbench compare`, in this process with a clock around the steps that take long; each
step has the time that no other step inside of it took. Work of a fresh process is the time that is waited for it.
"""

from __future__ import annotations

import functools
import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# Words → functions whose time they name, `module:attribute`.
STEPS = {
    "data opened": "quantbench.data.opening:open_splits",
    "samples evaluated": "quantbench.measure.evaluation:evaluate",
    "reference made": "quantbench.experiment.artifact:reference",
    "reference written for a runtime": "quantbench.experiment.artifact:lowered",
    "candidate made": "quantbench.experiment.artifact:candidate",
    "models loaded": "quantbench.experiment.run:Run.loaded",
    "fp32 forms tried": "quantbench.experiment.rivals:fastest_fp32",
    "forwards timed": "quantbench.measure.latency:time_forwards",
    "timed forwards checked before": "quantbench.experiment.timing:check_timed",
    "timed forwards checked after": "quantbench.experiment.timing:check_unchanged",
}
# Shorter ones are among all else.
SHOWN_S = 0.05
FRESH = "quantbench.measure.fresh:in_fresh_process"
# Imported first: a step is found by every module that took it by name.
USERS = (
    "quantbench.session.session", "quantbench.session.pair", "quantbench.cli.comparing", "quantbench.experiment.run",
    "quantbench.experiment.repetition", "quantbench.measure.reload", "quantbench.measure.memory",
    "quantbench.measure.probe", "quantbench.measure.confirmation",
)  # fmt: skip


@dataclass
class Phases:
    """Seconds and calls of each step, without those of steps within it."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    _within: list[float] = field(default_factory=list)

    def watch(self) -> None:
        """Puts a clock around every step."""
        for user in USERS:
            importlib.import_module(user)
        for words, place in STEPS.items():
            self._wrap(place, lambda *_, words=words: words)
        self._wrap(FRESH, lambda work, *_: f"fresh process: {work.__module__.rpartition('.')[2]}")

    def _wrap(self, place: str, words_of: Callable[..., str]) -> None:
        module, _, attribute = place.partition(":")
        *path, name = attribute.split(".")
        owner = functools.reduce(getattr, path, importlib.import_module(module))
        step = getattr(owner, name)

        @functools.wraps(step)
        def clocked(*args: Any, **kwargs: Any) -> Any:
            words, began = words_of(*args), time.perf_counter()
            self._within.append(0.0)
            try:
                return step(*args, **kwargs)
            finally:
                took, inner = time.perf_counter() - began, self._within.pop()
                if self._within:
                    self._within[-1] += took
                self.seconds[words] = self.seconds.get(words, 0.0) + took - inner
                self.calls[words] = self.calls.get(words, 0) + 1

        setattr(owner, name, clocked)
        for user in list(sys.modules.values()):
            if getattr(user, "__name__", "").startswith("quantbench") and getattr(user, name, None) is step:
                setattr(user, name, clocked)

    def table(self, total_s: float) -> str:
        """A table of the steps, the longest first."""
        rows = sorted(self.seconds.items(), key=lambda each: -each[1])
        rest = total_s - sum(self.seconds.values())
        lines = [f"| {words} | {self.calls[words]} | {seconds:.1f} |" for words, seconds in rows if seconds >= SHOWN_S]
        ends = [f"| all else | | {rest:.1f} |", f"| **all** | | {total_s:.1f} |"]
        return "\n".join(["| step | times | s |", "| --- | ---: | ---: |", *lines, *ends])


def run(arguments: list[str]) -> tuple[int, float, Phases]:
    """Runs a command with a clock around its steps; gives its exit status, seconds and phases."""
    phases = Phases()
    began = time.perf_counter()
    if arguments[:1] == ["compare"]:
        from quantbench.cli.app import app

        phases.watch()
        status = int(app(arguments, standalone_mode=False) or 0)
    else:
        import pytest

        phases.watch()
        # What was imported before cannot be rewritten, and needs not.
        quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        status = int(pytest.main([*arguments, *quiet]))
    return status, time.perf_counter() - began, phases


def main() -> None:
    """Runs it and prints the table."""
    sys.argv[0] = "quantbench" if sys.argv[1:2] == ["compare"] else "pytest"
    status, seconds, phases = run(sys.argv[1:])
    print(phases.table(seconds))
    sys.exit(status)


if __name__ == "__main__":
    main()
