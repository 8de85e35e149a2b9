"""A real text: the documentation of scipy.stats, read from the docstrings of the installed scipy; no download.

scipy is installed wherever this package is, and a version's source files are the same bytes on every system and for
every Python. Nothing of the text is part of this package.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantbench.data.source import IDENTITY, Arrays, Decoded, Progress, Source
from quantbench.errors import DataError, DataMissingError
from quantbench.extras import version_of

LIBRARY, VERSION, FOLDER = "scipy", "1.17.1", "stats"
OBTAIN = f"pip install {LIBRARY}=={VERSION}"
# A token for each printable character of ASCII, and one for the end of a line.
CHARACTERS = "\n" + "".join(map(chr, range(0x20, 0x7F)))
TOKEN = {character: token for token, character in enumerate(CHARACTERS)}
# Of one sample: inputs are all but the last, targets all but the first.
LENGTH = 65
# One docstring of so many is for tests.
TEST_EVERY = 8
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
EXPECTED_SHA256 = {
    "train": "19d2c5f4c399bb31000e12025a7dfc9fc467941dd05fd9e17ad55c7bfc336b5d",
    "test": "746a4433480f2d1b0804d8319737238140f53ee3547d846be657c19bfa5866d4",
}


class DocstringsSource(Source):
    """Samples of 64 characters, whose targets are the characters that come next; each docstring is a group.

    A paragraph that stands in several docstrings belongs to the first, so that no side knows one of the other's.
    """

    normalization = IDENTITY
    obtain = OBTAIN

    def fingerprint(self) -> str:
        """The digests that the tokens must have."""
        if (found := version_of(LIBRARY)) != VERSION:
            raise DataMissingError(
                f"docstrings: the text is the documentation of {LIBRARY} {VERSION}, and {found} is installed; "
                f"another version has another text. To get it: {OBTAIN}",
                is_offered=True,
            )
        return f"docstrings:{EXPECTED_SHA256['train']}:{EXPECTED_SHA256['test']}"

    def decode(self, progress: Progress) -> Decoded:
        """Reads both sides and checks their digests.

        Raises:
            DataError: if the installed files hold another text.
        """
        root = _folder()
        files = sorted(path for path in root.rglob("*.py") if "tests" not in path.relative_to(root).parts)
        sides: dict[str, list[tuple[int, NDArray[np.int64]]]] = {"train": [], "test": []}
        # Paragraphs of other words may begin alike.
        seen: set[bytes] = set()
        for number, text in enumerate(without_repeats(_documents(files, progress))):
            samples = samples_of(text)
            rows = [row[:-1].tobytes() for row in samples]
            is_new = [row not in seen and row not in rows[:at] for at, row in enumerate(rows)]
            seen.update(rows)
            side = "test" if number % TEST_EVERY == TEST_EVERY - 1 else "train"
            sides[side].append((number, samples[np.array(is_new, bool)]))
        return Decoded(_checked("train", sides["train"]), _checked("test", sides["test"]), ())


def _folder() -> Path:
    found = importlib.util.find_spec(LIBRARY)
    places = list(found.submodule_search_locations or ()) if found else []
    return Path(places[0]) / FOLDER if places else Path(FOLDER)


def _documents(files: list[Path], progress: Progress) -> Iterator[str]:
    """Docstrings, in the order of files and lines."""
    for done, path in enumerate(files):
        progress(done, len(files))
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"docstrings: {path}: cannot be read ({error}). To get it anew: {OBTAIN}") from None
        places = [node for node in ast.walk(tree) if isinstance(node, DOCUMENTED)]
        for node in sorted(places, key=lambda node: getattr(node, "lineno", 0)):
            if text := ast.get_docstring(node):
                yield text


def without_repeats(documents: Iterable[str]) -> Iterator[str]:
    """The documents, without paragraphs that stood before or are not of ASCII.

    Example:
        >>> list(without_repeats(["One.\\n\\nTwo.", "Two.\\n\\nThree."]))
        ['One.\\n\\nTwo.', 'Three.']
    """
    seen: set[str] = set()
    for document in documents:
        own = []
        for part in document.split("\n\n"):
            paragraph = part.strip("\n")
            if paragraph.strip() not in seen and TOKEN.keys() >= set(paragraph):
                own.append(paragraph)
            seen.add(paragraph.strip())
        yield "\n\n".join(own)


def samples_of(text: str) -> NDArray[np.int64]:
    """A text in samples of `LENGTH` characters, `[n, LENGTH]` tokens; what is left at its end is dropped.

    Example:
        >>> samples_of("a" * 140).shape
        (2, 65)
    """
    n = len(text) // LENGTH
    tokens = np.fromiter((TOKEN[each] for each in text[: n * LENGTH]), np.int64, n * LENGTH)
    return tokens.reshape(n, LENGTH)


def _checked(side: str, parts: list[tuple[int, NDArray[np.int64]]]) -> Arrays:
    tokens = np.concatenate([each for _, each in parts]) if parts else np.empty((0, LENGTH), np.int64)
    groups = np.concatenate([np.full(len(each), number) for number, each in parts]) if parts else np.empty(0, np.int64)
    if (found := digest_of(tokens, groups)) != EXPECTED_SHA256[side]:
        raise DataError(
            f"docstrings: the {side} side has sha256 {found[:16]}…, expected {EXPECTED_SHA256[side][:16]}…: the files "
            f"of {LIBRARY} {VERSION} on this machine are not those of its release. To get them anew: {OBTAIN} "
            "--force-reinstall"
        )
    return Arrays(np.ascontiguousarray(tokens[:, :-1]), np.ascontiguousarray(tokens[:, 1:]), groups)


def digest_of(tokens: NDArray[np.int64], groups: NDArray[np.int64]) -> str:
    """Hash of one side."""
    return hashlib.sha256(tokens.astype("<i8").tobytes() + groups.astype("<i8").tobytes()).hexdigest()


def docstrings() -> DocstringsSource:
    """The documentation of scipy.stats, character by character, for models that predict the next one.

    Example:
        >>> docstrings().obtain
        'pip install scipy==1.17.1'
    """
    return DocstringsSource()
