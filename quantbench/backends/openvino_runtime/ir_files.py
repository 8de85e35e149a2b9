"""Files of an OpenVINO model, checked before the runtime reads them.

An IR is two files: the `.xml` says what is computed, the `.bin` beside it holds the values, and the `.xml` says where
each value lies in it. The runtime parses the one and maps the other into memory, so that both are read here first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from quantbench.errors import CheckpointError
from quantbench.extras import require
from quantbench.files import open_file, printable

# Of an `.xml`; one of a model with thousands of layers takes a few.
LARGEST_XML = 64 << 20
# Elements within elements; a loop's body within a loop's body has about twelve.
DEEPEST = 64
# Bytes of a `.bin` that no layer uses: more than an alignment's are of another model.
LARGEST_REST = 4096
CHUNK = 1 << 16
LONGEST_NUMBER = 20
ADVICE = "write the model again with openvino.save_model(model, 'NAME.xml')"


def files_of(path: Path) -> tuple[Path, ...]:
    """All files that make the model at a path: an `.xml` and its `.bin`, or an `.onnx` with its external data.

    Raises:
        CheckpointError: if one is missing, is no ordinary file, or does not fit the other.

    Example:
        >>> files_of(Path("none.xml"))
        Traceback (most recent call last):
        quantbench.errors.CheckpointError: none.xml: no such file
    """
    if path.suffix.lower() == ".xml":
        values = path.with_suffix(".bin")
        check_ir(path, values)
        return path, values
    if path.suffix.lower() == ".onnx":
        from quantbench.backends import onnx_file

        require("reading .onnx with backend 'openvino'", "onnx")
        return onnx_file.files_of(path)
    raise CheckpointError(f"{path}: backend 'openvino' loads .xml (with its .bin) and .onnx, no '{path.suffix}'")


def check_ir(path: Path, values: Path) -> int:
    """Refuses an `.xml` that is no IR, or that could grow when it is parsed, and a `.bin` that is not its own.

    Returns:
        The version of the format.

    Raises:
        CheckpointError: naming the file.
    """
    ir = _Ir(path)
    if not values.exists() and not values.is_symlink():
        raise CheckpointError(
            f"{path}: the values of its layers are missing: no {values.name} beside it; an OpenVINO model is two files "
            "of one name, .xml and .bin"
        )
    size = _size_of(values)
    if ir.end > size:
        raise CheckpointError(
            f"{values}: has {size:,} bytes, and layer '{ir.last}' of {path.name} lies at {ir.start:,} to {ir.end:,}: "
            "it is cut short or of another model"
        )
    if size > ir.end + LARGEST_REST:
        raise CheckpointError(
            f"{values}: has {size:,} bytes, of which {path.name} uses {ir.end:,}: it is of another model"
        )
    return ir.version


class _Ir:
    """An `.xml`, read once from end to end.

    Attributes:
        version: of the format, which is not that of OpenVINO.
        start: of the value that lies last in the `.bin`, in bytes.
        end: of it.
        last: the layer that it belongs to.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.version, self.start, self.end, self.last = path, 0, 0, 0, ""
        self._depth, self._layer = 0, ""
        if (size := _size_of(path)) > LARGEST_XML:
            raise CheckpointError(
                f"{path}: has {size:,} bytes; an OpenVINO .xml of more than {LARGEST_XML:,} is not read"
            )
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._opened
        parser.EndElementHandler = self._closed
        # Entities of one can hold each other, so that a few lines become gigabytes.
        parser.StartDoctypeDeclHandler = lambda *_: self._refuse("holds a document type (<!DOCTYPE), which no IR has")
        try:
            with open_file(path) as file:
                while chunk := file.read(CHUNK):
                    parser.Parse(chunk, False)
                parser.Parse(b"", True)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
        except (expat.ExpatError, ValueError) as error:
            self._refuse(f"is cut short, or no XML at all ({printable(error)})")

    def _refuse(self, why: str) -> NoReturn:
        raise CheckpointError(f"{self.path}: {why}; {ADVICE}")

    def _opened(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self._refuse(f"has more than {DEEPEST} elements within each other")
        if self._depth == 1:
            self._check_root(name, attributes)
        if name == "layer":
            self._layer = attributes.get("name", attributes.get("id", ""))
        if name == "data" and "offset" in attributes and "size" in attributes:
            self._value(attributes)

    def _closed(self, _: str) -> None:
        self._depth -= 1

    def _check_root(self, name: str, attributes: dict[str, str]) -> None:
        if name != "net":
            self._refuse(f"is no OpenVINO model: it begins with <{printable(name)[:40]}>, and one with <net version=…>")
        self.version = self._number(attributes.get("version", ""), "its version")

    def _value(self, attributes: dict[str, str]) -> None:
        layer = printable(self._layer)[:80]
        start = self._number(attributes["offset"], f"the offset of layer '{layer}'")
        end = start + self._number(attributes["size"], f"the size of layer '{layer}'")
        if end > self.end:
            self.start, self.end, self.last = start, end, layer

    def _number(self, text: str, what: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER):
            self._refuse(f"{what} is '{printable(text)[:40]}', no number")
        return int(text)


def _size_of(path: Path) -> int:
    """Bytes of an ordinary file.

    Raises:
        CheckpointError: if it is missing or no ordinary file.
    """
    try:
        with open_file(path) as file:
            return os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
