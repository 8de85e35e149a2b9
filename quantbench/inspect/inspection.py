"""Text of `quantbench inspect`: of one checkpoint, of two, and of one that is held against an experiment."""

from __future__ import annotations

from pathlib import Path

from quantbench.backends.checkpoint import payload_bytes, read_checkpoint
from quantbench.backends.origin import kind_of, stage_of
from quantbench.errors import CheckpointError
from quantbench.experiment.artifact import candidate_at
from quantbench.experiment.run import Run
from quantbench.inspect.anatomy import COLUMNS, State, open_checkpoint, rows
from quantbench.inspect.explained import explain
from quantbench.recipes.spec import Fp32, QatInt8, Trained


def describe_file(path: Path) -> str:
    """A checkpoint's kind and size, and a row per key."""
    state = open_checkpoint(path)
    table = [COLUMNS, *rows(state)]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join([_summary(path, state), *lines])


def _summary(path: Path, state: State) -> str:
    size = f"{path.stat().st_size:,} bytes, {payload_bytes(state):,} of them tensors"
    return f"{path}: {kind_of(state)}; {len(state)} keys, {size}"


def compare_files(first: Path, second: Path) -> tuple[str, bool]:
    """The first checkpoint traced into the second, and True if every difference is explained."""
    before, after = open_checkpoint(first), open_checkpoint(second)
    lines = [_summary(first, before), _summary(second, after)]
    names = ("the first file", "the second file")
    if stage_of(after) < stage_of(before):
        before, after, names = after, before, names[::-1]
        lines.append("explained from the second to the first, which is further from floating point")
    found = explain(before, after, names)
    parts = (
        (f"explained ({len(found.explained)}):", found.explained),
        (f"same form, other values ({len(found.values)}):", found.values),
        (f"UNEXPLAINED ({len(found.unexplained)}):", found.unexplained),
    )
    for title, entries in parts:
        if entries:
            lines += [title, *(f"  {entry}" for entry in entries)]
    lines.append(f"equal in form and values: {found.unchanged} keys")
    if conclusion := found.conclusion():
        lines.append(conclusion)
    return "\n".join(lines), not found.unexplained


def check_experiment(path: Path, run: Run) -> str:
    """Loads a checkpoint through an experiment's path and says what fits.

    Raises:
        CheckpointError: if it does not load, or its origin or weights say that it was made another way.
    """
    id_, recipe = run.experiment.id, run.experiment.recipe
    state = read_checkpoint(path)
    run.backend.load(candidate_at(run.opened, run.experiment, run.backend, [path], {}), threads=1)
    found = explain(read_checkpoint(run.baseline.artifact.path), state, ("the baseline", str(path)))
    others = [*found.unexplained, *found.values]
    if not isinstance(recipe, Trained) and (found.moved or others):
        # Whatever is not trained keeps its weights, but for their form.
        reason = found.conclusion() if found.moved else f"was not made from this baseline: {others[0]}"
        what = "the baseline itself" if isinstance(recipe, Fp32) else "post-training quantization"
        raise CheckpointError(f"{path}: loads as {id_}, which is {what}, but {reason}")
    if isinstance(recipe, QatInt8) and found.rounded and not found.moved:
        raise CheckpointError(f"{path}: loads as {id_}, which is trained, but {found.conclusion()}")
    return f"{path}: loads as {id_}: {kind_of(state)}; {found.conclusion() or 'nothing in it is quantized'}"
