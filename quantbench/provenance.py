"""The user's own files that decide a result: modules that are loaded, and files that parameters name.

A module is known by its file's content as it was when this process first saw it, which is right after a factory was
imported or called: a file that is edited later in the run is not taken for the code that ran.
"""

from __future__ import annotations

import math
import operator
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

from quantbench.files import cache_dir, sha256_of_file, sha256_of_json

# Module → its file, and what tells the file's content; None where nothing does.
Code = dict[str, tuple[str, str | None]]
# Folders of installed distributions. One that is installed as editable lies elsewhere and is the user's own code.
INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
# The program that was started decides nothing, unless a factory is in it.
PROGRAMS = ("__main__", "__mp_main__")
# Imports what pytest collects: test modules and conftest files.
PYTEST_LOADER = "AssertionRewritingHook"
# No path is longer; a longer text names no file.
LONGEST_PATH = 4096
# A file's time may lag behind the clock by a tick of the kernel.
TICK_S = 0.02
_OURS = f"{Path(__file__).absolute().parent}{os.sep}"
_STDLIB = tuple(
    f"{folder}{os.sep}"
    for key in ("stdlib", "platstdlib")
    for folder in (Path(sysconfig.get_path(key)), Path(sysconfig.get_path(key)).resolve())
)


class Owner(Enum):
    """Owner of a module: the user, an installed distribution, this package or Python, nobody for one without a file."""

    USER = 1
    DISTRIBUTION = 2
    OURS = 3
    NONE = 4


@dataclass(frozen=True)
class _Seen:
    """A module as first seen.

    Attributes:
        origin: another one once the module is loaded again.
        file: its absolute path; empty where there is none.
        noted: signature of the file of a module of the user's; None where it is not known.
        owner: of the module.
    """

    origin: object
    file: str
    noted: str | None
    owner: Owner

    @property
    def signature(self) -> str | None:
        """Of its file."""
        return signature_of(self.file) if self.owner is Owner.DISTRIBUTION else self.noted


_seen: dict[str, _Seen] = {}
# Module → module of the factory whose import or call loaded it.
_brought: dict[str, str] = {}
# Modules of this package and of installed ones, unless a factory brings them in.
_never_counted: dict[str, object] = {}
# Names, modules, and those of both that may count, when they were last looked through.
_looked_through: list[tuple[list[str], list[object], list[str]]] = []
_hashed: dict[tuple[str, int, int, int, int], str] = {}


@contextmanager
def loading(factory_module: str) -> Iterator[None]:
    """Notes which modules are loaded while a factory outside of this package is imported or called."""
    before = list(sys.modules)
    yield
    now = list(sys.modules)
    # Sets of thousands of names take longer to make than all of them take to compare.
    new = set(now).difference(before) if now != before else set()
    # Those of the interpreter have no file, and change with its version alone.
    for name in {factory_module, *new}.difference(sys.builtin_module_names):
        _brought[name] = factory_module
        if _never_counted.pop(name, None) is not None:
            _looked_through.clear()
        _see(name)


def loaded_code(since: float = math.inf) -> Code:
    """Every module of the user's that is loaded, and of installed ones those that a factory loaded.

    Left out are the program that was started and what pytest collected, unless a factory is in it or loaded it, or
    another module names it.

    Args:
        since: seconds since the epoch. A file that was written after it, and whose module is seen for the first time,
            may not be what was imported; its content counts as unknown.
    """
    found = {name: seen for name in _that_may_count(since) if (seen := _see(name, since)) is not None}
    collected = {name for name in found if _is_collected(name)}
    counted = found.keys() - collected
    files = {found[name].file for name in counted} if collected else set()
    while files:
        # Of those that were just counted, since the words of all others named none of what is left.
        words: set[str] = set().union(*map(_words, files))
        named = {name for name in collected if name.rpartition(".")[2] in words}
        files = {found[name].file for name in named}
        counted |= named
        collected -= named
    return {name: (found[name].file, found[name].signature) for name in sorted(counted)}


def _that_may_count(since: float) -> list[str]:
    """Loaded modules, without those of which it is known that they never count: nearly all of thousands."""
    names: list[str] = list(sys.modules)
    modules: list[object] = list(sys.modules.values())
    for last_names, last_modules, left in _looked_through:
        if last_names == names and all(map(operator.is_, last_modules, modules)):
            return left
    nothing, left = object(), []
    for name, module in zip(names, modules, strict=True):
        if _never_counted.get(name, nothing) is module:
            continue
        if _see(name, since) is None and _seen[name].owner in (Owner.OURS, Owner.DISTRIBUTION):
            _never_counted[name] = module
        else:
            left.append(name)
    _looked_through[:] = [(names, modules, left)]
    return left


def changed_code(code: Mapping[str, Sequence[str | None]]) -> list[str]:
    """Files of modules that are not as they were when `code` was noted, shown from the current folder.

    Those count too that a factory of `code` loads now and did not load then. What a module reads by itself, from files
    or the environment, is not known.
    """
    changed = []
    for name, (file, signature) in code.items():
        seen = _see(name)
        current = seen.signature if seen is not None else signature_of(file or "")
        if signature is None or current != signature:
            changed.append(_shown(name, file or ""))
    for name, factory_module in list(_brought.items()):
        seen = _see(name)
        if factory_module in code and name not in code and seen is not None and seen.owner is Owner.USER:
            changed.append(_shown(name, seen.file))
    return changed


