"""Causes of claims that could not be made: one that many claims share is told in full once."""

from __future__ import annotations

# Characters of a cause that are shown again.
SHOWN = 80


class Causes:
    """Causes that this process has told, each with the claim that told it."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, str]] = {}

    def shortened(self, error: Exception, claim: tuple[str, str] | None, test: str) -> str | None:
        """A short line for a cause that another claim has told; None for one that is told now.

        Args:
            error: the cause.
            claim: experiment and quantity of the claim; None where its test judges none.
            test: name of the test.

        Example:
            >>> causes, error = Causes(), ValueError("no such baseline")
            >>> causes.shortened(error, ("cnn/ptq", "size_ratio"), "test_size")
            >>> causes.shortened(error, ("cnn/ptq", "reload"), "test_reload")
            'not made: see size_ratio of cnn/ptq: no such baseline'
        """
        text, here = str(error), (claim or ("", test))
        first = self._told.setdefault(text, here)
        # A claim that is made again tells it again.
        if first == here:
            return None
        experiment, quantity = first
        place = f"{quantity} of {experiment}" if experiment else quantity
        line = " ".join(text.split())
        return f"not made: see {place}: {line[:SHOWN]}" + ("…" if len(line) > SHOWN else "")
