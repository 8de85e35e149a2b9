"""A run as the result that would be accepted, and what changes by accepting it."""

from __future__ import annotations

import datetime
from pathlib import Path

from quantbench.config.schema import RegressionConfig
from quantbench.errors import GoldenError
from quantbench.experiment.fine_tuning import weights_of
from quantbench.experiment.run import Run
from quantbench.files import sha256_of_file, sha256_of_json
from quantbench.golden.results import (
    Acceptance,
    AcceptedResult,
    AcceptedSpeedup,
    Inputs,
    MachineClass,
    accept_command,
    read_result,
    write_result,
)
from quantbench.measure.environment import environment
from quantbench.recipes.translation import accepted_form


def inputs_of(run: Run) -> Inputs:
    """Hashes of all that the run's figures are computed from."""
    config, splits = run.experiment.workload.config, run.opened.splits
    configured = {
        "model": {"name": config.model.name, **run.opened.model_params()},
        "data": config.data.model_dump(mode="json"),
        "recipe": accepted_form(run.experiment.recipe),
        "backend": run.experiment.config.backend.described,
    }
    return Inputs(
        config=sha256_of_json(configured),
        baseline=sha256_of_file(run.opened.weights_path),
        weights=sha256_of_file(weights_of(run.opened, run.experiment)),
        calibration=splits.calibration.sha256,
        test=splits.test.sha256,
    )


def versions_of_run() -> dict[str, str]:
    """Versions of everything that computes, below the name of the operating system that it computes on."""
    here = environment()
    return {"system": here.system.partition(" ")[0], "python": here.python, **here.versions}


def machine_of(run: Run, threads: int) -> MachineClass:
    """The class of this machine, with that many threads."""
    return MachineClass.of(environment(), run.engine, threads)


def timing_machine(run: Run) -> MachineClass:
    """The class of this machine as the run's forwards are timed on it."""
    return machine_of(run, run.experiment.workload.config.latency.threads)


def margin_of(run: Run) -> RegressionConfig:
    """How much worse than accepted the experiment may be."""
    return run.experiment.workload.config.regression


def accepted_speedup(run: Run, accepted: AcceptedResult | None) -> AcceptedSpeedup | None:
    """The accepted speed-up that this run's can be compared with: of this class of machine, batch and inputs."""
    found = accepted.speedup_on(timing_machine(run)) if accepted else None
    if found is None or found.batch_size != run.experiment.workload.config.latency.batch_size:
        return None
    return None if found.inputs.differing(inputs_of(run)) else found


def accept(run: Run, reason: str, predictions: bool, speed: bool, today: datetime.date | None = None) -> str | None:
    """Makes what the run found the accepted result; exactly this experiment's file is written.

    Args:
        run: with what is accepted already measured.
        reason: kept in the history.
        predictions: whether accuracy and per-sample correctness are accepted.
        speed: whether the speed-up is, for this class of machine.
        today: date for the history.

    Returns:
        The file and old → new, or None if nothing changed.

    Raises:
        GoldenError: if a speed-up alone is to be accepted where nothing was before, or the file there is damaged or
            cannot be written.
    """
    golden, id_ = run.settings.golden, run.experiment.id
    before = read_result(golden, id_)
    if before is None and not predictions:
        raise GoldenError(f"{id_}: no accepted result to add a speed-up to; accept it whole: {accept_command(id_)}")
    after = _predictions(run) if predictions or before is None else before
    after = after.model_copy(update={"speedups": _speedups(run, before, after, speed)})
    changed = _changes(before, after)
    if before is not None and not changed:
        return None
    entry = Acceptance(date=str(today or datetime.date.today()), reason=reason, changed=changed)
    history = [*(before.history if before else []), entry]
    path = write_result(golden, after.model_copy(update={"history": history}))
    return told(path, before is None, changed)


def told(path: Path, is_new: bool, changed: list[str]) -> str:
    """The lines that an update prints."""
    head = f"{path}: accepted for the first time:" if is_new else f"{path}: updated, old → new:"
    return "\n".join([head, *(f"    {line}" for line in changed)])


def _predictions(run: Run) -> AcceptedResult:
    accuracy, size = run.accuracy, run.size
    import torch

    metrics = {
        "accuracy": accuracy.quantized,
        "fp32_accuracy": accuracy.fp32,
        "drop_pp": accuracy.drop_pp,
        "size_ratio": size.ratio,
        "quantized_bytes": float(size.quantized_bytes),
    }
    if run.coverage is not None:
        metrics["int8_share"] = run.coverage.int8_share
    return AcceptedResult(
        experiment=run.experiment.id,
        machine=machine_of(run, torch.get_num_threads()),
        versions=versions_of_run(),
        inputs=inputs_of(run),
        n=accuracy.n,
        correct=accuracy.quantized_correct,
        metrics={name: round(value, 6) for name, value in metrics.items()},
    )


def _speedups(run: Run, before: AcceptedResult | None, after: AcceptedResult, speed: bool) -> list[AcceptedSpeedup]:
    """Those that are still comparable, with this run's in place of the one of its class."""
    machine, here = timing_machine(run), inputs_of(run)
    # A speed-up alone may have been accepted where data differs from that of the result.
    comparable = (after.inputs, here)
    kept = [each for each in before.speedups if each.inputs in comparable] if before else []
    latency = run.latency
    if not speed or latency is None:
        return kept
    own = AcceptedSpeedup(
        machine=machine,
        batch_size=latency.batch_size,
        rounds=latency.rounds,
        level=latency.level,
        speedup=latency.speedup,
        speedup_interval=latency.speedup_interval,
        inputs=here,
    )
    return [each for each in kept if each.machine != machine] + [own]


def _changes(before: AcceptedResult | None, after: AcceptedResult) -> list[str]:
    """What a reviewer wants to read, as `name: old → new`."""
    lines = []
    old_metrics = before.metrics if before else {}
    for name, new in after.metrics.items():
        if old_metrics.get(name) != new:
            lines.append(f"{name}: {_figure(old_metrics.get(name))} → {_figure(new)}")
    if before:
        lines += _changed_bits(before, after)
        if str(before.machine) != str(after.machine):
            lines.append(f"machine: {before.machine} → {after.machine}")
        old, new_versions = before.versions, after.versions
        lines += [
            f"{name}: {old.get(name, '–')} → {version}"
            for name, version in new_versions.items()
            if old.get(name) != version
        ]
        lines += [f"input {name}: changed" for name in after.inputs.differing(before.inputs)]
    for speedup in after.speedups:
        old_speedup = before.speedup_on(speedup.machine) if before else None
        if old_speedup != speedup:
            lines.append(f"speed-up on {speedup.machine}: {_speed(old_speedup)} → {_speed(speedup)}")
    gone = [each for each in (before.speedups if before else []) if after.speedup_on(each.machine) is None]
    return lines + [f"speed-up on {each.machine}: {_speed(each)} → removed: its inputs changed" for each in gone]


def _changed_bits(before: AcceptedResult, after: AcceptedResult) -> list[str]:
    if before.inputs.test != after.inputs.test or before.n != after.n:
        return [f"test samples: {before.n:,} → {after.n:,}, others"]
    flipped = int((before.bits != after.bits).sum())
    return [f"predictions: {flipped} of {after.n:,} flipped"] if flipped else []


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _speed(speedup: AcceptedSpeedup | None) -> str:
    if speedup is None:
        return "–"
    low, high = speedup.speedup_interval
    return f"{speedup.speedup:.3f}× [{low:.3f}, {high:.3f}]"
