"""Sentences of a small grammar, token by token the same on every machine.

Verbs agree with the number of their subject across whatever stands between, pronouns with the gender of the last name,
quotation marks close, and each verb takes objects of its own kind: what a token is can depend on one far before it.
Within a kind words are drawn with the product of two uniform numbers, so that some are common and most are rare.

Only integers are drawn, from raw PCG64 words: no numpy ``Generator`` method, whose stream may change between versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# Tokens of one sample: inputs are all but the last, targets all but the first.
LENGTH = 65
# Random words that a sample may use; sentences stop where they are used up, which takes many times those of a sample.
WORDS = 1_024
SALT = 0x544B
# Clauses and relative clauses within each other.
DEEPEST = 2

DETERMINERS = {False: ("a", "this", "every"), True: ("some", "these", "all", "many")}
BOTH = ("the",)
# Kind → nouns; the plural has its own token.
NOUNS = {
    "animal": ("cat", "dog", "horse", "hawk", "fox", "bear", "hen"),
    "person": ("girl", "boy", "teacher", "farmer", "baker", "doctor", "king"),
    "food": ("plum", "cake", "pear", "nut", "bean", "roll"),
    "place": ("house", "garden", "river", "tower", "road", "hill"),
    "thing": ("book", "letter", "stone", "lamp", "coat", "map", "key"),
}
# Kind of the subject → verbs with the kind of what they take; none takes nothing.
VERBS = {
    "animal": (("eat", "food"), ("chase", "animal"), ("follow", "person"), ("sleep", None), ("run", None)),
    "person": (
        ("read", "thing"), ("hold", "thing"), ("cook", "food"), ("visit", "place"), ("greet", "person"),
        ("feed", "animal"), ("laugh", None), ("sing", None),
    ),
    "food": (("fall", None), ("rot", None), ("please", "person")),
    "place": (("surround", "place"), ("hide", "thing"), ("shelter", "animal"), ("flood", None)),
    "thing": (("break", None), ("belong", None), ("bother", "person")),
}  # fmt: skip
NAMES = {"she": ("anna", "clara", "emma"), "he": ("ben", "david", "frank")}
ADJECTIVES = ("tall", "young", "red", "small", "large", "quiet", "strange", "green")
ADVERBS = ("often", "slowly", "never", "today", "again")
PREPOSITIONS = ("in", "near", "behind", "above")
JOINS = ("and", "but", "because", "while")
MARKS = (".", ",", '"', "that", "say", "says", "she", "he")
KINDS = tuple(NOUNS)


def _vocabulary() -> tuple[str, ...]:
    nouns = [form for group in NOUNS.values() for noun in group for form in (noun, f"{noun}s")]
    verbs = [form for group in VERBS.values() for verb, _ in group for form in (verb, f"{verb}s")]
    closed = (*MARKS, *BOTH, *DETERMINERS[False], *DETERMINERS[True], *ADJECTIVES, *ADVERBS, *PREPOSITIONS, *JOINS)
    return tuple(dict.fromkeys((*closed, *(name for group in NAMES.values() for name in group), *nouns, *verbs)))


VOCABULARY = _vocabulary()
"""Token → its word."""
NUMBER = {word: number for number, word in enumerate(VOCABULARY)}


class _Speaker:
    """Speaks sentences of one sample.

    Args:
        seed: of the sample.
    """

    def __init__(self, seed: int) -> None:
        self._words: Iterator[int] = iter((np.random.PCG64(seed).random_raw(WORDS) >> np.uint64(32)).tolist())
        self._pronoun: str | None = None

    def _below(self, n: int) -> int:
        return next(self._words) * n >> 32

    def _one(self, choices: Sequence[str]) -> str:
        """A rare or a common one: the product of two uniform numbers is small more often than large."""
        return choices[next(self._words) * next(self._words) * len(choices) >> 64]

    def _chance(self, percent: int) -> bool:
        return self._below(100) < percent

    def sentences(self) -> Iterator[str]:
        """Words without end."""
        while True:
            yield from self._clause(0)
            if self._chance(30):
                yield from (",", self._one(JOINS))
                yield from self._clause(1)
            yield "."

    def _clause(self, depth: int) -> Iterator[str]:
        if self._pronoun is not None and self._chance(40):
            yield self._pronoun
            kind, is_plural = "person", False
        elif self._chance(25):
            self._pronoun = "she" if self._chance(50) else "he"
            yield self._one(NAMES[self._pronoun])
            kind, is_plural = "person", False
        else:
            kind, is_plural = KINDS[self._below(len(KINDS))], self._chance(40)
            yield from self._noun_phrase(kind, is_plural, depth)
        if kind == "person" and depth < DEEPEST and self._chance(15):
            yield from ("say" if is_plural else "says", '"')
            yield from self._clause(depth + 1)
            yield '"'
        else:
            yield from self._verb_phrase(kind, is_plural, depth)

    def _noun_phrase(self, kind: str, is_plural: bool, depth: int) -> Iterator[str]:
        yield self._one((*BOTH, *DETERMINERS[is_plural]))
        if self._chance(30):
            yield self._one(ADJECTIVES)
        noun = self._one(NOUNS[kind])
        yield f"{noun}s" if is_plural else noun
        if depth < DEEPEST and self._chance(20):
            yield self._one(PREPOSITIONS)
            yield from self._noun_phrase("place", self._chance(40), depth + 1)
        elif depth < DEEPEST and self._chance(15):
            yield "that"
            yield from self._verb_phrase(kind, is_plural, depth + 1)

    def _verb_phrase(self, kind: str, is_plural: bool, depth: int) -> Iterator[str]:
        verb = self._one([verb for verb, _ in VERBS[kind]])
        taken = dict(VERBS[kind])[verb]
        yield verb if is_plural else f"{verb}s"
        if taken is not None:
            yield from self._noun_phrase(taken, self._chance(40), depth + 1)
        elif self._chance(40):
            yield self._one(ADVERBS)


def spoken(n: int, stream: int) -> NDArray[np.int64]:
    """Samples, each of sentences of its own.

    Args:
        n: number of them.
        stream: two streams share no sample but by chance.

    Returns:
        `[n, LENGTH]` int64, tokens.
    """
    samples = np.empty((n, LENGTH), np.int64)
    for at in range(n):
        words = _Speaker(SALT << 40 | stream << 32 | at).sentences()
        samples[at] = [NUMBER[next(words)] for _ in range(LENGTH)]
    return samples
