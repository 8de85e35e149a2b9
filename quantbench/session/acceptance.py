"""Facts that a session accepts: noted while its claims are made, written when all of them have been, or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from quantbench.errors import QuantbenchError
from quantbench.experiment.accuracy import check_informative
from quantbench.experiment.result import RunEvidence
from quantbench.experiment.run import Run
from quantbench.foreign import calling
from quantbench.golden.acceptance import accept
from quantbench.golden.gates import accepted_gates
from quantbench.golden.interface import OnRequest
from quantbench.golden.kinds import KINDS, kind_checked_by
from quantbench.registry import QUANTITIES
from quantbench.session.gates import accept_gates
from quantbench.stats.verdicts import Outcome

# Upper end of an accepted speed-up's interval over its lower end, at most: with a wider one a loss of a third could not
# be told from none.
WIDEST_SPEED = 1.5


class Accepting(Enum):
    """Facts that a session accepts of its experiments."""

    NOTHING = "nothing"
    NEW = "new"
    ALL = "all"


@dataclass
class Noted:
    """Facts to accept of one experiment.

    Attributes:
        run: with all of it measured.
        claims: that check what is accepted, by the folder of their kind of golden.
    """

    run: Run
    claims: dict[str, set[str]] = field(default_factory=dict)


class Acceptances:
    """Facts that a session is to accept, by experiment.

    Attributes:
        accepting: which facts.
        lines: those that the end of the session prints.
    """

    def __init__(self, accepting: Accepting = Accepting.NOTHING, reason: str = "") -> None:
        self.accepting = accepting
        self.lines: list[str] = []
        self._reason = reason
        self._noted: dict[str, Noted] = {}

    def takes(self, run: Run, claim: str) -> bool:
        """Notes the fact that a claim checks, if the session accepts it; then there is nothing to compare it with.

        Raises:
            QuantbenchError: if what was accepted is damaged; it is never overwritten.
        """
        kind = kind_checked_by(claim)
        if kind is None or self.accepting is Accepting.NOTHING:
            return False
        accepted = kind.accepted(RunEvidence(run))
        if self.accepting is Accepting.NEW and accepted is not None:
            return False
        self._note(run, claim, kind)
        return True

    @property
    def claims(self) -> set[tuple[str, str]]:
        """Experiment and quantity of every claim whose fact is accepted."""
        return {
            (id_, claim) for id_, noted in self._noted.items() for claims in noted.claims.values() for claim in claims
        }

    def write(self, no_speed: str = "") -> bool:
        """Writes all that was noted, and the gates of the experiments that it was noted of.

        Args:
            no_speed: why no speed-up is accepted; empty where they are.

        Returns:
            Whether all of it could be accepted.
        """
        # All of them, whatever becomes of the first.
        written = {id_: self._accept(id_, noted, no_speed) for id_, noted in sorted(self._noted.items())}
        if refused := [id_ for id_, is_whole in written.items() if not is_whole]:
            more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
            self.lines.append(
                f"the update fails: of {refused[0]}{more} not all was accepted, as said above; the other facts are"
            )
        return not refused

    def _note(self, run: Run, claim: str, kind: OnRequest[Any]) -> None:
        """Measures the fact now, while the claim can still fail."""
        evidence = RunEvidence(run)
        for part in kind.parts:
            evidence.measured(part)
        if "accuracy" in kind.parts:
            check_informative(run)
        noted = self._noted.setdefault(run.experiment.id, Noted(run))
        noted.claims.setdefault(kind.folder, set()).add(claim)

    def _accept(self, id_: str, noted: Noted, no_speed: str) -> bool:
        verdicts, is_whole = noted.run.verdicts, True
        for name in (each.name for each in QUANTITIES.all() if each.needed_to_accept):
            if name in verdicts and verdicts[name].outcome is Outcome.FAIL:
                self.lines.append(f"{id_}: nothing is accepted: {name} failed: {verdicts[name].measured}")
                return False
        timed = {each.name for each in QUANTITIES.all() if each.timed}
        no_speed = no_speed or why_no_speed(noted.run)
        if no_speed and any(claims & timed for claims in noted.claims.values()):
            self.lines.append(f"{id_}: no speed-up is accepted: {no_speed}")
            is_whole = False
        else:
            timed = set()
        try:
            # One after the other: what was accepted before a file that cannot be written stays accepted and is listed.
            with calling(f"{id_}: accepting it"):
                for kind in (kind for kind in KINDS.values() if isinstance(kind, OnRequest)):
                    if claims := noted.claims.get(kind.folder, set()) - timed:
                        result = accept(kind, RunEvidence(noted.run), claims, self._reason)
                        self.lines += result.lines
                        is_whole = is_whole and result.is_any
                self._accept_gates(noted.run)
        except QuantbenchError as error:
            self.lines.append(str(error))
            return False
        return is_whole

    def _accept_gates(self, run: Run) -> None:
        golden = run.settings.golden
        if self.accepting is Accepting.ALL or run.experiment.id not in accepted_gates(golden):
            self.lines += accept_gates(golden, [run.experiment], self._reason)


def why_no_speed(run: Run) -> str:
    """Gives the reason not to accept the speed of a run that was timed; empty where it is accepted."""
    return _unsound_speed(run) or _imprecise_speed(run)


def _unsound_speed(run: Run) -> str:
    """Gives the reason not to accept a speed that can be judged: every later one is compared with it, by wall time."""
    latency = run.latency
    busy = "" if latency is None else latency.doubt or latency.clock_note
    return f"its times are no wall times of a quiet machine ({busy}); accept it on one" if busy else ""


def _imprecise_speed(run: Run) -> str:
    """Gives the reason not to accept a speed that hardly any later one could be told from."""
    if run.latency is None:
        return ""
    low, high = run.latency.speedup_interval
    if high <= WIDEST_SPEED * low:
        return ""
    return (
        f"{run.latency.speedup:.3f}× [{low:.3f}, {high:.3f}] is too imprecise to compare with: the interval's upper "
        f"end is more than {WIDEST_SPEED:g} times its lower one; raise latency.rounds or latency.looks, or use a quiet "
        "machine"
    )
