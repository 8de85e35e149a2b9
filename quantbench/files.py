"""Files that are either whole or not there: written beside their place, then moved into it; opening them; hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

import platformdirs

from quantbench.errors import CacheError
from quantbench.temporary import sweep_once, temporary_name

# Characters of a name or key that a message shows.
LONGEST_NAME = 80
# Bytes that are asked for at once, at the least.
SMALLEST_PART = 1 << 20
# Opening or reading one of these waits for another program, maybe for ever.
SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


def cache_dir() -> Path:
    """Folder of decoded data, checkpoints and unfinished trainings: `$QUANTBENCH_CACHE` or the user's cache folder.

    Raises:
        CacheError: if the user has no folder.
    """
    if given := os.environ.get("QUANTBENCH_CACHE"):
        return Path(given)
    folder = Path(platformdirs.user_cache_dir("quantbench"))
    # Python leaves "~" as it is where there is neither HOME nor an account.
    if not folder.is_absolute():
        raise CacheError(
            "the cache has no place: HOME is not set, and this user has none; set QUANTBENCH_CACHE=<folder>"
        )
    return folder


def data_dir() -> Path:
    """Folder of the user's own data sets: `$QUANTBENCH_DATA` or `<cache>/raw`."""
    return Path(os.environ.get("QUANTBENCH_DATA") or cache_dir() / "raw")


def beside(folder: Path, path: Path) -> Path:
    """A path that begins at a folder, which need not exist: that of a workload file that is not written.

    Example:
        >>> beside(Path("absent"), Path("../fp32.onnx")).name
        'fp32.onnx'
    """
    # `absent/..` leads nowhere, and through a link elsewhere than the words say.
    return folder / path if folder.is_dir() else Path(os.path.normpath(folder / path))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, moved over it on success and removed on failure.

    What killed writers left beside it is swept first.

    Raises:
        OSError: if it cannot be written, with `path` as its file name.
    """
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_once(path.parent)
    temporary = path.with_name(temporary_name(path.name))
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        # Results are meant to be read by whoever may read the folder, whatever wrote them.
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_replaceable(path: Path) -> None:
    """Refuses a place where something else than a file is, such as `/dev/null`, which would be replaced by one.

    Raises:
        OSError: if it is a named pipe, a socket or a device, as its `strerror` says.
    """
    try:
        found = path.stat()
    # Nothing is there, or a link to nowhere; whatever else is wrong is told by writing, as of a folder.
    except (OSError, ValueError):
        return
    if not stat.S_ISDIR(found.st_mode):
        _refuse_special(path, found)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_text(path: Path, text: str) -> None:
    """Writes at the end of a text file, or of what stands for one; a pipe that nobody reads is not waited for.

    Raises:
        OSError: if it cannot be written.
    """
    with open(path, "a", encoding="utf-8", opener=_without_waiting) as file:
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON whole or not at all; NaN is refused, because JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def open_file(path: Path) -> BufferedReader:
    """Opens an ordinary file for reading its bytes, and never waits for another program.

    Raises:
        OSError: if it cannot be opened, or is a folder, a named pipe, a socket or a device, as its `strerror` says.
    """
    try:
        # Before it is opened, which alone makes some devices do something; after that, since it may be replaced.
        _refuse_special(path, path.stat())
        stream = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 — the caller closes it
    except ValueError:
        raise OSError(errno.EINVAL, "its name holds a NUL character", str(path)) from None
    try:
        _refuse_special(path, os.fstat(stream.fileno()))
    except OSError:
        stream.close()
        raise
    return stream


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _refuse_special(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    if not stat.S_ISREG(found.st_mode):
        what = SPECIAL.get(stat.S_IFMT(found.st_mode), "something else")
        raise OSError(errno.EINVAL, f"is {what}, not a file", str(path))


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The bytes of an ordinary file.

    Args:
        path: the file.
        most: bytes that are read; a larger file is refused before it is.

    Raises:
        OSError: as `open_file`, or if it is larger.
    """
    with open_file(path) as file:
        # A file of the file system for processes has no size, and one may grow meanwhile.
        if most is None:
            return file.read()
        size, parts, room = os.fstat(file.fileno()).st_size, list[bytes](), most + 1
        # So much is allocated at once as is asked for, whatever the file has.
        while size <= most and room and (part := file.read(min(room, max(size, SMALLEST_PART)))):
            parts.append(part)
            room -= len(part)
    if size > most or not room:
        raise OSError(errno.EFBIG, f"is larger than {most:,} bytes", str(path))
    return b"".join(parts)


def read_text(path: Path, most: int | None = None) -> str:
    """The text of an ordinary file in UTF-8, with the line ends of the system made `\\n`.

    Raises:
        OSError: as `read_bytes`.
        UnicodeDecodeError: if it is not UTF-8.
    """
    text = read_bytes(path, most).decode("utf-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def is_inside(name: str) -> bool:
    """True if a relative path that a file names stays in the folder that it is below.

    Example:
        >>> is_inside("model/weights.bin"), is_inside("../weights.bin"), is_inside("/etc/passwd")
        (True, False, False)
    """
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\0" not in name and "\\" not in name


def printable(text: object) -> str:
    r"""A text or path as one line that any terminal shows: control characters and bytes that are not UTF-8 are escaped.

    Example:
        >>> printable("a\nb\udcff.png")
        'a\\nb\\xff.png'
    """
    return "".join(each if each.isprintable() else _escaped(each) for each in str(text))


def short_name(text: object) -> str:
    r"""A name that a file gives, as a message shows it: printable, and cut where it is far longer than any name.

    Example:
        >>> short_name("resnet\x1b[31m"), len(short_name("A" * 2000))
        ('resnet\\x1b[31m', 81)
    """
    shown = printable(text)
    return shown if len(shown) <= LONGEST_NAME else f"{shown[:LONGEST_NAME]}…"


def _escaped(character: str) -> str:
    code = ord(character)
    # How Python keeps a byte of a file name that is not UTF-8.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()


def sha256_of_file(path: Path) -> str:
    """Hex sha256 of an ordinary file's bytes."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(value: Any) -> str:
    """Hex sha256 of a value's canonical JSON; equal content gives equal keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
