"""Text of `quantbench inspect` about files of any runtime, as their backends describe them: of one, and of two."""

from __future__ import annotations

import zipfile
from pathlib import Path

from quantbench.backends.entry import describe_entry
from quantbench.backends.interface import Artifact, BackendSpec, Description
from quantbench.config.file_formats import backend_of_file
from quantbench.config.pair import is_state_dict
from quantbench.errors import CheckpointError
from quantbench.files import printable
from quantbench.golden.documents import differences
from quantbench.recipes.lowering import FORMATS
from quantbench.recipes.spec import ReadyMade

# Suffix of programs of TorchScript and of state dicts.
STATE_DICT_TOO = ".pt"


def is_runtime_file(path: Path) -> bool:
    """True for a file that holds a model of its own, as its suffix and for `.pt` its content tell.

    Raises:
        ConfigError: if a program of torch.export is named as another file.
    """
    if path.suffix.lower() not in FORMATS or not path.is_file():
        return False
    # What is no archive is no program of TorchScript either, and may be a damaged state dict.
    return not is_state_dict(path) and (path.suffix.lower() != STATE_DICT_TOO or zipfile.is_zipfile(path))


def describe_runtime_file(path: Path) -> str:
    """A file's size, inputs, outputs and operators, and a row for each tensor.

    Raises:
        CheckpointError: if it cannot be read.
    """
    artifact, found = _described(path)
    keys = {key: describe_entry(entry) for key, entry in found.keys.items()}
    width = max((len(key) for key in keys), default=0)
    return "\n".join([
        _summary(artifact, found), *_graph(found), *(f"{key.ljust(width)}  {words}" for key, words in keys.items()),
    ])  # fmt: skip


def compare_runtime_files(first: Path, second: Path) -> tuple[str, bool]:
    """Differences between two files of one runtime, and True if there are none.

    Raises:
        CheckpointError: if one cannot be read, or is of another runtime.
    """
    backends = [backend_of_file(str(path), str(path)) for path in (first, second)]
    if backends[0] != backends[1]:
        raise CheckpointError(
            f"{printable(second)}: is of {backends[1]}, and {printable(first)} of {backends[0]}; give two files of one "
            "runtime, or compare what they answer: quantbench compare"
        )
    (before, old), (after, new) = (_described(path) for path in (first, second))
    lines = [_summary(before, old), _summary(after, new)]
    changed = differences(
        {**old.graph, **{key: describe_entry(entry) for key, entry in old.keys.items()}},
        {**new.graph, **{key: describe_entry(entry) for key, entry in new.keys.items()}},
    )
    same = [key for key in old.keys.keys() & new.keys.keys() if old.keys[key] == new.keys[key]]
    other = sorted(key for key in same if old.digests.get(key) != new.digests.get(key))
    for title, listed in (("different in form", changed), ("same form, other values", other)):
        if listed:
            lines += [f"{title} ({len(listed)}):", *(f"  {line}" for line in listed)]
    lines.append(f"equal in form and values: {len(same) - len(other)} of {len(old.keys.keys() | new.keys.keys())} keys")
    return "\n".join(lines), not changed and not other


def _described(path: Path) -> tuple[Artifact, Description]:
    backend = BackendSpec(backend_of_file(str(path), str(path)), {}, printable(path)).create()
    try:
        artifact = Artifact.of_files(backend.spec, backend.files_of(path), ReadyMade(str(path)))
    except OSError as error:
        named = printable(error.filename or path)
        raise CheckpointError(f"{named}: {error.strerror}; give a file that can be read") from None
    return artifact, backend.describe(artifact)


def _summary(artifact: Artifact, found: Description) -> str:
    beside = f" in {len(artifact.files)} files" if len(artifact.files) > 1 else ""
    return (
        f"{printable(artifact.path)}: of {artifact.backend.name}; {len(found.keys)} tensors, "
        f"{artifact.size_bytes:,} bytes{beside}, {found.payload_bytes:,} of them values"
    )


def _graph(found: Description) -> list[str]:
    """A line for each part of what the file tells of its structure."""
    lines = []
    for part, value in found.graph.items():
        match value:
            case [dict(), *_]:
                specs = [{**spec} for spec in value]
                lines += [f"{part.removesuffix('s')} '{spec.pop('name', '')}': {_words(spec)}" for spec in specs]
            case dict():
                lines.append(f"{part}: {', '.join(f'{name} {of}' for name, of in value.items())}")
            case _:
                lines.append(f"{part}: {value}")
    return lines


def _words(spec: dict[str, object]) -> str:
    # Of a free size nothing is told.
    dtype, shape = spec.pop("dtype", ""), str(spec.pop("shape", "")).replace("None", "n")
    rest = [f"{key} {value}" for key, value in spec.items()]
    return " ".join(str(each) for each in (dtype, shape, *rest) if each != "")
