"""`quantbench init`: a first gate, from the files of a model and some data."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quantbench.cli.comparing import BACKEND_PARAM_HELP, DATA_PARAM_HELP, TASK_HELP, backends_of, params_of, task_of
from quantbench.cli.options import CONFIGS, GOLDEN, Configs, Golden
from quantbench.errors import ConfigError

if TYPE_CHECKING:
    from quantbench.config.draft import Draft
    from quantbench.config.schema import Experiment
    from quantbench.session.first_draft import Asked

MODELS_HELP = (
    "The fp32 model, and the quantized one if there is one: files (.onnx, .xml, .tflite, .pte, .pt), a factory of a "
    "PyTorch model (your.module:make) with --weights, a function that quantizes it (your.module:quantize)."
)
DATA_HELP = "Folder of class folders with images or sounds, or an .npz file; default: the only one that lies here."
RUNTIME_HELP = "Backend to quantize one fp32 model through; may be given several times; default: all installed."
CI_HELP = "Write a workflow for this CI service too: github or gitlab."
NAME_HELP = "Name of the workload; default: of the model's file or package, else of the folder."
HEAD = (
    "Written by: {command}",
    "Each gate is set a margin off what was measured, which stands beside it. All keys: quantbench schema",
)


def init(
    models: Annotated[list[str], typer.Argument(metavar="MODEL…", help=MODELS_HELP)],
    data: Annotated[Path | None, typer.Option(help=DATA_HELP)] = None,
    weights: Annotated[Path | None, typer.Option(help="State dict of the factory's model.")] = None,
    task: Annotated[str | None, typer.Option(metavar="NAME[:KEY=VALUE,…]", help=TASK_HELP)] = None,
    name: Annotated[str | None, typer.Option(help=NAME_HELP)] = None,
    runtime: Annotated[list[str] | None, typer.Option(metavar="BACKEND", help=RUNTIME_HELP)] = None,
    ci: Annotated[str | None, typer.Option(metavar="SERVICE", help=CI_HELP)] = None,
    param: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help=DATA_PARAM_HELP)] = None,
    backend: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help=BACKEND_PARAM_HELP)] = None,
    reason: Annotated[str, typer.Option(help="Why, for the history of what is accepted.")] = "",
    configs: Configs = CONFIGS,
    golden: Golden = GOLDEN,
) -> None:
    """Write the first gates of a model: measure it once, set each gate a margin off that, accept what was found.

    Writes configs/NAME.yaml, goldens and, on request, a workflow of CI; no file that is there is written over.

    Exit status: 0 written, 1 written but for what could not be accepted, 2 nothing could be gated.
    """
    from quantbench.config.finding import find_data, name_of
    from quantbench.config.reading import load_experiments
    from quantbench.session.audit import check_may_accept
    from quantbench.session.first_draft import Asked, first_draft

    if len(models) > 2:
        raise ConfigError(f"{models[2]}: a third model; give the fp32 one and the quantized one, the others later")
    check_may_accept("quantbench init")
    others = load_experiments(configs) if any(configs.glob("*.yaml")) else []
    path = _new_place(configs, golden, name or name_of(models, Path.cwd()), ci)
    place = data or find_data(Path())
    asked = Asked(
        tuple(models), place, weights, params_of(param or [], "--param"), backends_of(backend or []),
        None if task is None else task_of(task), tuple(runtime or ()),
    )  # fmt: skip
    is_new = not configs.exists()
    configs.mkdir(parents=True, exist_ok=True)
    try:
        draft, lines = first_draft(asked, path)
        _tell([f"{path}: the name is {path.stem} (--name)" if name is None else "", *lines])
        status = _started(draft, golden, reason or f"first gates, by: {_command()}", ci, others)
    finally:
        if is_new and not any(configs.iterdir()):
            configs.rmdir()
    _tell(_next(asked, path, ci) if path.exists() else [])
    raise typer.Exit(status)


def _command() -> str:
    return shlex.join(["quantbench", *sys.argv[1:]])


def _tell(lines: list[str]) -> None:
    for line in filter(None, lines):
        print(line, flush=True)


def _new_place(configs: Path, golden: Path, name: str, ci: str | None) -> Path:
    """The path of the workload file; refuses one that is there, and whatever else would be written over.

    Raises:
        ConfigError: naming the file that is there and what to do.
    """
    from quantbench.cli.ci_files import check_service
    from quantbench.config.pair import check_name
    from quantbench.session.start import goldens_of

    check_name(name, "--name")
    path = configs / f"{name}.yaml"
    if path.exists():
        raise ConfigError(f"{path}: is there already and is not written over; give --name another, or remove it")
    if found := goldens_of(golden, name):
        raise ConfigError(
            f"{found[0]}: is there already, of a workload '{name}' without {path}; give --name another, or restore the "
            "workload file"
        )
    if ci is not None:
        check_service(ci)
    return path


def _started(draft: Draft, golden: Path, reason: str, ci: str | None, others: list[Experiment]) -> int:
    """Measures, accepts and writes; gives the exit status.

    Args:
        draft: without gates.
        golden: folder of goldens.
        reason: kept in their history.
        ci: service whose workflow is written.
        others: experiments that are configured already, which are not missed.
    """
    from quantbench.cli.running import show_session
    from quantbench.session.acceptance import Accepting
    from quantbench.session.session import Options
    from quantbench.session.start import accepting_plan, goldens_of, measured_start
    from quantbench.temporary import temporary_folder

    with temporary_folder() as nothing:
        start = measured_start(draft, _command(), Path(nothing))
    _tell(list(start.left_out))
    plan, experiments = accepting_plan(start, golden)
    options = Options(accepting=Accepting.ALL, reason=reason)
    try:
        return show_session(start.runs, plan, options, [*others, *experiments], None, _brief)
    finally:
        # A golden without its workload file would end every later run.
        if goldens_of(golden, draft.path.stem):
            _write(start.draft, experiments, ci)


def _brief(lines: Sequence[str]) -> list[str]:
    """Lines about what was accepted, without the figures and gates, all of which are new."""
    return [line.partition("\n")[0].rstrip(":") for line in lines if ": gate " not in line]


def _write(draft: Draft, experiments: list[Experiment], ci: str | None) -> None:
    from quantbench.cli.ci_files import EXTRAS, SERVICES, workflow
    from quantbench.config.json_schema import schema_text
    from quantbench.config.writing import SCHEMA_FILE
    from quantbench.files import write_text

    schema = draft.path.with_name(SCHEMA_FILE)
    texts = {} if schema.exists() else {schema: schema_text()}
    texts[draft.path] = draft.text([line.format(command=_command()) for line in HEAD], has_schema=True)
    if ci is not None:
        reference = experiments[0].workload.config.reference
        extras = {EXTRAS.get(experiment.backend.name, "torch") for experiment in experiments}
        if reference is not None and reference.model is not None:
            extras.add("torch")
        if experiments[0].workload.config.data.name == "audio_folder":
            extras.add("audio")
        texts[SERVICES[ci][0]] = workflow(ci, draft.path.stem, extras)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
        print(f"{path}: written")


def _next(asked: Asked, path: Path, ci: str | None) -> list[str]:
    """Lines about what is to be done with what was written."""
    outside = [
        str(each)
        for each in (asked.data, *(Path(model) for model in asked.models), asked.weights)
        if each is not None and each.exists() and not each.resolve().is_relative_to(path.resolve().parents[1])
    ]
    lines = [f"next: quantbench run '{path.stem}/*'    (or: pytest --pyargs quantbench.claims)"]
    lines.append("keep under version control: configs/ and golden/, and the models and data that they name")
    if ci is not None and outside:
        lines.append(f"{outside[0]}: lies outside of the project, so that the workflow has to bring it first")
    return lines
