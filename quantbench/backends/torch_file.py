"""Files of `torch.save`, opened without running code: whole by their checksums, and of nothing but ordinary tensors.

A file of the zip format holds a CRC-32 of each member, which torch writes and does not check: one flipped bit changes a
weight without a word. Files of the format before torch 1.6 hold none; they are read, since published weights are in
it, and whatever is made of them has a hash of its own.
"""

from __future__ import annotations

import hashlib
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch

from quantbench.backends.quantized_tensors import FLOAT_QPARAMS, INTEGERS, PER_CHANNEL, is_quantized
from quantbench.backends.tensor_classes import bytes_of, import_classes, is_composed, problem_of_composed
from quantbench.errors import CheckpointError, ExtraMissingError
from quantbench.files import open_file, printable, read_bytes
from quantbench.upstream import silenced

ADVICE = "save a state dict again, with torch.save(model.state_dict(), …)"
# First byte of what torch pickled before 1.6.
PROTOCOL = b"\x80"
ZIP = b"PK\x03\x04"
SEAL = b"sha256:"
# Bytes of a member that are read at a time.
CHUNK = 1 << 16
# Of the format before torch 1.6: a mark, a version, the system, the content.
PICKLES = 4
# Containers within containers; an optimizer's state has four levels.
DEEPEST = 32
# Tensors may share memory, as tied weights do; all of them together take at most so many times the file.
LARGEST_SHARING = 16
# Classes whose instances can be of any size, whatever the size of the file that names them.
UNBOUNDED = re.compile(rb"c(?:__builtin__|builtins)\nbytearray\n|ctorch(?:\.\w+)*\n\w*Tensor\n")
# Classes of tensors that are opened once their library named them as safe.
COMPOSED = re.compile(rb"ctorchao(?:\.\w+)*\n\w+\n")
PLAIN = (str, int, float, complex, bool, bytes, type(None), torch.dtype, torch.device, torch.Size, set)


def read_torch_file(path: Path, advice: str = ADVICE, content: bytes | None = None) -> Any:
    """The content of a `torch.save` file, on the processor.

    Args:
        path: the file.
        advice: ends the message: what to do.
        content: its bytes, where they were read already.

    Raises:
        CheckpointError: in one line, if it is missing, no ordinary file, not whole, would take far more memory than its
            size, would run code when opened, or holds what is no ordinary tensor or plain value.
    """
    try:
        with BytesIO(content) if content is not None else open_file(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            if file.read(len(ZIP)) == ZIP:
                _check_archive(file, size, f"{path}: a tensor of torchao")
                file.seek(0)
                loaded = _loaded(file)
            else:
                file.seek(0)
                # From memory, which takes no more than is there, whatever a length in the file says; of what is no
                # such pickle enough to tell why.
                is_pickle = file.read(1) == PROTOCOL
                file.seek(0)
                old = file.read() if is_pickle else file.read(CHUNK)
                _check_old_format(old)
                loaded = _loaded(BytesIO(old))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except OSError as error:
        reason = error.strerror or _reason(error)
        raise CheckpointError(f"{path}: cannot be read ({reason}); {advice}") from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused: opening it could run code or build objects that are not tensors ({_reason(error)}); "
            f"{advice}"
        ) from None
    except ExtraMissingError:
        raise
    # Damaged bytes trip the reader anywhere: EOFError, KeyError, RuntimeError, struct.error, TypeError and more.
    except Exception as error:
        raise CheckpointError(f"{path}: not a whole checkpoint ({_reason(error)}); {advice}") from None
    if problem := _problem(loaded, size):
        raise CheckpointError(f"{path}: {problem}; {advice}")
    return loaded


def seal(path: Path) -> None:
    """Notes the hash of a `torch.save` file's content as the comment of its archive, which other readers skip."""
    with path.open("r+b") as file:
        # The last two bytes are the length of the comment, so far none.
        file.seek(-2, 2)
        file.write(struct.pack("<H", len(SEAL) + 64))
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, 2)
        file.write(SEAL + digest.encode("ascii"))


