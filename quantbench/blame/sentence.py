"""A blame in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.blame.causes.interface import Cause
from quantbench.records.blame import Trial
from quantbench.records.intervals import Limits


class Amounts:
    """Amounts of one blame in words.

    Args:
        unit: `pp`, or that of the task.
        drop: that is to be explained.
        interval: of it.

    Example:
        >>> Amounts("pp", 6.2, (5.0, 7.5)).of(5.9, (4.8, 7.0))
        '5.9 [4.8, 7.0]'
    """

    def __init__(self, unit: str, drop: float, interval: Limits | None) -> None:
        self.unit, self.drop, self.interval = unit, drop, interval

    def number(self, value: float) -> str:
        """With as many digits as mean something."""
        return f"{value:.1f}" if self.unit == "pp" else f"{value:.3g}"

    def of(self, value: float, interval: Limits | None) -> str:
        """With its interval."""
        if interval is None:
            return self.number(value)
        return f"{self.number(value)} [{self.number(interval[0])}, {self.number(interval[1])}]"

    @property
    def whole(self) -> str:
        """The drop with its unit."""
        return f"{self.number(self.drop)} {self.unit}"


def name_of(layer: str, op: str) -> str:
    """A layer as the subject of a sentence."""
    return f"the quantizer of the model's input ({layer})" if op == "input" else layer


def joined(names: Sequence[str]) -> str:
    """Names in a row.

    Example:
        >>> joined(["conv1", "conv2", "fc"])
        'conv1, conv2 and fc'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def of_layers(amounts: Amounts, names: Sequence[str], trial: Trial, cause: Cause | None, about: str) -> str:
    """One layer, or several together.

    Args:
        amounts: see `Amounts`.
        names: of the layers, in words.
        trial: that confirms it.
        cause: of the first.
        about: name of the layer that the cause is of, where there are several.
    """
    verb = "are together" if len(names) > 1 else "is"
    known = amounts.of(trial.recovered, trial.interval)
    words = f"{joined(names)} {verb} responsible for {known} of the {amounts.whole}"
    if cause is None:
        return f"{words}."
    advice = f" Try {cause.advice}." if cause.advice else ""
    return f"{words}: {f'in {about} ' if len(names) > 1 else ''}{cause.words}.{advice}"


def of_nothing(amounts: Amounts, n: int) -> str:
    """Nothing is surely lost."""
    return (
        f"nothing to blame: {amounts.of(amounts.drop, amounts.interval)} {amounts.unit} lost on {n:,} test samples may "
        "be chance."
    )


def of_too_little(amounts: Amounts, n: int, about: tuple[str, float, Cause] | None) -> str:
    """So little is lost that so many samples confirm no layer.

    Args:
        amounts: see `Amounts`.
        n: test samples.
        about: the layer that most of the error of the outputs goes with, that part, and the cause.
    """
    known = f"{amounts.of(amounts.drop, amounts.interval)} {amounts.unit} lost on {n:,} test samples"
    words = f"{known} are too little to confirm any layer by"
    if about is None:
        return f"{words}."
    name, part, cause = about
    advice = f" Try {cause.advice}." if cause.advice else ""
    return f"{words}; most of the error of the outputs, {100 * part:.0f} %, goes with {name}: {cause.words}.{advice}"


def of_spread(amounts: Amounts, trial: Trial, best: str) -> str:
    """All layers together explain it, and no few of them do."""
    return (
        f"no layer alone is responsible for the {amounts.whole}: {best}; all put back recover "
        f"{amounts.of(trial.recovered, trial.interval)}, so it is spread over the model. Try recipe: "
        "static_int8_per_channel, or recipe: qat_int8."
    )


def of_elsewhere(amounts: Amounts, trial: Trial) -> str:
    """Not even all layers together explain it."""
    return (
        f"the layers are not what loses the {amounts.whole}: all put back recover only "
        f"{amounts.of(trial.recovered, trial.interval)}. Look at what the candidate's file does beside them: how its "
        "inputs are prepared, the order of its outputs, layers that were fused or left out."
    )


def of_unexplained(amounts: Amounts, best: str, reason: str) -> str:
    """Nothing that was tried explains it."""
    return f"nothing that was tried explains the {amounts.whole}: {best}{f' ({reason})' if reason else ''}."
