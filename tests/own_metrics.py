"""Metrics and decoders as users write them, named by workload files of tests."""

import numpy as np

LETTERS = np.array(list(" abc"))


def absolute(outputs, targets):
    """Scores of samples."""
    return np.abs(outputs - targets).mean(axis=1)


def in_place(outputs, targets):
    """Scores in another unit, written into what was given."""
    outputs *= 2
    targets *= 2
    return np.abs(outputs - targets).mean(axis=1)


def squares_in_place(outputs, targets):
    """Statistics of samples, likewise."""
    outputs -= targets
    return (outputs**2).mean(axis=1, keepdims=True)


def root_in_place(statistics):
    """A figure of them, likewise."""
    statistics *= 4
    return float(np.sqrt(statistics.mean()))


def worst(outputs, targets):
    """A figure that is no mean of samples."""
    return float(np.abs(outputs - targets).max())


def squares(outputs, targets):
    """Statistics of samples."""
    return ((outputs - targets) ** 2).mean(axis=1, keepdims=True)


def root(statistics):
    """A figure of them."""
    return float(np.sqrt(statistics.mean()))


def of_the_batch(outputs, targets):
    """Scores that depend on the other samples of the batch."""
    return absolute(outputs, targets) - absolute(outputs, targets).mean()


def nan(outputs, targets):
    """Scores with one that is no number."""
    return np.where(np.arange(len(targets)) == 3, np.nan, 0.0)


def masked(outputs, targets):
    """Scores that hide every other sample."""
    return np.ma.masked_array(absolute(outputs, targets), mask=np.arange(len(targets)) % 2)


def one_more(outputs, targets):
    """Scores of other samples."""
    return np.zeros(len(targets) + 1)


def no_figure(outputs, targets):
    """A figure that is no number."""
    return float("nan")


def raising(outputs, targets):
    """No figure at all."""
    raise KeyError("logits")


def letters(array):
    """Codes of 0 to 3, `[n, places]`, as texts."""
    return ["".join(LETTERS[row.astype(int)]).strip() for row in array]


def too_few_letters(array):
    """Texts of other samples."""
    return letters(array)[1:]


def closeness(outputs, targets):
    """Scores from 0 to 1, of which more is better."""
    return 1 - np.minimum(np.abs(outputs - targets).mean(axis=1), 1)
