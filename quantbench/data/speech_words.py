"""The 35 words of Speech Commands v0.02 (Warden 2018, arXiv:1804.03209), recorded there, synthesized here."""

from __future__ import annotations

from quantbench.registry import unknown_name

WORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy",
    "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six", "stop",
    "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)  # fmt: skip


def check_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words in alphabetical order, which is the order of the classes.

    Raises:
        ValueError: for a word that is not one of the 35, a word given twice, or fewer than two.
    """
    for word in words:
        if word not in WORDS:
            raise ValueError(unknown_name("word", word, list(WORDS)))
    if twice := {word for word in words if words.count(word) > 1}:
        raise ValueError(f"words: '{min(twice)}' is given twice")
    if len(words) < 2:
        raise ValueError(f"words: {len(words)} given; a classification data set needs at least two")
    return tuple(sorted(words))
