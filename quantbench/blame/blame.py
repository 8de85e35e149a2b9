"""A blame: where the error is, how much putting layers back recovers, and why."""

from __future__ import annotations

from dataclasses import dataclass

from quantbench.backends.insides import Insides
from quantbench.blame.budget import Budget
from quantbench.blame.causes import causes_of
from quantbench.blame.causes.interface import Cause, Facts
from quantbench.blame.evidence import Evidence
from quantbench.blame.grouping import MOST_FOR_GROUPS, groups
from quantbench.blame.looking import Looked, looked
from quantbench.blame.samples import Samples, samples_for
from quantbench.blame.sentence import (
    Amounts,
    name_of,
    of_elsewhere,
    of_layers,
    of_nothing,
    of_spread,
    of_too_little,
    of_unexplained,
)
from quantbench.blame.trials import EXPLAINS, LEVEL, MOST_ALONE, Trials
from quantbench.experiment.fine_tuning import checked_trained_path
from quantbench.experiment.run import Run
from quantbench.measure.environment import environment
from quantbench.recipes.spec import Trained
from quantbench.records.blame import BlameRecord, CauseRecord, LayerBlame, Outcome, Trial

# Layers whose causes are looked for, beside those that are tried.
LOOKED_INTO = 3


@dataclass(frozen=True)
class Verdict:
    """Outcome of the trials.

    Attributes:
        outcome: see `BlameRecord`.
        responsible: names.
        trial: that confirms it; None where nothing was tried.
    """

    outcome: Outcome
    responsible: tuple[str, ...] = ()
    trial: Trial | None = None


def blamed(run: Run, command: str, budget: Budget | None = None) -> BlameRecord:
    """Finds the layer that makes an experiment's candidate worse.

    Layers are compared on calibration samples and on some test samples, whose labels are not looked at; what each costs
    is measured on the whole test set.

    Args:
        run: of the experiment.
        command: that asks for it.
        budget: time that it may take; None without a limit.

    Raises:
        QuantizationError: if the backend does not show the values inside, or layers cannot be matched.
        QuantbenchError: if reference or candidate cannot be measured at all.
    """
    budget = budget or Budget()
    evidence = Evidence.of(run)
    drop, interval = evidence.lost(LEVEL)
    insides = _opened(run)
    samples = samples_for(run.opened, run.experiment.recipe)
    found = looked(insides, samples, run.opened.task, budget)
    trials = Trials(run, evidence, insides, drop, sum(each.is_quantized for each in found.layers), budget)
    is_sure = interval is not None and interval[0] > 0
    verdict = Verdict("nothing")
    if is_sure:
        # What is put back can at best give the reference's answers.
        strict = evidence.lost(trials.level)[1]
        can_confirm = strict is not None and strict[0] > 0
        verdict = _tried(trials, found) if can_confirm else Verdict("too_little")
    facts = _facts(run, found, samples)
    into = {*found.order[:LOOKED_INTO], *verdict.responsible}
    causes = {name: causes_of(facts[name]) for name in facts if name in into}
    amounts = Amounts(evidence.unit, drop, interval)
    return BlameRecord(
        experiment=run.experiment.id,
        backend=run.experiment.backend.name,
        unit=evidence.unit,
        reference=run.opened.task.figure(evidence.before),
        candidate=run.opened.task.figure(evidence.after),
        drop=drop,
        drop_interval=interval,
        level=LEVEL,
        n=len(evidence),
        found_on=samples.counts,
        outcome=verdict.outcome,
        responsible=list(verdict.responsible),
        sentence=_sentence(amounts, verdict, trials, found, causes),
        layers=[_layer(facts[each.name], found, causes.get(each.name, [])) for each in found.layers],
        trials=trials.made,
        unmatched=list(insides.unmatched),
        notes=[*_notes(insides, found, samples), *([trials.refused] if trials.refused else [])],
        passes=budget.forwards / evidence.total,
        seconds=budget.elapsed,
        command=command,
        environment=environment(),
    )


def _opened(run: Run) -> Insides:
    reference, candidate = run.counterpart.artifact, run.artifact
    if isinstance(run.experiment.recipe, Trained):
        return run.backend.trained_insides(reference, candidate, checked_trained_path(run.opened, run.experiment))
    return run.backend.insides(reference, candidate)