def read_sealed(path: Path, advice: str) -> Any:
    """The content of a file that was sealed.

    Raises:
        CheckpointError: as `read_torch_file`, or if it is not as it was sealed.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {advice}") from None
    body, mark, stated = content[: -len(SEAL) - 64], content[-len(SEAL) - 64 : -64], content[-64:]
    if mark != SEAL or hashlib.sha256(body).hexdigest().encode("ascii") != stated:
        raise CheckpointError(f"{path}: is cut short or changed; {advice}")
    return read_torch_file(path, advice, content)


def _loaded(file: BinaryIO) -> Any:
    with silenced():
        # torch warns before it refuses a plain pickle, and of kinds of tensors that are refused below.
        warnings.simplefilter("ignore", UserWarning)
        return torch.load(file, weights_only=True, map_location="cpu")


def _check_archive(file: BinaryIO, size: int, composed: str) -> None:
    """Refuses members that are compressed, overlap or are not what their checksums say, before any is taken in.

    Args:
        file: the archive.
        size: its bytes.
        composed: words for a tensor that needs a library to be opened.

    Raises:
        ExtraMissingError: if that library is missing.
        ValueError: naming the member.
        zipfile.BadZipFile: the same.
        pickle.UnpicklingError: if a value could be of any size.
    """
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [each.filename for each in members]
        if len(set(names)) != len(names):
            raise ValueError("two members of the archive have one name")
        if packed := next((each for each in members if each.compress_type != zipfile.ZIP_STORED), None):
            raise ValueError(
                f"'{printable(packed.filename)[:80]}' is compressed, {packed.compress_size:,} bytes of "
                f"{packed.file_size:,}, which torch.save never does"
            )
        if (total := sum(each.file_size for each in members)) > size:
            raise ValueError(f"its members claim {total:,} bytes, and the file has {size:,}")
        for each in members:
            with archive.open(each) as member:
                # Read to its end, where the checksum is compared.
                pickled = member.read() if each.filename.endswith("/data.pkl") else b""
                while member.read(CHUNK):
                    pass
            if found := UNBOUNDED.search(pickled):
                name = found[0][1:].decode("ascii").strip().replace("\n", ".")
                raise pickle.UnpicklingError(f"Unsupported: GLOBAL {name}")
            if COMPOSED.search(pickled):
                import_classes(composed)


def _check_old_format(content: bytes) -> None:
    """Refuses tensors of more values than the file has bytes: in the format before torch 1.6 memory is taken first.

    Raises:
        ValueError: if one claims more.
    """
    stream, number = BytesIO(content), 0
    for _ in range(PICKLES):
        try:
            for opcode, argument, _ in pickletools.genops(stream):
                if "PERSID" in opcode.name and number > len(content):
                    raise _TooManyError(f"a tensor claims {number:,} values, and the file has {len(content):,} bytes")
                if isinstance(argument, int) and "PUT" not in opcode.name and "GET" not in opcode.name:
                    number = argument
        except _TooManyError:
            raise
        # No pickle, which torch refuses in its words.
        except Exception:
            return


class _TooManyError(ValueError):
    """A claim that nothing in the file can keep."""


def _reason(error: Exception) -> str:
    """The telling line of torch's message, without its advice to open the file unsafely."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    line = next((line for line in lines if "GLOBAL" in line or "Unsupported" in line), lines[0])
    return printable(f"{type(error).__name__}: {line.partition('. ')[0][:200]}")


def _problem(loaded: Any, size: int) -> str | None:
    """The first value that is no ordinary tensor or plain value, by its key; None without one."""
    total = 0
    # Each takes a byte of a pickle; a container that is named again is one more.
    for place, value in _values(loaded, iter(range(size))):
        if problem := _problem_of(value):
            return f"{place}{problem}"
        if isinstance(value, torch.Tensor):
            total += bytes_of(value)
    if total > LARGEST_SHARING * size:
        return f"its tensors take {total:,} bytes, and the file has {size:,}: they share memory that is written once"
    return None