def differing_code(first: Code, second: Code) -> list[str]:
    """Files of the modules that both have, and that are not the same in both."""
    return [_shown(name, second[name][0]) for name in first if name in second and first[name][1] != second[name][1]]


def named_files(params: Any, beside: Path, folders: bool = True) -> dict[str, str]:
    """Content of each file that parameters name, relative to a configuration's folder or the current one.

    A folder is known by the names, sizes and times of the files below it; hidden ones and the cache are left out.

    Args:
        params: strings and paths, in mappings and sequences.
        beside: the configuration's folder.
        folders: whether folders count.
    """
    found = {}
    for text in _texts(params):
        for place in dict.fromkeys((beside.absolute(), Path.cwd())):
            try:
                path = place / Path(os.path.expandvars(text)).expanduser()
                if path.is_file():
                    found[str(path)] = _hash(path, path.stat())
                elif folders and path.is_dir():
                    found[str(path)] = _listing(path)
            except (OSError, ValueError, RuntimeError):
                # Too long, not readable, or no name of a file at all.
                continue
    return found


def signature_of(file: str) -> str | None:
    """The signature of a file's content: its hash, or size and time where an installed distribution has it.

    Of a module in an archive it is that of the archive; None where there is no file.
    """
    path = Path(file)
    try:
        facts = path.stat()
        return f"{facts.st_size}:{facts.st_mtime_ns}" if _is_installed(file) else _hash(path, facts)
    except OSError:
        archive = next((parent for parent in path.parents if parent.is_file()), None)
        return signature_of(str(archive)) if archive else None


def _see(name: str, since: float = math.inf) -> _Seen | None:
    """The module as first seen; None where it is not loaded or is none that counts."""
    module = sys.modules.get(name)
    # Not by attribute: modules that make up their attributes may raise anything.
    facts: dict[str, Any] = getattr(module, "__dict__", {})
    origin = facts.get("__spec__") or module
    seen = _seen.get(name)
    if seen is None or seen.origin is not origin:
        seen = _seen[name] = _looked_at(origin, facts.get("__file__"), since)
    if seen.owner is Owner.USER and name not in PROGRAMS:
        return seen
    if seen.owner is Owner.OURS or name not in _brought or module is None:
        return None
    # Without a file: a namespace, or made up by its parent, unless a factory is in it.
    return seen if seen.owner is not Owner.NONE or _brought[name] == name else None


def _looked_at(origin: object, file: object, since: float) -> _Seen:
    if not file or not isinstance(file, str):
        return _Seen(origin, "", None, Owner.NONE)
    file = file if file.startswith(os.sep) else str(Path(file).absolute())
    if _is_installed(file):
        # Its signature is taken when a factory turns out to have loaded it, which most never do.
        return _Seen(origin, file, None, Owner.DISTRIBUTION)
    if file.startswith((_OURS, *_STDLIB)):
        return _Seen(origin, file, None, Owner.OURS)
    is_newer = since < math.inf and Path(file).exists() and Path(file).stat().st_mtime > since - TICK_S
    signature = None if is_newer else signature_of(file)
    return _Seen(origin, file, signature, Owner.USER)


def _is_installed(file: str) -> bool:
    return any(folder in file for folder in INSTALLED)


def _is_collected(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__dict__", {}).get("__spec__")
    return name not in _brought and type(getattr(spec, "loader", None)).__name__ == PYTEST_LOADER


def _words(file: str) -> frozenset[str]:
    """Every word of a source file, by which it may name a module; none of a file that is not there."""
    try:
        facts = Path(file).stat()
    except OSError:
        return frozenset()
    return _words_of(file, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=4096)
def _words_of(file: str, size: int, mtime_ns: int) -> frozenset[str]:  # noqa: ARG001 — they tell versions apart
    try:
        return frozenset(re.findall(r"\w+", Path(file).read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return frozenset()


def _shown(name: str, file: str) -> str:
    if not file:
        return f"{name} (a module without a file)"
    return os.path.relpath(file) if Path(file).is_relative_to(Path.cwd()) else file


def _texts(params: Any) -> Iterator[str]:
    if isinstance(params, str | os.PathLike):
        text = os.fspath(params)
        if isinstance(text, str) and 0 < len(text) <= LONGEST_PATH:
            yield text
    elif isinstance(params, Mapping):
        for value in params.values():
            yield from _texts(value)
    elif isinstance(params, list | tuple | set | frozenset):
        for value in params:
            yield from _texts(value)


def _hash(path: Path, facts: os.stat_result) -> str:
    key = (str(path), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
    if key not in _hashed:
        _hashed[key] = sha256_of_file(path)
    return _hashed[key]


def _listing(folder: Path) -> str:
    found, cache = [], cache_dir().absolute()
    for parent, inner, files in os.walk(folder):
        inner[:] = [each for each in inner if not each.startswith((".", "__pycache__")) and Path(parent, each) != cache]
        for file in (Path(parent, each) for each in files if not each.startswith(".")):
            facts = file.lstat()
            found.append([str(file.relative_to(folder)), facts.st_size, facts.st_mtime_ns])
    return sha256_of_json(sorted(found))
