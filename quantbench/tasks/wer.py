"""Task `wer`: the word error rate of transcripts."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.recipes.function import ImportPath
from quantbench.tasks.transcripts import Transcripts


class WordErrorRate(Transcripts):
    """Speech and text: least number of words to insert, delete and replace / words that were said.

    Words stand between white space. Both are summed over all samples.

    Example:
        >>> import numpy as np
        >>> round(float(WordErrorRate(None, None).of_sums(np.array([2.0, 8.0]))), 2)
        0.25
    """

    name = "wer"
    unit = "word error rate"

    def units(self, text: str) -> Sequence[str]:
        """See `Transcripts.units`."""
        return text.split()


def wer(decode: ImportPath | None = None, decode_targets: ImportPath | None = None) -> WordErrorRate:
    """The word error rate of transcripts.

    Args:
        decode: `your.module:function`, output `[n, …]` → n texts, imported when the experiment runs.
        decode_targets: the same of the targets; not needed where these are texts.

    Example:
        >>> wer("my_pkg.text:decode").unit
        'word error rate'
    """
    return WordErrorRate(decode, decode_targets)
