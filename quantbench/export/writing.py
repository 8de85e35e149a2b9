"""A measured experiment written into a folder, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.interface import Artifact, Predictor
from quantbench.errors import CheckpointError, ConfigError
from quantbench.experiment.artifact import probe_inputs
from quantbench.experiment.run import Run
from quantbench.experiment.score import paired_score
from quantbench.export.programs import BATCH, FILE_NAME, RUNTIMES, TRACED, program
from quantbench.export.readme import readme
from quantbench.export.revision import revision_of
from quantbench.files import sha256_of_file, write_text
from quantbench.measure.environment import environment
from quantbench.recipes.spec import describe
from quantbench.records.export_card import (
    NOT_STATED,
    ExportCard,
    ExportedAccuracy,
    ExportedFile,
    ExportedScore,
    ExportedTensor,
)
from quantbench.temporary import sweep_once, temporary_name

CARD, README, SCRIPT = "card.json", "README.md", "model.torchscript.pt"
OPTION = "--out"


def check_free(out: Path) -> None:
    """Refuses a folder that holds something, before anything is measured.

    Raises:
        ConfigError: if it is there and not an empty folder, or cannot be made.
    """
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{OPTION} {out}: is there already; name a folder that is not, or remove it")
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{OPTION} {out}: cannot be made ({error.strerror}); name another folder") from None


def export(run: Run, out: Path, command: str) -> ExportCard:
    """Writes an experiment's files, its card and a program that runs it.

    Args:
        run: of the experiment, which is measured here as far as it is not yet.
        out: the folder, empty or absent.
        command: that asks for it.

    Raises:
        QuantbenchError: if the experiment cannot be made or measured, or the folder cannot be written.
    """
    check_free(out)
    artifact, (accuracy, score) = run.artifact, _figures(run)
    predictor = run.loaded(1)
    with _beside(out) as folder:
        files = [*_copied(artifact, folder), *_script(run, predictor, folder)]
        inputs = _inputs(run, predictor)
        loaded_by, loaded = (TRACED, SCRIPT) if _is_there(folder / SCRIPT) else (run.backend.name, files[0].name)
        title = run.experiment.id
        engine = run.engine if loaded == SCRIPT else "none"
        if (text := program(loaded_by, loaded, title, inputs, engine)) is not None:
            write_text(folder / FILE_NAME, text)
            files.append(_file(folder / FILE_NAME, folder, "program"))
        workload, here = run.experiment.workload, environment()
        card = ExportCard(
            experiment=run.experiment.id,
            recipe=describe(run.experiment.recipe),
            backend={"name": run.experiment.backend.name, **run.experiment.backend.params},
            files=files,
            requires=_requires(loaded_by),
            inputs=inputs,
            outputs=_outputs(run.candidate.probe),
            normalization=_normalization(run),
            classes=list(run.opened.splits.classes),
            data_name=workload.config.data.name,
            data_note=workload.config.data_note,
            test_sha256=run.opened.splits.test.sha256,
            accuracy=accuracy,
            score=score,
            environment=here,
            command=command,
            revision=revision_of(workload.path.parent),
            licence=workload.config.licence or NOT_STATED,
        )
        write_text(folder / CARD, card.model_dump_json(indent=1) + "\n")
        write_text(folder / README, readme(card))
    return card


def _figures(run: Run) -> tuple[ExportedAccuracy | None, ExportedScore | None]:
    """The accuracy of a task whose scores are 0 and 1, or the figure of another one."""
    if run.opened.task.is_binary:
        a = run.accuracy
        return ExportedAccuracy(
            n=a.n,
            accuracy=a.quantized,
            accuracy_interval=a.quantized_interval,
            reference_accuracy=a.fp32,
            lost=a.lost,
            gained=a.gained,
            drop_pp=a.drop_pp,
            drop_interval_pp=a.drop_interval_pp,
            level=a.level,
            clusters=None if a.clustered is None else a.clustered.clusters,
        ), None
    s = paired_score(run)
    return None, ExportedScore(
        task=s.task,
        unit=s.unit,
        higher_is_better=s.higher_is_better,
        n=s.n,
        value=s.candidate,
        interval=s.candidate_interval,
        reference=s.reference,
        drop=s.drop,
        drop_interval=s.interval,
        level=s.level,
        method=s.method,
    )


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder beside its place, moved into it once it is whole."""
    sweep_once(out.parent)
    temporary = out.with_name(temporary_name(out.name))
    try:
        temporary.mkdir()
        yield temporary
        if out.is_dir():
            # Empty, or else it is not removed.
            out.rmdir()
        temporary.rename(out)
    except OSError as error:
        raise ConfigError(f"{OPTION} {out}: cannot be written ({error.strerror}); name another folder") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copied(artifact: Artifact, folder: Path) -> list[ExportedFile]:
    """The artifact's files, as far below the folder as they lie below that of the first."""
    files = []
    for path, sha256 in zip(artifact.files, artifact.sha256, strict=True):
        try:
            place = folder / path.resolve().relative_to(artifact.path.resolve().parent)
        except ValueError:
            raise CheckpointError(
                f"{path}: lies outside of the folder of {artifact.path.name}, which would not find it once it is moved"
            ) from None
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        files.append(_file(place, folder, "artifact"))
        if files[-1].sha256 != sha256:
            raise CheckpointError(f"{path}: is not the file that was measured before; export it again")
    return files


def _script(run: Run, predictor: Predictor, folder: Path) -> list[ExportedFile]:
    """The program of a state dict, which torch alone cannot run; none where the files are no state dict of torch."""
    if run.backend.name in RUNTIMES or run.artifact.model is None:
        return []
    from quantbench.backends.tracing import traced

    samples = {name: np.ascontiguousarray(array[:BATCH]) for name, array in probe_inputs(run.opened).items()}
    if not traced(predictor, samples, folder / SCRIPT):
        return []
    return [_file(folder / SCRIPT, folder, "the same model with its code, as a TorchScript program")]


def _is_there(path: Path) -> bool:
    return path.is_file()


def _file(path: Path, folder: Path, role: str) -> ExportedFile:
    name = path.relative_to(folder).as_posix()
    return ExportedFile(name=name, role=role, size_bytes=path.stat().st_size, sha256=sha256_of_file(path))


def _inputs(run: Run, predictor: Predictor) -> list[ExportedTensor]:
    """As the file tells them, or as the data gives them where it tells nothing."""
    if predictor.takes:
        return [
            ExportedTensor(
                name=each.name,
                dtype=each.dtype,
                shape=list(each.shape or ()),
                scale=each.scale,
                zero_point=each.zero_point,
            )
            for each in predictor.takes
        ]
    return _outputs(probe_inputs(run.opened))


def _outputs(arrays: Inputs | Outputs) -> list[ExportedTensor]:
    """Named arrays of a few samples; any number of them."""
    return [
        ExportedTensor(name=name, dtype=str(array.dtype), shape=[None, *array.shape[1:]])
        for name, array in arrays.items()
    ]


def _normalization(run: Run) -> dict[str, object]:
    return {key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(run.opened.splits.test.normalization).items()}  # fmt: skip


def _requires(backend: str) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError

    from quantbench.extras import version_of

    found = {}
    for name in (*RUNTIMES[backend].requires, "numpy") if backend in RUNTIMES else ():
        try:
            found[name] = version_of(name)
        except PackageNotFoundError:
            continue
    return found
