"""Calls of code that is not ours, which may raise anything: each error becomes one line, with its cause kept.

The bases of what users write derive from `Guarded`, so that their methods are such calls wherever they are made.
Elsewhere `calling` stands around the call.
"""

from __future__ import annotations

import functools
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, ClassVar

from quantbench.errors import ForeignError, LibraryMissingError, QuantbenchError
from quantbench.extras import missing

# What a message shows of another; the rest is in the traceback.
LONGEST = 200
HINT = "for the traceback run again with --verbose (pytest: -vv)"
_PACKAGE = Path(__file__).parent
_LIBRARIES = tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def passes(error: BaseException) -> bool:
    """True for what is no failure of the call: our own errors, which are a line already, and what stops the run.

    Ctrl-C stops it, and so does a KeyboardInterrupt that code raises, which looks the same.
    """
    # By the type alone, since `isinstance` asks an exception for its `__class__`, which is code of its author.
    kind = type(error)
    if kind is KeyboardInterrupt or issubclass(kind, QuantbenchError):
        return True
    # pytest.exit, also of somebody who leaves the debugger.
    outcomes = sys.modules.get("_pytest.outcomes")
    return outcomes is not None and issubclass(kind, outcomes.Exit)


def cause_of(error: BaseException) -> str:
    """Type and message of an exception in one line, printable and of bounded length, whatever it says.

    Example:
        >>> cause_of(KeyError("x"))
        "KeyError: 'x'"
    """
    message = message_of(error)
    return f"{_name_of(error)}: {message}" if message else _name_of(error)


def message_of(error: BaseException) -> str:
    """An exception's message in one printable line: all of it if that is short, otherwise its first line, cut."""
    text = _text_of(error)
    line = " ".join(text.split())
    if len(line) > LONGEST:
        line = " ".join(next(each for each in text.splitlines() if each.strip()).split())
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def first_line(error: BaseException) -> str:
    """Type of an exception and the first line of its message.

    Example:
        >>> first_line(ValueError("no such layer\\nin this model"))
        'ValueError: no such layer'
    """
    return f"{_name_of(error)}: {_text_of(error).strip().partition(chr(10))[0][:LONGEST]}"


def _text_of(error: BaseException) -> str:
    try:
        # A subclass of `str` may bring methods of its own.
        return str.__str__(str(error))
    # Code of whoever wrote the exception.
    except BaseException as second:
        if type(second) is KeyboardInterrupt:
            raise
        return f"(its message raised {_name_of(second)})"


def raised_by(error: BaseException, module: str) -> bool:
    """True if the line that raised an exception is of the package that a module belongs to."""
    *_, (frame, _) = traceback.walk_tb(raised_at(error))
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == module.partition(".")[0]


def traceback_of(error: BaseException) -> str:
    """The traceback of an error and of what caused it, as far as that can be told."""
    try:
        return "".join(traceback.format_exception(error)).rstrip()
    # An exception's attributes are code of its author.
    except BaseException as second:
        if type(second) is KeyboardInterrupt:
            raise
    lines = []
    cause = BaseException.__dict__["__cause__"].__get__(error)
    for each in (error, cause):
        if each is not None:
            lines += [*traceback.format_tb(raised_at(each)), cause_of(each)]
    return "\n".join(line.rstrip() for line in lines)


def _name_of(error: BaseException) -> str:
    """Name of an exception's type, which a metaclass cannot change."""
    return str.__str__(type.__dict__["__name__"].__get__(type(error)))


def raised_at(error: BaseException) -> TracebackType | None:
    """The traceback that Python keeps, whatever the type of the exception says it is."""
    found: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    return found


