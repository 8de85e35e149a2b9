"""What one pytest process knows of experiments and their records; imports the package only when a test needs it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Session
    from quantbench.records.run import NotRun, RunRecord
    from quantbench.session.acceptance import Acceptances


# Names of the properties of a test's report that carry what a run found, also from worker to controller.
VERDICT_PROPERTY = "quantbench_verdict"
CHANGE_PROPERTY = "quantbench_change"
NO_BASELINE_PROPERTY = "quantbench_no_baseline"
BEHAVIOUR_PROPERTY = "quantbench_behaviour"
# Options whose default folder has another name.
DEFAULT_FOLDERS = {"plots": "out"}


def is_update(config: pytest.Config) -> bool:
    """Whether what is found becomes what is accepted, by our option or by syrupy's."""
    return bool(config.option.update_snapshots or config.option.update_new_snapshots_only)


class ReplayedClock:
    """A timer for pytest-benchmark that tells durations which were measured before, one after the other."""

    def __init__(self) -> None:
        self.durations: list[float] = []
        self._starts = True

    def __call__(self) -> float:
        """0 at a start, the next duration at an end: their difference is the duration to the last bit."""
        self._starts = not self._starts
        return self.durations.pop(0) if self._starts else 0.0


class State:
    """What one pytest process knows; experiments and session are made when first needed."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.mistake: str | None = None
        self.not_run: dict[str, str] = {}
        self.interval_gates = 0
        self.timed: list[Experiment] = []
        self.told: list[str] = []
        self.collected: list[dict[str, Any]] = []
        self._experiments: list[Experiment] | None = None
        self._session: Session | None = None

    def folder(self, option: str) -> Path:
        given = self.config.getoption(option)
        folder = Path(given) if given else self.config.rootpath / DEFAULT_FOLDERS.get(option, option)
        return Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder

    @cached_property
    def acceptances(self) -> Acceptances:
        """What the session accepts, as the options say."""
        from quantbench.session.acceptance import Acceptances, Accepting

        mode = Accepting.NOTHING
        if is_update(self.config):
            mode = Accepting.ALL if self.config.option.update_snapshots else Accepting.NEW
        return Acceptances(mode, self.config.getoption("reason"))

    @property
    def experiments(self) -> list[Experiment]:
        """Every configured experiment, before any selection."""
        if self._experiments is None:
            from quantbench.config.reading import load_experiments

            self._experiments = load_experiments(self.folder("configs"))
        return self._experiments

    @property
    def selected(self) -> list[Experiment]:
        """The experiments that `--experiment` names, or all."""
        from quantbench.config.selection import select
        from quantbench.errors import ConfigError

        patterns = self.config.getoption("experiment")
        if not patterns:
            return self.experiments
        known = self.experiments
        try:
            chosen = {experiment.id for pattern in patterns for experiment in select(known, pattern)}
        except ConfigError as error:
            raise ConfigError(f"--experiment: {error}") from None
        return [experiment for experiment in known if experiment.id in chosen]

    @property
    def session(self) -> Session:
        if self._session is None:
            from quantbench.experiment.run import Session, Settings
            from quantbench.stats.multiplicity import Family

            options = self.config.getoption
            self._session = Session(
                Settings(
                    golden=self.folder("golden"),
                    engine=options("engine"),
                    retrain=options("retrain"),
                    amp=options("amp"),
                    family=Family(self.interval_gates),
                )
            )
        return self._session

    def records(self) -> list[RunRecord]:
        """Of every run that measured anything, in the order of the configuration; workers' parts are merged."""
        from quantbench.records.run import RunRecord

        parts = [json.loads(record) for record in self.own_records()] + self.collected
        merged: dict[str, dict[str, Any]] = {}
        for part in parts:
            known = merged.setdefault(part["experiment"], part)
            verdicts = {v["quantity"]: v for v in [*known["verdicts"], *part["verdicts"]]}
            known.update({key: value for key, value in part.items() if value is not None})
            known["verdicts"] = list(verdicts.values())
        order = {experiment.id: i for i, experiment in enumerate(self.experiments)} if merged else {}
        return [RunRecord.model_validate(merged[id_]) for id_ in sorted(merged, key=lambda id_: order.get(id_, 0))]

    @property
    def has_results(self) -> bool:
        """Whether any experiment was opened, here or in a worker."""
        return bool(self._session or self.collected or self.not_run)

    def own_records(self) -> list[str]:
        """Records of this process, as JSON."""
        if self._session is None:
            return []
        runs = [run for run in self._session.runs.values() if run.results]
        return [run.record(_command(self.config)).model_dump_json() for run in runs]

    def finish(self, is_cut_short: bool) -> bool:
        """Withdraws what a noisy machine made worthless and accepts what was noted.

        Args:
            is_cut_short: whether the session ended before its tests did.

        Returns:
            Whether the session may still succeed.
        """
        if self._session is None:
            return True
        from quantbench.quantities.speed import withdraw

        for run in self._session.runs.values():
            self.told += withdraw(run)
        strayed = self._session.strayed
        self.told += [f"{id_}: the A/A control strayed: {control}" for id_, control in strayed.items()]
        if not is_update(self.config):
            return not (strayed and self.config.getoption("strict_verdicts"))
        if strayed or is_cut_short:
            reason = "the machine is too noisy; update on a quiet one" if strayed else "the run was cut short"
            self.told.append(f"nothing is accepted: {reason}")
            return False
        is_written = self.acceptances.write()
        self.told += self.acceptances.told
        return is_written

    def sentences(self) -> list[str]:
        """What the summary says of the run as a whole."""
        if not self.has_results:
            return []
        from quantbench.stats.multiplicity import Family

        controls = self._session.control_sentences() if self._session else []
        return [Family(self.interval_gates).sentence(), *controls]

    def not_run_list(self) -> list[NotRun]:
        from quantbench.records.run import NotRun

        return [NotRun(experiment=id_, reason=reason) for id_, reason in sorted(self.not_run.items())]


def _command(config: pytest.Config) -> str:
    """The command line as a user would type it again."""
    worker = getattr(config, "workerinput", None)
    return shlex.join(["pytest", *map(str, worker["mainargv"][1:] if worker else config.invocation_params.args)])


STATE = pytest.StashKey[State]()


@contextmanager
def one_line_errors(item: pytest.Item, active: bool) -> Iterator[None]:
    """Shows our own errors as their line, without a traceback through code the user did not write.

    Args:
        item: the test.
        active: whether it makes a claim about an experiment; other tests are left alone.
    """
    try:
        yield
    except Exception as error:
        if not active or not _is_ours(error):
            raise
        id_ = item.callspec.id if hasattr(item, "callspec") else item.name
        raise pytest.fail.Exception(f"{id_}: {error}", pytrace=False) from None


def _is_ours(error: Exception) -> bool:
    from quantbench.errors import QuantbenchError

    return isinstance(error, QuantbenchError)
