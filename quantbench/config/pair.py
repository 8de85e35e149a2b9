"""The workload of two files and some data, as a workload file would describe it."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quantbench.config.file_formats import backend_of_file
from quantbench.config.reading import check_data, check_gates
from quantbench.config.schema import NAME_PATTERN, Experiment, Workload, WorkloadFile
from quantbench.config.writing import SCHEMA_FILE, workload_text
from quantbench.errors import ConfigError
from quantbench.files import open_file, printable
from quantbench.registry import validation_lines

# The experiment's name, and the workload's where none is given.
EXPERIMENT, NAMELESS = "candidate", "compare"
# Suffixes of weights without a model; `.pt` may be a program of TorchScript too, which has this member.
STATE_DICTS, PROGRAM = (".safetensors", ".pth", ".ckpt", ".bin", ".pt"), "constants.pkl"
# Of a program of torch.export.
EXPORTED = "archive_format"
# The options of `quantbench compare` that set the bound of a gate.
OPTIONS = {
    "accuracy_drop_pp": "--max-drop", "speedup": "--min-speedup", "size_ratio": "--min-size-ratio",
    "int8_share": "--min-int8-share", "score_drop": "--max-drop",
}  # fmt: skip
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


@dataclass(frozen=True)
class Pair:
    """Two files, the data that both are run on, and what the second is held to.

    Attributes:
        reference: usually fp32.
        candidate: the quantized one.
        data: a folder of classes, or an `.npz` file.
        backends: parameters of the backends that load the files: `reference` and `candidate`.
        data_params: parameters of the data set beside its place.
        gates: bounds by quantity.
        latency: settings of the measurement of speed.
        accept_accuracy: compare although the reference is not surely better than chance.
        model: import path of the factory of the model that a state dict fits.
        task: name and parameters of the task; top1 where it is not given.
        guessed: parameters among `data_params` that nobody gave.
    """

    reference: Path
    candidate: Path
    data: Path
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    data_params: Mapping[str, Any] = field(default_factory=dict)
    gates: Mapping[str, Any] = field(default_factory=dict)
    latency: Mapping[str, Any] = field(default_factory=dict)
    accept_accuracy: bool = False
    model: str | None = None
    task: Mapping[str, Any] | None = None
    guessed: tuple[str, ...] = ()

    def content(self, folder: Path) -> dict[str, Any]:
        """The content of a workload file in that folder.

        Raises:
            ConfigError: if a file is of no known format, or the data cannot be told.
        """
        self._check_model()
        reference = self._file("reference", self.reference, folder)
        if self.accept_accuracy:
            reference["accept_accuracy"] = True
        return {
            "workload": {
                "reference": reference,
                "data": {**data_of(self.data, folder), **self.data_params},
                **({} if self.task is None else {"task": dict(self.task)}),
                "latency": dict(self.latency),
            },
            "experiments": {
                EXPERIMENT: {
                    "recipe": {"name": "ready_made", "path": _beside(self.candidate, folder)},
                    "backend": self._file("candidate", self.candidate, folder)["backend"],
                    "gates": dict(self.gates),
                }
            },
        }

    def experiment(self, path: Path, is_saved: bool = True) -> Experiment:
        """The experiment, as a workload file at that path, which need not exist, would describe it.

        Args:
            path: of the workload file.
            is_saved: the file is there.

        Raises:
            ConfigError: one line per mistake.
        """
        try:
            file = WorkloadFile.model_validate(self.content(path.parent))
        except ValidationError as error:
            raise ConfigError("\n".join(validation_lines(error, path.stem))) from None
        workload = Workload(path.stem, path, file.workload, is_saved, self.guessed)
        experiment = Experiment(workload, EXPERIMENT, file.experiments[EXPERIMENT])
        check_data(workload)
        check_gates(experiment)
        return experiment

    def text(self, folder: Path) -> str:
        """The text of a workload file in that folder."""
        return workload_text(self.content(folder), has_schema=(folder / SCHEMA_FILE).is_file())

    def _check_model(self) -> None:
        """Refuses a state dict without its factory, and a factory that no state dict needs."""
        states = [path for path in (self.reference, self.candidate) if is_state_dict(path)]
        if states and self.model is None:
            raise ConfigError(
                f"{printable(states[0])}: is a state dict, which is no model alone; name the factory of its model "
                "(--model your.module:factory)"
            )
        self._check_params(states)
        if self.model is not None and self.reference not in states:
            raise ConfigError(
                f"--model {printable(self.model)}: the reference, {printable(self.reference)}, is no state dict; leave "
                "--model out, or give the state dict that the candidate was made from as the reference"
            )

    def _check_params(self, states: Collection[Path]) -> None:
        """Refuses parameters that no file takes; those of both files are for the one that is loaded by a backend."""
        parts = {"reference": self.reference, "candidate": self.candidate}
        taken = {key for part, path in parts.items() if path not in states for key in self.backends.get(part, {})}
        for part, path in parts.items():
            if path in states and (lost := [key for key in self.backends.get(part, {}) if key not in taken]):
                raise ConfigError(
                    f"--backend {part}.{lost[0]}: {printable(path)} is a state dict, run by its factory, which takes "
                    "no parameter of a backend; let the factory's model take and give what the data has"
                )

    def _file(self, part: str, path: Path, folder: Path) -> dict[str, Any]:
        if is_state_dict(path):
            # What runs it follows from its factory.
            own = {"model": {"name": self.model}} if part == "reference" else {"backend": {"name": "torch"}}
            return {"path": _beside(path, folder), **own}
        backend = {"name": backend_of_file(str(path), str(path)), **self.backends.get(part, {})}
        return {"path": _beside(path, folder), "backend": backend}


def check_name(name: str, option: str = "--save") -> None:
    """Refuses a name that no workload can have.

    Args:
        name: as it was given.
        option: that gives it.

    Raises:
        ConfigError: saying what it is made of.
    """
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise ConfigError(f"{option} {name}: the name of a workload; use letters, digits, '_', '-' and '.' only")


def is_state_dict(path: Path) -> bool:
    """True for weights without a model: safetensors, and what `torch.save` writes."""
    if path.suffix.lower() not in STATE_DICTS or not path.is_file():
        return False
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = {Path(name).name for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile, NotImplementedError):
        return path.suffix.lower() != ".pt"
    if EXPORTED in members:
        raise ConfigError(f"{printable(path)}: is a program of torch.export, which is loaded from a file named .pt2")
    # A program of TorchScript has its constants beside the weights.
    return PROGRAM not in members


def data_of(place: Path, folder: Path) -> dict[str, Any]:
    """The data set that lies there: an `.npz` file, or a folder of pictures or of sounds.

    Raises:
        ConfigError: if there is nothing, or neither.
    """
    if place.suffix.lower() == ".npz":
        return {"name": "npz", "path": _beside(place, folder)}
    if not place.is_dir():
        what = "neither a folder nor an .npz file" if place.exists() else "no such folder or file"
        raise ConfigError(f"--data {place}: {what}; give a folder of class folders, or an .npz file of arrays")
    return {"name": "audio_folder" if _is_sound(place) else "image_folder", "root": _beside(place, folder)}


def _is_sound(place: Path) -> bool:
    """True if the first file in a folder is a sound; what does not go with it is refused when it is read."""
    for _, folders, names in os.walk(place, followlinks=True):
        folders.sort()
        if seen := sorted(name for name in names if not name.startswith(".")):
            return Path(seen[0]).suffix.lower() in SOUNDS
    return False


def _beside(path: Path, folder: Path) -> str:
    """A path as a workload file in that folder names it: relative where it lies below the folder's parent.

    From a folder that is not there no way leads to what lies beside it.
    """
    here = folder.resolve()
    # As it is named first: a link in the project stays one, wherever it leads.
    for there in (Path(os.path.abspath(path)), path.resolve()):  # noqa: PTH100 — which leaves links alone
        if here.is_dir() and there.is_relative_to(here.parent):
            return os.path.relpath(there, here)
    return str(path.resolve())
