"""`quantbench`: the verbs of the suite from the shell. Heavy imports wait in the command that needs them."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, OUT, Amp, Configs, Engine, Golden, Out, RealData, allow_download
from quantbench.cli.search import search, sensitivity
from quantbench.errors import OldWordWarning, QuantbenchError
from quantbench.extras import require

if TYPE_CHECKING:
    from quantbench.experiment.workload import OpenWorkload
    from quantbench.records.card import BaselineCard

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class Kind(StrEnum):
    """What `list` can list."""

    MODELS = "models"
    RECIPES = "recipes"
    DATA = "data"
    BACKENDS = "backends"
    TASKS = "tasks"
    QUANTITIES = "quantities"
    EXPERIMENTS = "experiments"


@app.command("list")
def list_(
    kind: Annotated[Kind | None, typer.Argument(help="One kind, or all of them.")] = None, configs: Configs = CONFIGS
) -> None:
    """List what is registered and which experiments are configured."""
    from quantbench.config.reading import load_experiments
    from quantbench.registry import BACKENDS, DATA, MODELS, QUANTITIES, RECIPES, TASKS, Registry

    registries: dict[Kind, Registry[Any]] = {
        Kind.MODELS: MODELS, Kind.RECIPES: RECIPES, Kind.DATA: DATA, Kind.BACKENDS: BACKENDS, Kind.TASKS: TASKS,
        Kind.QUANTITIES: QUANTITIES,
    }  # fmt: skip
    for each in [kind] if kind else list(Kind):
        names = registries[each].names() if each in registries else [e.id for e in load_experiments(configs)]
        indent = "" if kind else "  "
        print("\n".join(([] if kind else [f"{each}:"]) + [f"{indent}{name}" for name in names]))


@app.command()
def train(
    workload: Annotated[str, typer.Argument(help="A workload file or the name of one.")],
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    amp: Amp = False,
    real_data: RealData = False,
) -> None:
    """Train a workload's fp32 baseline and write its weights and card; a killed run continues."""
    from quantbench.report.curves import curves_of, overfitting

    allow_download(real_data)
    opened = _opened(workload, configs, golden)
    card = opened.train_baseline(amp)
    _print_card(opened.weights_path, card)
    if card.best_epoch:
        print(overfitting(curves_of(opened.workload.config.baseline, card, str(opened.weights_path))))


@app.command()
def adopt(
    workload: Annotated[str, typer.Argument(help="A workload file or the name of one.")],
    weights: Annotated[Path, typer.Argument(help="safetensors, or a state dict saved by torch.save.")],
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    real_data: RealData = False,
) -> None:
    """Make weights that were trained elsewhere a workload's baseline: measure them and write them with a card."""
    allow_download(real_data)
    opened = _opened(workload, configs, golden)
    _print_card(opened.weights_path, opened.adopt(weights))


@app.command()
def quantize(
    workload: Annotated[str, typer.Argument(help="A workload file or the name of one.")],
    config: Annotated[str, typer.Option(help="A recipe, or an experiment of the workload.")],
    calibration_n: Annotated[int | None, typer.Option(help="Calibration samples; default: the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Checkpoint file; default: <workload>-<recipe>.pt.")] = None,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
    real_data: RealData = False,
) -> None:
    """Quantize a workload's baseline and write the int8 checkpoint, a state dict for torch.load(weights_only=True)."""
    from quantbench.config.selection import find_workload, with_recipe
    from quantbench.experiment.run import Session, Settings
    from quantbench.files import replacing

    allow_download(real_data)
    params = {} if calibration_n is None else {"calibration_n": calibration_n}
    experiment = with_recipe(find_workload(workload, configs), config, params)
    run = Session(Settings(golden, engine)).run(experiment)
    path = out or Path(f"{experiment.workload.name}-{config}.pt")
    with replacing(path) as temporary:
        temporary.write_bytes(run.artifact.path.read_bytes())
    size = run.size
    print(f"{path}: {size.quantized_bytes:,} bytes, {size.ratio:.2f}× smaller than fp32 ({size.fp32_bytes:,} bytes)")