def _values(value: Any, budget: Iterator[int], place: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Values within containers, each with its keys in words; containers of strange keys come as themselves.

    Args:
        value: of a file.
        budget: one for each value and container that there may be. A few containers that name each other many times
            are more values than any machine walks through.
        place: keys that lead to it.
        depth: containers around it.
    """
    subject = f"'{printable(place)[:80]}' " if place else ""
    if depth > DEEPEST:
        yield subject, _Refused("is nested too deeply")
    elif next(budget, None) is None:
        yield subject, _Refused("is one of more values than the file has bytes: its containers name each other")
    elif isinstance(value, dict):
        if any(not isinstance(key, str | int | float | bool | type(None)) for key in value):
            yield subject, _Refused("has keys that are neither text nor numbers")
        if odd := next((key for key in value if isinstance(key, str) and not key.isprintable()), None):
            yield subject, _Refused(f"has the key '{printable(odd)[:80]}', which cannot be printed")
        for key, inner in value.items():
            yield from _values(inner, budget, f"{place}.{key}" if place else str(key), depth + 1)
    elif isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        for i, inner in enumerate(value):
            yield from _values(inner, budget, f"{place}.{i}" if place else str(i), depth + 1)
    else:
        yield subject, value


class _Refused:
    """Stands for a value that is refused whatever it is."""

    def __init__(self, words: str) -> None:
        self.words = words


def _problem_of(value: Any) -> str | None:
    if isinstance(value, _Refused):
        return value.words
    if not isinstance(value, torch.Tensor):
        # Of such names a representation is made, which another type may answer with any number of bytes.
        return None if type(value) in PLAIN else f"is a {type(value).__name__}, no tensor and no plain value"
    if is_composed(value):
        return problem_of_composed(value)
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        return f"is a tensor of the class {type(value).__name__}; only plain ones are read"
    if value.is_nested or value.layout is not torch.strided:
        kind = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
        return f"is a {kind} tensor; make it dense"
    if value.device.type != "cpu":
        return f"is a tensor on the device '{value.device.type}', without values here"
    if value.numel() and 1 + sum((n - 1) * abs(step) for n, step in zip(value.shape, value.stride(), strict=True)) < (
        value.numel()
    ):
        return f"is an expanded tensor of {value.numel():,} values, of which fewer are in the file; call contiguous()"
    return _problem_of_scales(value) if is_quantized(value) else None


def _problem_of_scales(value: torch.Tensor) -> str | None:
    """Scales that are not positive numbers, and zero points that are none of the integers; one of each per channel."""
    low: float
    high: float
    low, high = INTEGERS.get(value.dtype, (-(2**31), 2**31 - 1))
    if value.qscheme() in PER_CHANNEL:
        axis, scales, zeros = (
            value.q_per_channel_axis(),
            value.q_per_channel_scales(),
            value.q_per_channel_zero_points(),
        )
        channels = value.shape[axis] if 0 <= axis < value.dim() else -1
        if not len(scales) == len(zeros) == channels:
            return f"has {len(scales)} scales and {len(zeros)} zero points for {channels} channels of axis {axis}"
        if value.qscheme() is FLOAT_QPARAMS:
            low, high = -torch.inf, torch.inf
    else:
        scales, zeros = torch.tensor([value.q_scale()]), torch.tensor([value.q_zero_point()])
    if not bool((torch.isfinite(scales) & (scales > 0)).all()):
        return "has a scale that is no positive number"
    if not bool((torch.isfinite(zeros) & (zeros >= low) & (zeros <= high)).all()):
        return f"has a zero point outside of {low}..{high}, the integers of {str(value.dtype).removeprefix('torch.')}"
    return None
