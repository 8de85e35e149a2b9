"""Errors that end with one line a user can act on: what, where, what is allowed, what to do."""


class QuantbenchError(Exception):
    """Base of every error that quantbench raises on purpose; its text is shown without a traceback.

    Example:
        >>> try:
        ...     raise ConfigError("a.yaml: workload.model.name: unknown model 'resnt18'. Did you mean 'resnet18'?")
        ... except QuantbenchError as error:
        ...     print(error)
        a.yaml: workload.model.name: unknown model 'resnt18'. Did you mean 'resnet18'?
    """


def named(experiment: str, text: object) -> str:
    """A line about an experiment, which begins with its id once.

    Example:
        >>> named("a/b", "no scale"), named("a/b", "a/b: no scale")
        ('a/b: no scale', 'a/b: no scale')
    """
    start = f"{experiment}: "
    return f"{start}{str(text).removeprefix(start)}"


class ConfigError(QuantbenchError):
    """A workload file, an option or a registered name is wrong."""


class DataError(QuantbenchError):
    """A data set is absent, empty, damaged or not what the workload says it is."""


class DataMissingError(DataError):
    """The data is simply not on this machine; the text says how to get it.

    Args:
        text: the message.
        is_offered: an option or a package of ours gets the data; otherwise it is the user's own.
    """

    def __init__(self, text: str, is_offered: bool = False) -> None:
        super().__init__(text)
        self.is_offered = is_offered


class CacheError(QuantbenchError):
    """A result cannot be kept on this machine."""


class ExtraMissingError(QuantbenchError):
    """An optional library is not installed; the text says which extra brings it."""


class BaselineError(QuantbenchError):
    """A baseline checkpoint or its card is missing, damaged or belongs to something else."""


class CheckpointError(QuantbenchError):
    """A checkpoint file cannot be read safely or does not fit the model."""


class GoldenError(QuantbenchError):
    """An accepted result is damaged, was edited by hand, or may not be replaced."""


class QuantizationError(QuantbenchError):
    """A model cannot be prepared, calibrated or converted as the recipe asks."""


class SampleError(QuantizationError):
    """A sample with which a model gives values that are not finite.

    Args:
        text: without the sample.
        sample: its position among those that were shown.
        in_rehearsal: those of the rehearsal were shown, not those of the calibration.
    """

    def __init__(self, text: str, sample: int, in_rehearsal: bool = False) -> None:
        super().__init__(f"sample {sample} (counted from 0): {text}")
        self.text, self.sample, self.in_rehearsal = text, sample, in_rehearsal


class TrainingError(QuantbenchError):
    """A training diverged or cannot be continued."""


class EvaluationError(QuantbenchError):
    """A model's outputs cannot be judged, for example because they are not finite."""


class MeasurementError(QuantbenchError):
    """A quantity could not be measured on this machine."""


class NoEvidenceError(MeasurementError):
    """Nothing here tells a quantity: whatever asks for it is INCONCLUSIVE."""


class ForeignError(QuantbenchError):
    """Code of a user or of a library raised something, which is kept as `__cause__`; see `quantbench.foreign`."""


class LibraryMissingError(ForeignError, ExtraMissingError):
    """Code that was called imports an optional library that is not installed; the text says which extra brings it."""


class StatisticsError(QuantbenchError, ValueError):
    """A statistic was asked for data that it is not defined on."""


class SharedLayerWarning(UserWarning):
    """A layer runs more than once in a forward, with one scale for all its results, which are alike."""


class FormLeftOutWarning(UserWarning):
    """A form of an fp32 model that does not run, or computes something else, and is not timed."""


class OldWordWarning(FutureWarning):
    """A file of the user's says something in a word that has a new one; it is read all the same."""
