"""State of a run in one pytest process; imports the package only when a test needs it."""

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

from quantbench.plugin.causes import Causes
from quantbench.plugin.looked_at import LookedAt, outcome, planned_claims
from quantbench.plugin.no_claim import no_claim_at_all
from quantbench.plugin.options import is_update, option, root_folder, spelled
from quantbench.plugin.selected import is_disabled

if TYPE_CHECKING:
    from quantbench.config.schema import Experiment
    from quantbench.records.run import ExperimentError, NotRun, RunRecord
    from quantbench.session.session import Options, Session
    from quantbench.session.shard import Shard


# Options whose default folder has another name.
DEFAULT_FOLDERS = {"plots": "out"}


class State:
    """State of one pytest process; experiments and session are made when first needed.

    Attributes:
        mistake: why the run of experiments may not go on, if it may not.
        timed: experiments that the collected tests time, in the order of the configuration.
        interval_gates: verdicts of the whole run that samples decide.
        collected: parts of records that parallel workers measured, as JSON.
        elsewhere: experiments that workers found no data for → why.
        has_claims: tests about experiments were collected, here or in a worker.
        looked_at: claims that were made, here and in workers.
        deselected: claims that pytest's own selection leaves out.
        is_terminated: SIGTERM has ended the run.
        has_collection_errors: a test file could not be collected, which pytest says itself.
        is_broken: a claim of a worker ended with an error.
        errors_elsewhere: experiment and reason of each error in a worker.
        premises: lines about gates that were loosened and claims that were left out; each fails the run.
        not_looked_at: sentence that counts the claims which the command line left out; None where there are none.
        lost: lines about what the end of the run could not do, here and in workers; each fails the run.
        causes: of claims that could not be made, as they are told.
        repeats: lines of workers about splits that hold a sample more than once.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.mistake: str | None = None
        self.timed: list[Experiment] = []
        self.interval_gates = 0
        self.collected: list[dict[str, Any]] = []
        self.elsewhere: dict[str, str] = {}
        self.has_claims = False
        self.looked_at = LookedAt()
        self.deselected: set[tuple[str, str]] = set()
        self.is_terminated = False
        self.has_collection_errors = False
        self.is_broken = False
        self.errors_elsewhere: list[list[str]] = []
        self.premises: list[str] = []
        self.not_looked_at: str | None = None
        self.causes = Causes()
        self.repeats: dict[str, None] = {}
        self.lost: dict[str, None] = {}
        self._records: list[RunRecord] | None = None
        self._revision: dict[str, str] | None = None
        self._session: Session | None = None

    def option(self, name: str) -> Any:
        """The value of an option of the suite, by its short name."""
        return option(self.config, name)

    def folder(self, option: str) -> Path:
        """The folder that an option names, or its default in the root folder."""
        given = self.option(option)
        folder = Path(given) if given else root_folder(self.config) / DEFAULT_FOLDERS.get(option, option)
        return Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder

    @cached_property
    def experiments(self) -> list[Experiment]:
        """Every configured experiment, before any selection; code of the user's is imported from here on."""
        from quantbench.config.reading import load_experiments
        from quantbench.exits import refuse_exits

        # The end of a parallel worker is seen by the controller, and xdist's own.
        if not hasattr(self.config, "workerinput"):
            refuse_exits()
        return load_experiments(self.folder("configs"))

    @property
    def shard(self) -> Shard | None:
        """Part of the experiments that this run makes; None for all of them."""
        from quantbench.errors import ConfigError
        from quantbench.session.shard import Shard

        if not (text := self.option("shard")):
            return None
        try:
            return Shard.read(text)
        except ConfigError as error:
            raise ConfigError(str(error).replace("--shard", spelled(self.config, "--shard"), 1)) from None

    def note_revision(self) -> dict[str, str]:
        """The revision of the run, as it was when first asked for."""
        from quantbench.session.revision import revision

        if self._revision is None:
            self._revision = revision(self.chosen, self.folder("golden"))
        return self._revision

    @property
    def selected(self) -> list[Experiment]:
        """The experiments of this run: those that are chosen, or the shard's part of them."""
        shard = self.shard
        return shard.of(self.chosen) if shard else self.chosen

    @property
    def chosen(self) -> list[Experiment]:
        """The experiments that `--experiment` names, or all; of all shards."""
        from quantbench.config.selection import select
        from quantbench.errors import ConfigError

        patterns = self.option("experiment")
        if not patterns:
            return self.experiments
        known = self.experiments
        try:
            chosen = {experiment.id for pattern in patterns for experiment in select(known, pattern)}
        except ConfigError as error:
            raise ConfigError(f"{spelled(self.config, '--experiment')}: {error}") from None
        return [experiment for experiment in known if experiment.id in chosen]

    @property
    def session(self) -> Session:
        """The session, as the options ask for it."""
        if self._session is None:
            from quantbench.experiment.run import Settings
            from quantbench.experiment.runs import Runs
            from quantbench.session.session import Session
            from quantbench.stats.multiplicity import Family

            settings = Settings(
                golden=self.folder("golden"),
                engine=self.option("engine"),
                retrain=self.option("retrain"),
                amp=self.option("amp"),
                family=Family(self.interval_gates),
                sequential=self._sequential,
            )
            self._session = Session(Runs(settings), self._options(), list(self.timed))
        return self._session

    @property
    def _sequential(self) -> bool | None:
        """True or False as an option says; None where none does."""
        return True if self.option("sequential") else False if self.option("full") else None

    def _options(self) -> Options:
        from quantbench.session.acceptance import Accepting
        from quantbench.session.blaming import SECONDS
        from quantbench.session.session import Options

        untimed = ""
        if hasattr(self.config, "workerinput"):
            untimed = "nothing was timed: parallel workers disturb each other; time with -m latency and without -n"
        elif is_disabled(self.config):
            untimed = "nothing was timed: --benchmark-disable"
        accepting = Accepting.NOTHING
        if is_update(self.config):
            accepting = Accepting.ALL if self.config.option.update_snapshots else Accepting.NEW
        return Options(
            strict=self.option("strict-verdicts"),
            real_data=self.option("real-data"),
            untimed=untimed,
            accepting=accepting,
            reason=self.option("reason") or "",
            blame_s=0.0 if self.option("no-blame") else SECONDS,
        )

    @property
    def has_results(self) -> bool:
        """True if any experiment was opened, here or in a worker."""
        return bool(self._session or self.collected or self.elsewhere)

    @property
    def session_lines(self) -> list[str]:
        """The lines that the session's end prints."""
        return list(self._session.lines) if self._session else []

    def finish(self, is_cut_short: bool) -> bool:
        """Ends the session; tells whether the run may still succeed."""
        is_sound = True
        with self.losing("the end of the session"):
            is_sound = self._session is None or self._session.finish(is_cut_short)
        if self.mistake is None and not self.config.option.collectonly and not self.has_collection_errors:
            with self.losing("the look for claims that were left out"):
                if self.has_claims:
                    self._check_premises(is_cut_short)
                elif line := no_claim_at_all(self.config, self.folder("golden"), self.folder("configs")):
                    self.premises.append(line)
        with self.losing("the records"):
            self._check_columns()
        return is_sound and not self.premises and not self.lost and not self.has_broken_claims

    @property
    def has_broken_claims(self) -> bool:
        """True if a claim ended with an error, here or in a worker, whatever its test was reported as."""
        return self.is_broken or bool(self._session and self._session.broken)

    @contextmanager
    def losing(self, what: str) -> Iterator[None]:
        """Notes what the end of the run cannot do, and goes on.

        Args:
            what: is done, the subject of the sentence.
        """
        from quantbench.errors import QuantbenchError
        from quantbench.foreign import calling, traceback_of

        try:
            with calling(what):
                yield
        except QuantbenchError as error:
            more = f"\n\n{traceback_of(error)}" if self.config.get_verbosity() > 1 else ""
            self.lost[f"{error}{more}"] = None

    def _check_columns(self) -> None:
        if records := self.records():
            from quantbench.report.tables import broken_cells

            self.lost.update(dict.fromkeys(broken_cells(records)))

    def _check_premises(self, is_cut_short: bool) -> None:
        from quantbench.errors import QuantbenchError
        from quantbench.session.gates import loosened

        try:
            self.premises += loosened(self.folder("golden"), self.experiments, self.selected)
            planned = planned_claims(self.selected)
        except QuantbenchError as error:
            self.premises.append(str(error))
            return
        if self._session is not None:
            self.looked_at.made |= self._session.acceptances.claims
        lines, self.not_looked_at = outcome(self.config, self.looked_at, planned, self.not_run, is_cut_short)
        self.premises += lines

    def own_records(self) -> list[dict[str, Any]]:
        """Records of this process, as JSON."""
        if self._session is None:
            return []
        records = self._session.records(_command(self.config))
        self.lost.update(self._session.lost)
        return [json.loads(record.model_dump_json()) for record in records]

    def records(self) -> list[RunRecord]:
        """Of every run that measured anything, in the order of the configuration; workers' parts are merged.

        Made once, at the end of the run.
        """
        if self._session is None and not self.collected:
            return []
        if self._records is None:
            from quantbench.session.records import in_order, merged

            parts = [*self.own_records(), *self.collected]
            ids = [experiment.id for experiment in self.experiments] if parts else []
            self._records = in_order(merged(parts), ids) if parts else []
        return self._records

    @property
    def own_repeats(self) -> list[str]:
        """Lines of this process about splits that hold a sample more than once."""
        return list(self._session.repeats) if self._session else []

    @property
    def not_run(self) -> dict[str, str]:
        """Experiments whose data, or a library of theirs, is not on this machine → why, here and in workers."""
        return {**(self._session.not_run if self._session else {}), **self.elsewhere}

    def not_run_list(self) -> list[NotRun]:
        """The same as records."""
        from quantbench.records.run import NotRun

        return [NotRun(experiment=id_, reason=reason) for id_, reason in sorted(self.not_run.items())]

    def errors(self) -> list[ExperimentError]:
        """Errors of experiments, here and in workers."""
        from quantbench.records.run import ExperimentError

        own = self._session.errors() if self._session else []
        elsewhere = [ExperimentError(experiment=id_, reason=reason) for id_, reason in self.errors_elsewhere]
        return [*own, *(each for each in elsewhere if each not in own)]

    def sentences(self) -> list[str]:
        """Sentences of the summary about the run as a whole."""
        from quantbench.session.absence import optional_sentences
        from quantbench.stats.multiplicity import Family

        if self._session:
            found = self._session.sentences()
        else:
            of_workers = [*self.repeats, *optional_sentences(self.experiments, self.not_run)]
            found = [Family(self.interval_gates).sentence(), *of_workers]
        part = [shard.sentence(self.chosen)] if (shard := self.shard) else []
        return [*found, *part, *([self.not_looked_at] if self.not_looked_at else [])]


def _command(config: pytest.Config) -> str:
    """The command line as a user would type it again."""
    worker = getattr(config, "workerinput", None)
    return shlex.join(["pytest", *map(str, worker["mainargv"][1:] if worker else config.invocation_params.args)])


STATE = pytest.StashKey[State]()
