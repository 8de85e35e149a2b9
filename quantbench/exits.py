"""Ends of the process that code of a user's asks for, past everything that is still to be judged and told."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

# Each ends or replaces the process at once, with a status that says nothing of the run: 0, or that of another program.
ENDING = ("_exit", "execv", "execve")


def refuse_exits() -> None:
    """Lets no code of this process end it with status 0 before the run is judged; for the rest of the process.

    In the main thread such a call raises `SystemExit`, which ends what called it. Elsewhere, as of a time limit's
    thread, a status that is a failure passes. A child process ends as it likes, and so does native code.
    """
    for name in ENDING:
        usual = getattr(os, name)
        if not isinstance(usual, _Refusing):
            setattr(os, name, _Refusing(usual, name, os.getpid()))


class _Refusing:
    """A function that ends the process, where it may."""

    def __init__(self, usual: Callable[..., Any], name: str, process: int) -> None:
        functools.update_wrapper(self, usual)
        self.usual, self.name, self.process = usual, name, process

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if os.getpid() != self.process or self._is_failure(args, kwargs):
            return self.usual(*args, **kwargs)
        shown = ", ".join(map(repr, [*args[:1], *kwargs.values()][:1]))
        raise SystemExit(f"os.{self.name}({shown}) would have ended the run")

    def _is_failure(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if self.name != "_exit" or threading.current_thread() is threading.main_thread():
            return False
        status = args[0] if args else kwargs.get("status", 0)
        return bool(status & 0xFF)
