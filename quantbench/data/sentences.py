"""The embedded text: sentences of a small grammar, made on this machine, the same tokens everywhere, no download."""

from __future__ import annotations

import hashlib

import numpy as np

from quantbench.data.sentences_grammar import spoken
from quantbench.data.source import IDENTITY, Arrays, Decoded, Progress, Source
from quantbench.errors import DataError

SIDES = {"train": (0, 12_000), "test": (1, 500)}
EXPECTED_SHA256 = {
    "train": "510cd882c47db5d936abdff397ed5cbcec4ae6bac4e38ba25b37a20e866ae6d9",
    "test": "70f1d8d80a142c14b2f2b20c995994a8e4cd32ec08f4f5a7a9f9597029fa89df",
}


class SentencesSource(Source):
    """12,000 training and 500 test samples of 64 tokens, whose targets are the tokens that come next."""

    normalization = IDENTITY

    def fingerprint(self) -> str:
        """The digests that the tokens must have."""
        return f"sentences:{EXPECTED_SHA256['train']}:{EXPECTED_SHA256['test']}"

    def decode(self, progress: Progress) -> Decoded:
        """Makes both sides and checks their digests."""
        sides = {}
        for done, (side, (stream, n)) in enumerate(SIDES.items()):
            progress(done, len(SIDES))
            tokens = spoken(n, stream)
            found = hashlib.sha256(tokens.astype("<i8").tobytes()).hexdigest()
            if found != EXPECTED_SHA256[side]:
                raise DataError(
                    f"sentences: the {side} side has sha256 {found[:16]}…, expected {EXPECTED_SHA256[side][:16]}…: "
                    f"this machine or numpy {np.__version__} computes integers differently; please report it"
                )
            sides[side] = Arrays(np.ascontiguousarray(tokens[:, :-1]), np.ascontiguousarray(tokens[:, 1:]))
        return Decoded(sides["train"], sides["test"], ())


def sentences() -> SentencesSource:
    """The embedded sentences, for models that predict the next token.

    Example:
        >>> sentences().fingerprint().partition(":")[0]
        'sentences'
    """
    return SentencesSource()
