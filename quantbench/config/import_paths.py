"""Import paths in workload files (`your.module:factory`): resolved without running anything of theirs.

A workload file is text that may come from elsewhere, such as a pull request; listing or collecting its experiments must
not run what it names. A path is therefore only located here: its module has to lie in the project, or to be allowed by
name. It is imported and called once an experiment that uses it is run.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from quantbench.errors import ConfigError
from quantbench.files import short_name

# Modules outside of the project that workload files may name, separated by commas, each with its submodules; and
# folders, each with all modules in it.
ALLOW_VARIABLE = "QUANTBENCH_ALLOW_IMPORT"
OPTION = "--allow-import"
_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
# Characters; no module of anybody's is as deep.
LONGEST_PATH = 500
_INSTALLED = {"site-packages", "dist-packages"}


def is_import_path(name: str) -> bool:
    """True for `your.module:factory`, false for a name of a table.

    Example:
        >>> is_import_path("my_nets.resnet:small"), is_import_path("resnet20")
        (True, False)
    """
    return ":" in name


def allow_imports(modules: Iterable[str]) -> None:
    """Allows modules from now on, in this process and those that it starts."""
    if allowed := [*_allowed(), *modules]:
        os.environ[ALLOW_VARIABLE] = ",".join(dict.fromkeys(allowed))


def check_import_path(name: str, where: str, project: Iterable[Path]) -> None:
    """Refuses a path whose module lies outside of the project and is not allowed by name; imports nothing.

    A module that is found nowhere passes: whoever runs its experiment is told, and the other experiments run.

    Args:
        name: `your.module:factory`.
        where: its place, for messages.
        project: folders that the project's modules lie in.

    Raises:
        ConfigError: if it is no import path, or its module is not the project's.
    """
    if len(name) > LONGEST_PATH or _PATH.fullmatch(name) is None:
        raise ConfigError(f"{where}: '{short_name(name)}' is no import path; write 'your.module:factory'")
    module, allowed = name.partition(":")[0], _allowed()
    if any(module == each or module.startswith(f"{each}.") for each in allowed):
        return
    origin = _origin(module)
    if origin is None or _lies_in(origin, [*project, *(Path(each) for each in allowed if _is_folder(each))]):
        return
    top = module.partition(".")[0]
    raise ConfigError(
        f"{where}: '{name}' is in {_shown(origin)}, outside of the project; a workload file may name modules of the "
        f"project's folder and entry points of installed distributions; allow it with {OPTION} {top}, or "
        f"{ALLOW_VARIABLE}={top}"
    )


def project_of(config: Path) -> list[Path]:
    """Folders of the project that a workload file belongs to: the current one, the file's, and the one above `configs`.

    Args:
        config: the workload file.
    """
    own = config.resolve().parent
    above = [own.parent] if own.name == "configs" or own.parent.name == "configs" else []
    return [Path.cwd(), own, *above]


def _allowed() -> list[str]:
    return [each.strip() for each in os.environ.get(ALLOW_VARIABLE, "").split(",") if each.strip()]


def _is_folder(allowed: str) -> bool:
    return "/" in allowed or os.sep in allowed


def _origin(module: str) -> str | None:
    """The file or folder of a module, or `built-in`; of the nearest parent that is found, and None if none is.

    Nothing is imported: importing a package runs it.
    """
    top, *rest = module.split(".")
    origin, folders = _top_level(top)
    for part in rest:
        below = [candidate for folder in folders for candidate in _candidates(Path(folder), part)]
        found = next((candidate for candidate in below if candidate.exists()), None)
        if found is None:
            return origin
        origin, folders = str(found), [str(found.parent if found.stem == "__init__" else found)]
    return origin


def _top_level(name: str) -> tuple[str | None, list[str]]:
    """Origin of a module that is in no package, and the folders of its submodules."""
    if name in sys.builtin_module_names:
        return "built-in", []
    # As the import will: a module beside the current folder is found however the program was started.
    spec = importlib.machinery.PathFinder.find_spec(name, [str(Path.cwd())]) or importlib.util.find_spec(name)
    if spec is None:
        return None, []
    folders = list(spec.submodule_search_locations or ())
    return "built-in" if spec.origin == "frozen" else spec.origin or next(iter(folders), None), folders


def _candidates(folder: Path, part: str) -> list[Path]:
    """Files that could be a submodule in a folder of its package, in the order in which Python looks for them."""
    suffixes = importlib.machinery.all_suffixes()
    return [
        *(folder / part / f"__init__{suffix}" for suffix in suffixes),
        *(folder / f"{part}{suffix}" for suffix in suffixes),
        folder / part,
    ]


def _lies_in(origin: str, project: Iterable[Path]) -> bool:
    if origin == "built-in":
        return False
    file = Path(origin).resolve()
    if _INSTALLED & set(file.parts) or any(file.is_relative_to(folder) for folder in _libraries()):
        return False
    return any(file.is_relative_to(folder.resolve()) for folder in project)


@cache
def _libraries() -> tuple[Path, ...]:
    """Folders of the interpreter's own and of installed modules, which may lie below the project."""
    paths = sysconfig.get_paths()
    return tuple(Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def _shown(origin: str) -> str:
    return "the interpreter itself" if origin == "built-in" else origin
