"""Task `cer`: the character error rate of transcripts."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.recipes.function import ImportPath
from quantbench.tasks.transcripts import Transcripts


class CharacterErrorRate(Transcripts):
    """Speech and text: least number of characters to insert, delete and replace / characters that were said.

    Both are summed over all samples.

    Example:
        >>> import numpy as np
        >>> round(float(CharacterErrorRate(None, None).of_sums(np.array([2.0, 8.0]))), 2)
        0.25
    """

    name = "cer"
    unit = "character error rate"

    def units(self, text: str) -> Sequence[str]:
        """See `Transcripts.units`."""
        return text


def cer(decode: ImportPath | None = None, decode_targets: ImportPath | None = None) -> CharacterErrorRate:
    """The character error rate of transcripts.

    Args:
        decode: `your.module:function`, output `[n, …]` → n texts, imported when the experiment runs.
        decode_targets: the same of the targets; not needed where these are texts.

    Example:
        >>> cer("my_pkg.text:decode").unit
        'character error rate'
    """
    return CharacterErrorRate(decode, decode_targets)