class calling:  # noqa: N801 — used as a function
    """A call of code that is not ours: whatever it raises becomes a `ForeignError` of one line.

    Our own errors and Ctrl-C pass as they are. `SystemExit` and `GeneratorExit` do not, since user code that exits ends
    its own experiment and no other.

    Args:
        what: is called, the subject of the sentence.

    Example:
        >>> try:
        ...     with calling("model 'my_net:net'"):
        ...         raise KeyError("width")
        ... except ForeignError as error:
        ...     print(error)
        model 'my_net:net' raised KeyError: 'width'; for the traceback run again with --verbose (pytest: -vv)
    """

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        """Nothing is needed before the call."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        """Raises the line, if the call raised."""
        if error is not None and not passes(error):
            raise foreign(self.what, error) from error


class about:  # noqa: N801 — used as a function
    """Names what a `ForeignError` that passes is about, in front of its line.

    Args:
        subject: such as the model whose forward it was.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject

    def __enter__(self) -> None:
        """Nothing is needed before."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        """Raises it with the subject in front."""
        if isinstance(error, ForeignError):
            raise type(error)(f"{self.subject}: {error}") from error.__cause__


def foreign(what: str, error: BaseException) -> ForeignError:
    """The line about what a call raised, with the layer and the line of code where that can be read off it.

    Of an optional library that is not installed it says what installs it instead.
    """
    if (line := missing(what, error)) is not None:
        return LibraryMissingError(line)
    return ForeignError(f"{what} raised {cause_of(error)}{place_of(error)}; {HINT}")


class Guarded:
    """Base of what users write: each call of a guarded method is a call of code that is not ours.

    Attributes:
        guarded: names of these methods.
    """

    guarded: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in cls.guarded & vars(cls).keys():
            if inspect.isfunction(method := vars(cls)[name]):
                setattr(cls, name, _guarded(method))

    def _called(self, method: str) -> str:
        """Words for a call of a method, the subject of the sentence."""
        return f"{type(self).__name__}.{method}"


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def guarded(self: Guarded, *args: Any, **kwargs: Any) -> Any:
        # Written out, since forwards are timed through here.
        try:
            return method(self, *args, **kwargs)
        except BaseException as error:
            if passes(error):
                raise
            raise foreign(self._called(method.__name__), error) from error

    return guarded


def place_of(error: BaseException) -> str:
    """The innermost layer of a torch model that was running, and the innermost line of code that is of no library."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(raised_at(error))]
    try:
        layer = _layer_of([frame for frame, _ in frames])
    # Attributes of the user's own model are read here.
    except BaseException as second:
        if type(second) is KeyboardInterrupt:
            raise
        layer = ""
    own = [(frame, line) for frame, line in frames if _is_own(frame)]
    if not own:
        return layer
    frame, line = own[-1]
    return f"{layer}, at {_short(Path(frame.f_code.co_filename))}:{line}"


def _layer_of(frames: list[FrameType]) -> str:
    module_class = getattr(sys.modules.get("torch.nn"), "Module", None)
    if module_class is None:
        return ""
    running = [frame for frame in frames if isinstance(frame.f_locals.get("self"), module_class)]
    # A model that is called; one that is built, copied or fused has no input.
    calls = [frame for frame in running if frame.f_code.co_name == "_call_impl"]
    if not calls:
        return ""
    root, inputs = calls[0].f_locals["self"], calls[0].f_locals.get("args", ())
    names = {id(module): name for name, module in root.named_modules()}
    inside = [frame.f_locals["self"] for frame in running if id(frame.f_locals["self"]) in names]
    layer = inside[-1]
    name = f"layer '{names[id(layer)]}' ({type(layer).__name__})" if names[id(layer)] else type(layer).__name__
    shapes = ", ".join(str(list(each.shape)) for each in inputs if hasattr(each, "shape"))
    return f" in {name}" + (f", batch {shapes}" if shapes else "")


def _is_own(frame: FrameType) -> bool:
    """True for code of the user's: a file of no library and not of this package."""
    file = Path(frame.f_code.co_filename)
    return file.is_absolute() and not any(file.is_relative_to(folder) for folder in (_PACKAGE, *_LIBRARIES))


def _short(file: Path) -> Path:
    try:
        return file.relative_to(Path.cwd())
    # Outside of the current folder, or that folder is gone.
    except (ValueError, OSError):
        return file
