"""`quantbench train`, `adopt` and `curves`: a workload's fp32 baseline."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, OUT, Amp, Configs, Golden, Out, RealData, allow_download
from quantbench.extras import require

if TYPE_CHECKING:
    from quantbench.experiment.workload import OpenWorkload
    from quantbench.measure.evaluation import Evaluation
    from quantbench.records.card import BaselineCard

# Percentage points; an interval of the baseline's accuracy that is wider says next to nothing.
WIDE_PP = 20.0

WorkloadName = Annotated[str, typer.Argument(help="A workload file or the name of one.")]


def train(
    workload: WorkloadName,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    amp: Amp = False,
    real_data: RealData = False,
) -> None:
    """Train a workload's fp32 baseline and write its weights and card; a killed run continues."""
    from quantbench.backends.module import ModulePredictor
    from quantbench.experiment.soundness import soundness, spare_outputs
    from quantbench.report.curves import curves_of, overfitting

    allow_download(real_data)
    opened = _opened(workload, configs, golden)
    found: list[Evaluation] = []
    card = opened.train_baseline(amp, found.append)
    for line in [*spare_outputs(opened, ModulePredictor(opened.load_baseline())), *soundness(opened, found[0]).lines]:
        print(line, file=sys.stderr)
    _print_card(opened, card)
    if card.best_epoch:
        print(overfitting(curves_of(opened.baseline_name, card, str(opened.weights_path))))


def adopt(
    workload: WorkloadName,
    weights: Annotated[Path, typer.Argument(help="safetensors, or a state dict saved by torch.save.")],
    expect_accuracy: Annotated[
        float | None, typer.Option(min=0, max=100, help="Published accuracy, per cent; refuse any other.")
    ] = None,
    accept_accuracy: Annotated[
        bool, typer.Option("--accept-accuracy", help="Take an accuracy that no model is needed for.")
    ] = False,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    real_data: RealData = False,
) -> None:
    """Make weights that were trained elsewhere a workload's baseline: measure them and write them with a card."""
    from quantbench.experiment import adoption

    allow_download(real_data)
    opened = _opened(workload, configs, golden)
    share = None if expect_accuracy is None else expect_accuracy / 100
    adopted = adoption.adopt(opened, weights, accept_accuracy, share)
    for note in adopted.notes:
        print(note, file=sys.stderr)
    _print_card(opened, adopted.card)
    if adopted.replaced:
        print(adopted.replaced)


def curves(
    workload: WorkloadName,
    out: Out = OUT,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
) -> None:
    """Draw how a workload's baseline, and each experiment of it that was trained, learned, from their cards.

    Writes loss and accuracy as PNG and SVG and prints how far each training over-fitted.
    """
    from quantbench.config.reading import load_workload
    from quantbench.config.selection import find_workload
    from quantbench.experiment.workload import OpenWorkload
    from quantbench.golden.baselines import weights_path
    from quantbench.report.curves import overfitting, read_curves
    from quantbench.report.curves_plot import curves_plot

    require("quantbench curves", "matplotlib")
    found = find_workload(workload, configs)
    own = OpenWorkload(found, golden).baseline_name
    cards = {own: weights_path(golden, own).with_suffix(".json")}
    for experiment in load_workload(found.path):
        name = f"{own}.{experiment.name}"
        if (card := golden / "baselines" / f"{name}.json").is_file():
            cards[name] = card
    # All cards first, so that a mistake in one leaves nothing half-written.
    read = [read_curves(card, name, f"quantbench train {shlex.quote(str(found.path))}") for name, card in cards.items()]
    for each in read:
        plots = [out / f"curves_{each.name}.{suffix}" for suffix in ("png", "svg")]
        curves_plot(each, plots)
        print("\n".join([overfitting(each), *map(str, plots)]))


def _opened(workload: str, configs: Path, golden: Path) -> OpenWorkload:
    from quantbench.config.selection import find_workload
    from quantbench.experiment.workload import OpenWorkload
    from quantbench.files import cache_dir
    from quantbench.temporary import sweep_all

    sweep_all(cache_dir(), golden)
    return OpenWorkload(find_workload(workload, configs), golden)


def _print_card(opened: OpenWorkload, card: BaselineCard) -> None:
    for line in opened.splits.repeats:
        print(line, file=sys.stderr)
    if card.accuracy_interval is None:
        limits = card.score.interval if card.score else None
        interval = "" if limits is None else f" [{limits[0]:.4g}, {limits[1]:.4g}]"
        print(f"{opened.weights_path}: {card.shown}{interval} (n={card.n_test:,})")
        return
    low, high = (100 * limit for limit in card.accuracy_interval)
    if high - low > WIDE_PP:
        print(
            f"warning: {card.n_test:,} test samples leave the accuracy open between {low:.0f} and {high:.0f} %; with "
            "so few, gates on accuracy stay INCONCLUSIVE: add samples to the test split",
            file=sys.stderr,
        )
    print(f"{opened.weights_path}: {card.shown} [{low:.2f}, {high:.2f}] (n={card.n_test:,})")