def _tried(trials: Trials, found: Looked) -> Verdict:
    """Puts layers back until what is recovered explains the drop: one, then several, then all."""
    worth = [name for name in found.order if found.removed[name] > 0]
    for name in worth[:MOST_ALONE]:
        if (trial := trials.put_back([name])) is None:
            break
        if _explains(trial, trials.drop):
            return Verdict("layer", (name,), trial)
    for group in groups(found, trials.insides, trials.run.opened.task, trials.budget):
        if trials.refused or trials.budget.used > MOST_FOR_GROUPS or (trial := trials.put_back(group)) is None:
            break
        if _explains(trial, trials.drop):
            return Verdict("layers", group, trial)
    everything = None if trials.refused else trials.put_back([], gives_up=False)
    if everything is None:
        return Verdict("unexplained")
    if _explains(everything, trials.drop):
        return Verdict("spread", (), everything)
    high = None if everything.interval is None else everything.interval[1]
    # Surely not enough; otherwise the samples do not tell.
    is_elsewhere = high is not None and high < trials.drop
    return Verdict("elsewhere" if is_elsewhere else "unexplained", (), everything if is_elsewhere else None)


def _explains(trial: Trial, drop: float) -> bool:
    """True if enough is recovered, and surely more than nothing."""
    surely = trial.interval is not None and trial.interval[0] > 0
    return trial.complete and surely and trial.recovered >= EXPLAINS * drop


def _facts(run: Run, found: Looked, samples: Samples) -> dict[str, Facts]:
    has_vnni = any("vnni" in each for each in environment().isa)
    return {
        each.name: Facts(
            each,
            found.test[each.name],
            found.calibration.get(each.name),
            found.shown.get(each.name),
            samples.calibration_n,
            run.experiment.recipe,
            run.experiment.backend.name,
            has_vnni,
        )
        for each in found.layers
    }


def _sentence(amounts: Amounts, verdict: Verdict, trials: Trials, found: Looked, causes: dict[str, list[Cause]]) -> str:
    kinds = {each.name: each.op for each in found.layers}
    if verdict.outcome == "nothing":
        return of_nothing(amounts, len(trials.evidence))
    if verdict.outcome == "too_little":
        name = next(iter(found.order), None)
        most = None if name is None else (name_of(name, kinds[name]), found.removed[name], causes[name][0])
        return of_too_little(amounts, len(trials.evidence), most)
    best = max((each for each in trials.made if len(each.layers) == 1), key=lambda each: each.recovered, default=None)
    words = "nothing could be put back"
    if best is not None:
        known = amounts.of(best.recovered, best.interval)
        words = f"the most that one recovers is {known} ({name_of(best.layers[0], kinds[best.layers[0]])})"
    if verdict.trial is None:
        return of_unexplained(amounts, words, trials.refused)
    if verdict.outcome == "spread":
        return of_spread(amounts, verdict.trial, words)
    if verdict.outcome == "elsewhere":
        return of_elsewhere(amounts, verdict.trial)
    names = [name_of(each, kinds[each]) for each in verdict.responsible]
    own = [(name, cause) for name in verdict.responsible for cause in causes[name][:1]]
    # Of several, the one whose cause is no mere rounding comes first.
    about, cause = max(own, key=lambda each: each[1].share, default=("", None))
    return of_layers(amounts, names, verdict.trial, cause, about)


def _layer(facts: Facts, found: Looked, causes: list[Cause]) -> LayerBlame:
    layer, test = facts.layer, facts.test
    grid = layer.grid
    return LayerBlame(
        name=layer.name,
        op=layer.op,
        quantized=layer.is_quantized,
        propagated_db=test.propagated_db,
        local_db=test.local_db,
        weights_db=test.weights_db,
        largest_error=test.largest,
        mean_error=test.sum / max(test.n, 1),
        range=None if grid is None else (float(grid.low.min()), float(grid.high.max())),
        needed=facts.needed,
        clipped=test.beyond / max(test.n, 1),
        removed=found.removed.get(layer.name),
        causes=[CauseRecord(kind=c.kind, share=c.share, words=c.words, advice=c.advice) for c in causes],
    )


def _notes(insides: Insides, found: Looked, samples: Samples) -> list[str]:
    notes = [*insides.notes, *found.notes]
    if not samples.counts[0]:
        notes.append("there are no calibration samples: layers were compared on test samples alone")
    if found.fused_apart:
        notes.append(
            "the candidate with every layer put back does not compute what the reference does: a fused layer differs"
        )
    left = [each.name for each in found.layers if not each.is_quantized]
    if left:
        notes.append(f"stayed in floating point: {', '.join(left[:8])}{' …' if len(left) > 8 else ''}")
    return notes