@app.command()
def run(
    experiment: Annotated[str, typer.Argument(help="An experiment's id, or a glob such as 'cifar_cnn_*/ptq_*'.")],
    json: Annotated[Path | None, typer.Option(help="Write the records to this file.")] = None,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
    real_data: RealData = False,
    strict_verdicts: Annotated[bool, typer.Option("--strict-verdicts", help="INCONCLUSIVE fails.")] = False,
) -> None:
    """Measure experiments, judge all their gates and print the table.

    Exit status: 0 all gates hold, 1 a gate failed, 2 something could not be measured at all.
    """
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select
    from quantbench.experiment.run import Session, Settings
    from quantbench.quantities.judging import family_of, judged_of
    from quantbench.report.documents import check_place, write_records
    from quantbench.report.sensitivity import sensitivity_text
    from quantbench.report.step_summary import append_step_summary
    from quantbench.report.tables import terminal_table, without_baseline
    from quantbench.session.suite import run_suite
    from quantbench.stats.verdicts import Outcome

    allow_download(real_data)
    if json:
        check_place(json)
    selected = select(load_experiments(configs), experiment)
    settings = Settings(golden, engine, family=family_of(each.name for one in selected for each in judged_of(one)))
    result = run_suite(Session(settings), selected, shlex.join(["quantbench", *sys.argv[1:]]))
    print(terminal_table(result.records, result.not_run, _width(), sys.stdout.isatty()), end="")
    for sentence in result.sentences:
        print(sentence)
    if text := sensitivity_text(result.records):
        print(f"\n{text}", end="")
    append_step_summary(result.records, result.not_run, result.sentences)
    for text in [*result.told, *without_baseline(result.without_baseline)]:
        print(text, file=sys.stderr)
    if json:
        write_records(json, result.records, result.not_run)
    if result.broken or not result.records or (real_data and result.not_run):
        raise QuantbenchError("\n".join(result.broken or ["nothing was measured: the data is not on this machine"]))
    failing = {Outcome.FAIL, Outcome.INCONCLUSIVE} if strict_verdicts else {Outcome.FAIL}
    raise typer.Exit(1 if failing & result.outcomes else 0)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A state dict saved by torch.save, or safetensors.")],
    other: Annotated[Path | None, typer.Argument(help="A second one; the difference is explained.")] = None,
    experiment: Annotated[
        str | None,
        typer.Option("--as", help="An experiment's id: does FILE load, and was it made, as its recipe says?"),
    ] = None,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
    engine: Engine = None,
) -> None:
    """Print a checkpoint key by key, or explain what became of one in another.

    Exit status: 0; 1 if a difference is left unexplained or FILE is not what --as takes it for; 2 if a file cannot
    be read.
    """
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select
    from quantbench.errors import CheckpointError, ConfigError
    from quantbench.experiment.run import Session, Settings
    from quantbench.inspect.inspection import check_experiment, compare_files, describe_file

    if other is not None:
        text, is_explained = compare_files(file, other)
    else:
        text, is_explained = describe_file(file), True
    print(text)
    if experiment is not None:
        selected = select(load_experiments(configs), experiment)
        if len(selected) > 1:
            raise ConfigError(
                f"--as {experiment}: {len(selected)} experiments match; name one, such as {selected[0].id}"
            )
        run = Session(Settings(golden, engine)).run(selected[0])
        try:
            print(check_experiment(file, run))
        except CheckpointError as error:
            print(error, file=sys.stderr)
            raise typer.Exit(1) from None
    raise typer.Exit(0 if is_explained else 1)


@app.command()
def report(
    records: Annotated[list[Path], typer.Argument(help="Files written by --json.")],
    out: Out = OUT,
    into: Annotated[
        list[Path] | None, typer.Option(help="Also replace the marked sections of this Markdown file; may be repeated.")
    ] = None,
) -> None:
    """Write tables and plots of recorded runs: the Pareto front, and the sensitivity of blocks if measured."""
    from quantbench.files import write_text
    from quantbench.report.documents import pareto_document, read_records, sensitivity_document, with_tables
    from quantbench.report.pareto import pareto_plot
    from quantbench.report.sensitivity import sensitivities
    from quantbench.report.sensitivity_plot import sensitivity_plot

    require("quantbench report", "matplotlib")
    found = read_records(records)
    parts = sensitivities(found)
    # All texts first, so that a mistake in one leaves nothing half-written.
    texts = {out / "pareto.md": pareto_document(found)} | {path: with_tables(path, found) for path in into or []}
    if parts:
        texts[out / "sensitivity.md"] = sensitivity_document(found)
    plots = [out / "pareto.png", out / "pareto.svg"]
    pareto_plot(found, plots)
    if parts:
        drawn = [out / "sensitivity.png", out / "sensitivity.svg"]
        sensitivity_plot(parts, drawn)
        plots += drawn
    for path, text in texts.items():
        write_text(path, text)
    print("\n".join(map(str, [*plots, *texts])))


