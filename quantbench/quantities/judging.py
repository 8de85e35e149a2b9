"""A run's measurements against its gates, and the words in which a verdict is told."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial

from quantbench.config.schema import Experiment
from quantbench.errors import ConfigError, MeasurementError
from quantbench.experiment.repetition import differences as differences_of_bits
from quantbench.experiment.run import Run
from quantbench.experiment.workload import changed_splits
from quantbench.golden.baselines import load_card
from quantbench.golden.documents import differences, read_golden, shortened
from quantbench.golden.results import accept_command
from quantbench.measure.environment import environment
from quantbench.quantities.accuracy import judge_drop
from quantbench.quantities.memory import judge_memory
from quantbench.quantities.regression import ACCURACY_VS_ACCEPTED, judge_accuracy_vs_accepted
from quantbench.quantities.search import SEARCH, SEARCH_DROP, judge_search, judge_search_drop
from quantbench.quantities.speed import SPEEDUP_VS_ACCEPTED, judge_latency, judge_speedup_vs_accepted, questions_of
from quantbench.stats.verdicts import Outcome, Verdict, at_least, at_most, no_evidence


def judge_accuracy(run: Run, bound: float, gate: str = "accuracy_drop_pp") -> Verdict:
    """The drop against the baseline on the same samples, by Tango's interval."""
    return judge_drop(run, run.accuracy, bound, gate)


def judge_size(run: Run, bound: float) -> Verdict:
    """fp32 bytes over quantized bytes."""
    s = run.size
    measured = f"{s.ratio:.3f}× ({s.fp32_bytes:,} → {s.quantized_bytes:,} bytes)"
    return at_least("size_ratio", s.ratio, None, bound, 1, measured, "×")


def judge_coverage(run: Run, bound: float) -> Verdict:
    """The share of multiply-accumulates that ran as int8, with the layers that did not."""
    c = run.coverage
    if c is None:
        return no_evidence("int8_share", bound, kernels_unknown(run))
    measured = f"{c.int8_share:.4f} ({c.int8_macs:,} of {c.int8_macs + c.float_macs:,} multiply-accumulates)"
    if c.float_layers:
        worst = sorted(c.float_layers.items(), key=lambda item: -item[1])[:5]
        measured += "; in floating point: " + ", ".join(f"{name} ({macs:,})" for name, macs in worst)
    return at_least("int8_share", c.int8_share, None, bound, 1, measured, "")


def kernels_unknown(run: Run) -> str:
    """What is said where a backend does not tell which kernels ran."""
    return (
        f"backend '{run.backend.name}' does not tell which kernels ran; what is not known to be int8 is not called so"
    )


def judge_card(run: Run, bound: float) -> Verdict:
    """The distance between the accuracy measured here and the one on the baseline's card, on the same samples."""
    # First, since it refuses weights that were made for other data.
    here, n = run.accuracy.quantized, run.accuracy.n
    card = load_card(run.opened.weights_path, run.opened.train_command)
    if "test" in changed_splits(card, run.opened.splits):
        return no_evidence("card_drift_pp", bound, "the card was measured on samples made on another platform")
    drift = 100 * abs(here - card.accuracy)
    measured = f"{drift:.2f} pp (card {100 * card.accuracy:.2f} %, here {100 * here:.2f} %, n={n:,})"
    return at_most("card_drift_pp", drift, None, bound, n, measured, " pp")


# What is measured of every experiment, gated or not; named as in its record.
QUANTITIES = ("accuracy", "size", "memory", "coverage", "latency")


def measure(run: Run, quantity: str) -> Verdict | None:
    """Measures a quantity that no gate asked for.

    Returns:
        None, or INCONCLUSIVE if there is nothing to show.
    """
    try:
        if getattr(run, quantity) is not None:
            return None
        reason = kernels_unknown(run) if quantity == "coverage" else run.not_timed
    except MeasurementError as error:
        reason = str(error)
    return Verdict(quantity, Outcome.INCONCLUSIVE, None, None, None, 0, reason, "a figure to show; no bound is set")


# One function for each field of `Gates`.
JUDGES: dict[str, Callable[[Run, float], Verdict]] = {
    "accuracy_drop_pp": judge_accuracy,
    "block_drop_pp": partial(judge_accuracy, gate="block_drop_pp"),
    "size_ratio": judge_size,
    "memory_ratio": judge_memory,
    "int8_share": judge_coverage,
    "speedup": judge_latency,
    "card_drift_pp": judge_card,
    SEARCH_DROP: judge_search_drop,
}


def judge_claim(run: Run, claim: str) -> Verdict:
    """Makes a claim that needs no bound; the verdict is kept with the run.

    Args:
        run: the experiment.
        claim: a key of `CLAIMS`.
    """
    run.verdicts[claim] = CLAIMS[claim](run)
    return run.verdicts[claim]


