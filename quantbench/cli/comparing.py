"""`quantbench compare`: two files and some data, without a workload file."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantbench.cli.options import CONFIGS, GOLDEN, Configs, Golden, NoBlame, Sequential, is_verbose
from quantbench.errors import ConfigError
from quantbench.foreign import traceback_of

if TYPE_CHECKING:
    from quantbench.config.pair import Pair
    from quantbench.config.schema import Experiment
    from quantbench.experiment.run import Run

# Percentage points.
DEFAULT_DROP = 1.0
# A name, or an import path, and parameters behind a colon.
TASK = re.compile(r"(?P<name>[^=]+?)(?::(?P<params>\w+=.*))?")
DATA_PARAM_HELP = (
    "Parameter of the data set, as in a workload file: size=96, 'mean=[0.5, 0.5, 0.5]', sample_rate=16000, "
    "targets=y, 'classes=[cat, dog]'; may be given several times."
)
MODEL_HELP = "Factory of the model that state dicts fit, in a module beside the current folder or installed."
MAX_DROP_HELP = "Largest accepted drop: percentage points (default: 1), or the unit of the task."
TASK_HELP = (
    "Task that scores outputs, as in a workload file: mae, macro_f1, top_k:k=5, "
    "function:function=my_pkg.metrics:score; default: top1."
)
BACKEND_PARAM_HELP = (
    "Parameter of both files' backends: layout=nhwc, output=logits; reference.layout=… for one of them."
)


def compare(
    reference: Annotated[
        Path, typer.Argument(help="Compared with, usually fp32: .onnx, .xml, .tflite, .pte, .pt, a state dict.")
    ],
    candidate: Annotated[
        Path, typer.Argument(help="The quantized model: .onnx, .xml, .tflite, .pte, .pt, a state dict.")
    ],
    data: Annotated[Path, typer.Option(help="Folder of class folders with images or sounds, or an .npz file.")],
    max_drop: Annotated[float | None, typer.Option(help=MAX_DROP_HELP)] = None,
    min_speedup: Annotated[float | None, typer.Option(help="Smallest accepted speed-up.")] = None,
    min_size_ratio: Annotated[float | None, typer.Option(help="Smallest accepted ratio of the files' bytes.")] = None,
    min_int8_share: Annotated[
        float | None, typer.Option(help="Smallest accepted share of multiply-accumulates in int8, 0 to 1.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Samples in one timed forward; default: what the files are fixed to, or 1.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of a timed forward.")] = 1,
    param: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help=DATA_PARAM_HELP)] = None,
    backend: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help=BACKEND_PARAM_HELP)] = None,
    task: Annotated[str | None, typer.Option(metavar="NAME[:KEY=VALUE,…]", help=TASK_HELP)] = None,
    accept_accuracy: Annotated[
        bool, typer.Option("--accept-accuracy", help="Take a reference whose accuracy no model is needed for.")
    ] = False,
    model: Annotated[str | None, typer.Option(metavar="MODULE:FACTORY", help=MODEL_HELP)] = None,
    save: Annotated[str | None, typer.Option(metavar="NAME", help="Write configs/NAME.yaml and its goldens.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the record to this file.")] = None,
    strict_verdicts: Annotated[bool, typer.Option("--strict-verdicts", help="INCONCLUSIVE fails.")] = False,
    blame: Annotated[
        bool, typer.Option("--blame", help="Look for the layer to blame, whatever the verdict, and show its table.")
    ] = False,
    no_blame: NoBlame = False,
    sequential: Sequential = None,
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
) -> None:
    """Compare two model files on the same samples: accuracy, size, what ran in int8, memory and speed.

    Exit status: 0 all gates hold, 1 a gate failed, 2 something could not be measured at all.
    """
    from quantbench.config.pair import NAMELESS, Pair, check_name
    from quantbench.report.documents import check_place

    if blame and no_blame:
        raise ConfigError("--blame and --no-blame: give one of them")
    if json:
        check_place(json)
    if save:
        check_name(save)
    scored = None if task is None else task_of(task)
    pair = Pair(
        reference,
        candidate,
        data,
        backends_of(backend or []),
        params_of(param or [], "--param"),
        _bounds(scored, max_drop, speedup=min_speedup, size_ratio=min_size_ratio, int8_share=min_int8_share),
        {"threads": threads, **({} if batch_size is None else {"batch_size": batch_size})},
        accept_accuracy,
        model,
        scored,
    )
    path = configs / f"{save or NAMELESS}.yaml"
    if save:
        # What is accepted must be of the paths that the file will name.
        path.parent.mkdir(parents=True, exist_ok=True)
    looks = None if blame else not no_blame
    raise typer.Exit(_compared(pair, path, golden if save else None, strict_verdicts, json, looks, sequential))


def _compared(
    pair: Pair,
    path: Path,
    golden: Path | None,
    is_strict: bool,
    json: Path | None,
    looks: bool | None,
    sequential: bool | None,
) -> int:
    """Measures a pair, shows it, and gives the exit status.

    Args:
        pair: as it was asked for.
        path: of its workload file.
        golden: the folder of goldens, where it is to be saved.
        is_strict: INCONCLUSIVE fails.
        json: file for the record.
        looks: for the layer to blame where a gate fails; None to look in any case, and show the whole of it.
        sequential: see `Settings.sequential`; what is to be saved is of all samples.
    """
    from quantbench.cli.running import show_session
    from quantbench.experiment.run import Settings
    from quantbench.experiment.runs import Runs
    from quantbench.session.blaming import SECONDS
    from quantbench.session.pair import fitted, plan_of
    from quantbench.session.session import Options
    from quantbench.temporary import temporary_folder

    pair, guessed = fitted(pair, path)
    experiment = pair.experiment(path, is_saved=golden is not None and path.exists())
    plan = plan_of(experiment)
    if golden:
        _check_new(path, pair.content(path.parent))
    with temporary_folder() as nothing:
        # Nothing is accepted yet, whatever the project's goldens say of others.
        runs = Runs(Settings(Path(nothing), family=plan.family, sequential=False if golden else sequential))
        options = Options(strict=is_strict, blame_s=SECONDS if looks else 0.0)
        status = show_session(runs, plan, options, [experiment], json)
        if looks is None:
            _blame(runs.run(experiment))
    for line in guessed:
        print(line)
    if golden:
        _save(pair, path, golden, experiment, status)
    return status


def _blame(run: Run) -> None:
    """Shows the layer to blame; that there is none, or that it cannot be looked for, changes no status."""
    from quantbench.errors import QuantbenchError
    from quantbench.report.blame import blame_text
    from quantbench.session.blaming import look_into

    try:
        print(f"\n{blame_text(look_into(run, _command(), None))}")
    except QuantbenchError as error:
        print(f"\nno layer was looked into: {error}")
        if is_verbose():
            print(traceback_of(error), file=sys.stderr)


def _command() -> str:
    return shlex.join(["quantbench", *sys.argv[1:]])


def _check_new(path: Path, content: Mapping[str, Any]) -> None:
    """Refuses to write over another workload, before anything is measured."""
    from quantbench.config.reading import read_yaml

    if path.exists() and read_yaml(path, "a workload file") != content:
        raise ConfigError(f"{path}: is there already, with other content; save under another name, or remove it")


def _save(pair: Pair, path: Path, golden: Path, experiment: Experiment, status: int) -> None:
    """Accepts what was found as goldens and writes the workload file; nothing of a pair that does not hold."""
    from quantbench.config.selection import claims_command
    from quantbench.files import write_text
    from quantbench.session.pair import accept

    if status:
        print(f"{path}: not written, and nothing is accepted: a gate failed", file=sys.stderr)
        return
    # First, so that a file that was written has its goldens.
    lines = accept(experiment, golden, f"saved by: {_command()}")
    write_text(path, pair.text(path.parent))
    print(
        "\n".join(
            [f"{path}: written; gate it from now on with: {claims_command()} --experiment {experiment.id}", *lines]
        )
    )


def params_of(given: list[str], option: str) -> dict[str, Any]:
    """`key=value` pairs, values read as YAML.

    Raises:
        ConfigError: naming what is no such pair.
    """
    from quantbench.config.yaml_text import parsed

    found = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not key or not equals:
            raise ConfigError(f"{option} {each}: give KEY=VALUE, such as size=96")
        try:
            found[key] = parsed(value)
        except Exception as error:
            raise ConfigError(f"{option} {each}: the value cannot be read as YAML ({error})") from None
    return found


def task_of(given: str) -> dict[str, Any]:
    """Name and parameters of a task.

    Raises:
        ConfigError: naming what is no such task.
    """
    found = TASK.fullmatch(given)
    if found is None:
        raise ConfigError(f"--task {given}: give NAME or NAME:KEY=VALUE, such as top_k:k=5")
    params = re.split(r",(?=\w+=)", found["params"]) if found["params"] else []
    return {"name": found["name"], **params_of(params, f"--task {found['name']}:")}


def _bounds(scored: dict[str, Any] | None, max_drop: float | None, **others: float | None) -> dict[str, float]:
    """The gates that the options set, by quantity; None is not given."""
    gate, largest = _drop_gate(scored, max_drop)
    return {name: bound for name, bound in {gate: largest, **others}.items() if bound is not None}


def _drop_gate(task: dict[str, Any] | None, max_drop: float | None) -> tuple[str, float]:
    """The gate on what is lost, and its bound.

    Raises:
        ConfigError: if the task is none, or its unit has no bound of its own and none is given.
    """
    if task is None:
        return "accuracy_drop_pp", DEFAULT_DROP if max_drop is None else max_drop
    from quantbench.registry import TASKS

    own = TASKS.create(task["name"], "--task", {key: value for key, value in task.items() if key != "name"})
    if own.is_binary:
        return "accuracy_drop_pp", DEFAULT_DROP if max_drop is None else max_drop
    if max_drop is None:
        raise ConfigError(f"--task {task['name']}: say how much may be lost with --max-drop, in {own.unit}")
    return "score_drop", max_drop


def backends_of(given: list[str]) -> dict[str, dict[str, Any]]:
    """Parameters for each of the two files."""
    found: dict[str, dict[str, Any]] = {"reference": {}, "candidate": {}}
    for key, value in params_of(given, "--backend").items():
        part, dot, name = key.partition(".")
        if dot and part in found:
            found[part][name] = value
        else:
            for params in found.values():
                params[key] = value
    return found
