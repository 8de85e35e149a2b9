"""An experiment quantized once more, in a fresh process: do the same bits come out?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from quantbench.arrays import OUTPUT, Outputs, largest_difference
from quantbench.config.schema import Experiment
from quantbench.experiment.artifact import backend_of, build_from_files
from quantbench.experiment.built import BuiltArtifact
from quantbench.experiment.workload import OpenWorkload
from quantbench.measure.fresh import in_fresh_process
from quantbench.measure.load import usable_cores
from quantbench.provenance import Code, differing_code, loaded_code
from quantbench.temporary import temporary_folder
from quantbench.torch_process import get_threads, set_threads

# Keys that came out differently and are named; the rest is counted.
SHOWN_KEYS = 4


@dataclass(frozen=True)
class Repetition:
    """Digests of the second conversion.

    Attributes:
        sha256: of each file.
        digests: hash of each key's value.
        probe: outputs, as of `BuiltArtifact`.
        code: the user's modules that were loaded for it.
        stale: why the first conversion does not count, in words; empty where it does.
    """

    sha256: tuple[str, ...]
    digests: dict[str, str]
    probe: Outputs
    code: Code = field(default_factory=dict)
    stale: str = ""


def run(experiment: Experiment, golden: Path, engine: str | None, threads: int) -> Repetition:
    """The fresh process's work: data, weights, calibration, conversion, from the files alone.

    Args:
        experiment: to be quantized.
        golden: folder of goldens and baselines.
        engine: quantized engine.
        threads: intra-operator threads, the same as of the first time, since sums may depend on them.
    """
    set_threads(threads)
    opened, backend = OpenWorkload(experiment.workload, golden), backend_of(experiment, engine)
    with temporary_folder() as folder:
        built = build_from_files(opened, experiment, backend, Path(folder))
        digests = backend.describe(built.artifact).digests
        return Repetition(built.artifact.sha256, digests, built.probe, loaded_code())


def repeat_in_fresh_process(experiment: Experiment, golden: Path, engine: str | None) -> Repetition:
    """Quantizes the experiment in a process of its own, with as many threads as this one.

    Raises:
        CheckpointError: if the process dies.
        QuantbenchError: any error of the fresh process.
    """
    died = f"{experiment.id}: the fresh process that quantized it again died"
    return in_fresh_process(run, experiment, golden, engine, get_threads(), died=died)


class Converted(Protocol):
    """A run, as far as its candidate is made again.

    Attributes:
        experiment: that was run.
    """

    experiment: Experiment

    @property
    def engine(self) -> str:
        """See `Backend.engine`."""

    @property
    def is_made(self) -> bool:
        """True once its candidate is there."""


class Repetitions:
    """Second conversions of a session: while one is waited for, that of the next experiment is made beside it.

    Each is mostly the work of one thread, so that two cores make two in the time of one.

    Args:
        runs: of the session, by experiment, in the order in which they were asked for.
    """

    def __init__(self, runs: Mapping[str, Converted] | None = None) -> None:
        self._runs: Mapping[str, Converted] = {} if runs is None else runs
        self._begun: dict[str, Future[Repetition]] = {}

    def of(self, run: Converted, golden: Path) -> Repetition:
        """A run's own.

        Args:
            run: whose candidate is there.
            golden: folder of goldens and baselines.

        Raises:
            QuantbenchError: as `repeat_in_fresh_process`.
        """
        found = self._begin(run, golden)
        if usable_cores() > 1 and (following := self._following(run)) is not None:
            self._begin(following, golden)
        return found.result()

    def wait(self) -> None:
        """Waits for whatever was begun, since it disturbs what is timed; its errors are for who asks for it."""
        wait(self._begun.values())

    def _begin(self, run: Converted, golden: Path) -> Future[Repetition]:
        if run.experiment.id not in self._begun:
            self._begun[run.experiment.id] = found = Future[Repetition]()
            arguments = found, run.experiment, golden, run.engine
            # One that is still at work when the session ends is left to end with it.
            threading.Thread(target=_fulfil, args=arguments, daemon=True).start()
        return self._begun[run.experiment.id]

    def _following(self, run: Converted) -> Converted | None:
        """The next experiment with a candidate that is not made again yet."""
        ids = list(self._runs)
        later = ids[ids.index(run.experiment.id) + 1 :] if run.experiment.id in ids else []
        return next((self._runs[id_] for id_ in later if self._runs[id_].is_made and id_ not in self._begun), None)


def _fulfil(found: Future[Repetition], experiment: Experiment, golden: Path, engine: str | None) -> None:
    try:
        found.set_result(repeat_in_fresh_process(experiment, golden, engine))
    except BaseException as error:
        found.set_exception(error)


def staleness(first: BuiltArtifact, second: Repetition, again: Callable[[Path], BuiltArtifact]) -> str:
    """The reason why a checkpoint is not one of the code of now, in words; empty if it is, or nobody can tell.

    Where no module tells, it is quantized a third time. An entry of the cache that neither of two agrees with is
    withdrawn.

    Args:
        first: the checkpoint.
        second: the same, quantized in a fresh process.
        again: quantizes here, into a folder.
    """
    if not differences(first, second):
        return ""
    if changed := differing_code(first.code, second.code):
        return f"the cached checkpoint was made by other code: {', '.join(changed)} changed since"
    if first.kept is None:
        return ""
    with temporary_folder() as folder:
        if differences(again(Path(folder)), second):
            return ""
    first.kept.withdraw("was made by other code")
    return "the cached checkpoint was made by other code, or from a file that the model reads by itself"


def differences(first: BuiltArtifact, second: Repetition) -> list[str]:
    """Differences that are not the same bit for bit, in words; empty if everything is."""
    found = []
    if first.artifact.sha256 != second.sha256:
        before = first.artifact.backend.create().describe(first.artifact).digests
        changed = [key for key in before | second.digests if before.get(key) != second.digests.get(key)]
        names = ", ".join(f"'{key}'" for key in changed[:SHOWN_KEYS])
        more = f" and {len(changed) - SHOWN_KEYS} more" if len(changed) > SHOWN_KEYS else ""
        found.append(f"the checkpoint differs in {names or 'its bytes, in no key'}{more}")
    for name in first.probe | second.probe:
        before_array, array = first.probe.get(name), second.probe.get(name)
        label = "logits" if name == OUTPUT else f"values of output '{name}'"
        if before_array is None or array is None:
            found.append(f"{label} came out one time only")
        elif before_array.shape != array.shape:
            found.append(f"{label} of shape {before_array.shape} became {array.shape}")
        elif before_array.tobytes() != array.tobytes():
            found.append(f"{label} differ by up to {largest_difference(before_array, array):g}")
    return found