@app.command()
def curves(
    workload: Annotated[str, typer.Argument(help="A workload file or the name of one.")],
    out: Out = OUT,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
) -> None:
    """Draw how a workload's baseline, and each experiment of it that was trained, learned, from their cards.

    Writes loss and accuracy as PNG and SVG and prints how far each training over-fitted.
    """
    from quantbench.config.reading import load_workload
    from quantbench.config.selection import find_workload
    from quantbench.golden.baselines import weights_path
    from quantbench.report.curves import overfitting, read_curves
    from quantbench.report.curves_plot import curves_plot

    require("quantbench curves", "matplotlib")
    found = find_workload(workload, configs)
    own = found.config.baseline
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


@app.command()
def ablate(
    ablation: Annotated[
        str, typer.Argument(help="An ablation file, the name of one in <configs>/ablations, or a record to draw again.")
    ],
    jobs: Annotated[int | None, typer.Option(min=1, help="Rows trained at once; default: one for each core.")] = None,
    out: Out = OUT,
    amp: Amp = False,
    configs: Configs = CONFIGS,
    real_data: RealData = False,
) -> None:
    """Train every row of an ablation in a process of its own and print the table; a killed run continues.

    Given a record (.json), it prints and draws that one and trains nothing.

    Exit status: 0 every row has a result, 2 one failed or something is wrong, 130 interrupted.
    """
    from quantbench.config.ablation import find_ablation
    from quantbench.records.ablation import read_ablation
    from quantbench.report.ablation import ablation_text, write_ablation

    # Before hours of training, not after.
    require("quantbench ablate", "matplotlib")
    if ablation.endswith(".json"):
        record = read_ablation(Path(ablation))
        print(ablation_text(record) + "\n".join(map(str, write_ablation(record, out))))
        return
    allow_download(real_data)
    found = find_ablation(ablation, configs)
    out.mkdir(parents=True, exist_ok=True)

    from quantbench.ablation.run import AblationRun

    run = AblationRun(found, amp)
    try:
        run.train(jobs)
    except KeyboardInterrupt:
        print(f"quantbench: {run.interrupted()}", file=sys.stderr)
        raise typer.Exit(130) from None
    record = run.record(shlex.join(["quantbench", *sys.argv[1:]]))
    paths = write_ablation(record, out)
    print(ablation_text(record) + "\n".join(map(str, paths)))
    if run.failed:
        raise QuantbenchError("\n".join(f"{found.path}: rows.{name}: {why}" for name, why in run.failed.items()))


app.command()(sensitivity)
app.command()(search)


@app.callback()
def _root() -> None:
    """Test-driven benchmark and regression suite for neural-network quantization."""


def _opened(workload: str, configs: Path, golden: Path) -> OpenWorkload:
    from quantbench.config.selection import find_workload
    from quantbench.experiment.workload import OpenWorkload

    return OpenWorkload(find_workload(workload, configs), golden)


def _print_card(path: Path, card: BaselineCard) -> None:
    low, high = (100 * limit for limit in card.accuracy_interval)
    print(f"{path}: accuracy {100 * card.accuracy:.2f} % [{low:.2f}, {high:.2f}] (n={card.n_test:,})")


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((160, 24)).columns


def _show_warning(usual: Callable[..., None], message: Warning | str, *where: Any) -> None:
    """Shows a hint about a file of the user in one line, without its place in our code."""
    if isinstance(message, OldWordWarning):
        print(f"quantbench: {message}", file=sys.stderr)
    else:
        usual(message, *where)


def main() -> None:
    """Runs the command line; a mistake of the user's ends with its line and exit status 2."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            app()
    except QuantbenchError as error:
        print(f"quantbench: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        # Of a file that could not be moved into its place the second name is the place.
        place = error.filename2 or error.filename
        print(f"quantbench: {place}: {error.strerror}; name another place", file=sys.stderr)
        sys.exit(2)