def judge_gate(run: Run, gate: str) -> Verdict:
    """Measures what the gate is about and judges it; the verdict is kept with the run.

    Args:
        run: the experiment.
        gate: a field of `Gates` that the experiment's configuration sets.
    """
    bound = run.experiment.config.gates.bound(gate, environment().isa)
    if bound is None:
        raise ConfigError(f"{run.experiment.where('gates')}: '{gate}' is not set")
    run.verdicts[gate] = JUDGES[gate](run, bound)
    return run.verdicts[gate]


def measure_and_judge(run: Run) -> list[Verdict]:
    """Every claim about an experiment: the saved file, and each gate that its configuration sets."""
    run.time_forwards(questions_of(run))
    for gate in JUDGES:
        if getattr(run.experiment.config.gates, gate) is not None:
            judge_gate(run, gate)
    for claim in CLAIMS:
        if claim != SEARCH or run.experiment.config.search is not None:
            judge_claim(run, claim)
    for part in QUANTITIES:
        measure(run, part)
    return list(run.verdicts.values())


def judge_reload(run: Run) -> Verdict:
    """Bit-identical logits after loading in a fresh process."""
    c = run.checkpoint
    same = c.reload_identical
    apart = f"by up to {c.largest_difference:g}" if c.largest_difference >= 0 else "in shape, or are NaN or infinite"
    measured = "bit-identical" if same else f"logits differ {apart}"
    outcome = Outcome.PASS if same else Outcome.FAIL
    return Verdict("reload", outcome, None, None, None, 1, measured, "bit-identical logits in a fresh process")


def judge_determinism(run: Run) -> Verdict:
    """The same bytes and logits when a fresh process quantizes again."""
    # The first one comes first: it may train, or refuse what cannot be quantized at all.
    first = run.candidate
    found = differences_of_bits(first, run.repetition)
    measured = "; ".join(found) or "bit-identical"
    outcome = Outcome.FAIL if found else Outcome.PASS
    return Verdict("determinism", outcome, None, None, None, 1, measured, "the same bits, quantized again")


def judge_golden(run: Run) -> Verdict:
    """The checkpoint's keys, dtypes, shapes, schemes and observers against what was accepted."""
    accepted = read_golden(run.settings.golden, run.golden_name)
    if accepted is None:
        outcome, measured = Outcome.FAIL, f"no golden {run.golden_name}.json was ever accepted"
    elif changed := differences(accepted, run.golden_document()):
        outcome, measured = Outcome.FAIL, f"{len(changed)} difference(s), old → new:\n{shortened(changed)}"
    else:
        outcome, measured = Outcome.PASS, "as accepted"
    return Verdict("checkpoint", outcome, None, None, None, 1, measured, "the accepted checkpoint golden")


# Claims that need no bound, in the order in which they are made; of every experiment, but for the one about its search.
CLAIMS: dict[str, Callable[[Run], Verdict]] = {
    "reload": judge_reload,
    "determinism": judge_determinism,
    "checkpoint": judge_golden,
    ACCURACY_VS_ACCEPTED: judge_accuracy_vs_accepted,
    SPEEDUP_VS_ACCEPTED: judge_speedup_vs_accepted,
    SEARCH: judge_search,
}


def explain(experiment: Experiment, verdict: Verdict) -> str:
    """What a user reads of a verdict: experiment, quantity, measured, bound, and the commands that lead on."""
    quoted = shlex.quote(experiment.id)
    if verdict.accept:
        accept = f"accept:       {verdict.accept}"
    elif verdict.quantity in ("checkpoint", SEARCH, ACCURACY_VS_ACCEPTED, SPEEDUP_VS_ACCEPTED):
        # A speed-up that is accepted leaves predictions alone.
        accept = f"accept:       {accept_command(experiment.id, verdict.quantity == SPEEDUP_VS_ACCEPTED)}"
    elif verdict.quantity == "reload":
        accept = "accept:       not possible: a checkpoint that changes when it is loaded is broken"
    elif verdict.quantity == "determinism":
        accept = (
            "accept:       not possible: no result can be compared with one that changes by itself; seed whatever the "
            "model or its data draws at random (docs/determinism.md)"
        )
    elif verdict.bound is None:
        accept = "accept:       nothing to accept: no bound is set"
    else:
        accept = (
            f"accept:       change experiments.{experiment.name}.gates.{verdict.quantity} in {experiment.workload.path}"
        )
    further = f"search {quoted}" if verdict.quantity in (SEARCH, SEARCH_DROP) else f"run {quoted} --json record.json"
    return (
        f"{experiment.id}: {verdict.quantity}: {verdict.change or verdict.outcome}\n"
        f"  measured:     {verdict.measured}\n"
        f"  required:     {verdict.requirement}\n"
        f"  look further: quantbench {further}\n"
        f"  {accept}"
    )
