"""Things that a first workload file needs and that the files of a project tell: its name, where its data lies."""

from __future__ import annotations

import re
from pathlib import Path

from quantbench.config.pair import SOUNDS
from quantbench.errors import ConfigError
from quantbench.files import printable

# Of pictures that Pillow decodes and people keep; the content of a file is what counts in the end.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm")
# Words of a file's name that say in which numbers it computes, and nothing of what it is.
_NUMBERS = re.compile(r"(?i)(^|[_.-])(fp32|float32|f32|float|fp16|int8|uint8|quant(ized)?|qdq|ptq|qat|opt)(?=$|[_.-])")
# Names that say nothing at all.
_NAMELESS = {"", "model", "net", "network", "reference", "candidate", "weights", "checkpoint", "best", "last"}
FALLBACK = "my_model"
# Folders that are no data of anybody's.
NOT_DATA = {"configs", "golden", "out", "node_modules", "__pycache__"}
# Below the current folder.
DEEPEST = 2


def name_of(models: list[str], here: Path) -> str:
    """The name of a workload: of the model's file or factory, else of the folder.

    Example:
        >>> name_of(["models/mobilenet_v2.fp32.onnx", "int8.onnx"], Path("/home/me/gate"))
        'mobilenet_v2'
        >>> name_of(["my_pkg.net:make"], Path("gate"))
        'my_pkg'
    """
    first = models[0]
    own = first.partition(":")[0].split(".")[0] if is_factory(first) else Path(first).stem
    for candidate in (own, here.resolve().name):
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", _NUMBERS.sub("", candidate)).strip("_.-")
        if name.lower() not in _NAMELESS:
            return name
    return FALLBACK


def is_factory(model: str) -> bool:
    """True for `your.module:factory`, false for a file, one of Windows' drives included."""
    return re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", model) is not None and not Path(model).exists()


def find_data(here: Path) -> Path:
    """The only data set beside the models: an `.npz` file, or a folder of class folders.

    Raises:
        ConfigError: if there is none, or more than one.
    """
    found = _below(here, DEEPEST)
    if len(found) == 1:
        return found[0]
    what = f"which of {', '.join(printable(path) for path in found)}" if found else "none lies here"
    raise ConfigError(
        f"--data: {what}; give a folder of class folders with pictures or sounds, or an .npz file of arrays"
    )


def _below(folder: Path, depth: int) -> list[Path]:
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in NOT_DATA:
            continue
        if (path.suffix.lower() == ".npz" and path.is_file()) or (path.is_dir() and _is_data(path)):
            found.append(path)
        elif path.is_dir() and depth > 1:
            found += _below(path, depth - 1)
    return found


def _is_data(folder: Path) -> bool:
    """True for a folder of classes, or of a test side that holds classes."""
    test = folder / "test"
    top = test if test.is_dir() else folder
    classes = [path for path in top.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return len(classes) > 1 and all(_holds_samples(path) for path in classes[:2])


def _holds_samples(folder: Path) -> bool:
    return any(path.suffix.lower() in (*PICTURES, *SOUNDS) for path in folder.iterdir())
