"""The documentation of scipy.stats as samples: the text that the committed weights were trained on, or a refusal."""

import numpy as np
import pytest

from quantbench.data import docstrings
from quantbench.data.docstrings import CHARACTERS, LENGTH
from quantbench.errors import DataError, DataMissingError

TEXT = "A paragraph that is long enough for more than one sample of 65 characters, and says nothing at all."


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Sixteen documented functions in the place of the library's, their text known by its digests."""
    folder = tmp_path / "stats"
    (folder / "tests").mkdir(parents=True)
    (folder / "tests" / "test_a.py").write_text('"""Of no interest."""')
    functions = [f'def f{i}():\n    """{i:02d} {TEXT * 3}\n\n    {TEXT}\n    """' for i in range(16)]
    (folder / "a.py").write_text("\n\n\n".join(functions), "utf-8")
    monkeypatch.setattr(docstrings, "_folder", lambda: folder)
    return folder


@pytest.fixture
def any_text(monkeypatch):
    """Lets every text be the expected one."""
    monkeypatch.setattr(docstrings, "digest_of", lambda *_: "same")
    monkeypatch.setattr(docstrings, "EXPECTED_SHA256", {"train": "same", "test": "same"})


def test_each_docstring_is_a_group_on_one_side_and_targets_are_the_next_characters(library, any_text):
    decoded = docstrings.docstrings().decode(lambda *_: None)
    np.testing.assert_array_equal(decoded.test.inputs[:, 1:], decoded.test.labels[:, :-1])
    assert (set(decoded.test.groups), set(decoded.train.groups)) == ({7, 15}, set(range(16)) - {7, 15})
    assert decoded.train.inputs.shape[1] == LENGTH - 1
    first = "".join(CHARACTERS[token] for token in decoded.train.inputs[0])
    assert first == f"00 {TEXT}"[: LENGTH - 1]


def test_no_sample_and_no_paragraph_is_there_twice(library, any_text):
    decoded = docstrings.docstrings().decode(lambda *_: None)
    rows = [row.tobytes() for side in (decoded.train, decoded.test) for row in side.inputs]
    assert len(set(rows)) == len(rows)


def test_another_text_than_that_of_the_trained_model_is_refused_with_the_command_that_gets_it(library):
    with pytest.raises(DataError, match=r"docstrings: the train side has sha256 .* scipy==1\.17\.1 --force"):
        docstrings.docstrings().decode(lambda *_: None)


def test_another_version_of_the_library_is_told_before_a_file_is_read(monkeypatch):
    monkeypatch.setattr(docstrings, "version_of", lambda _: "1.16.0")
    with pytest.raises(DataMissingError, match=r"of scipy 1\.17\.1, and 1\.16\.0 is installed; .* scipy==1"):
        docstrings.docstrings().fingerprint()


def test_a_file_that_is_no_python_is_named(library):
    (library / "b.py").write_text("def (")
    with pytest.raises(DataError, match=r"b\.py: cannot be read .* To get it anew: pip install"):
        docstrings.docstrings().decode(lambda *_: None)


def test_paragraphs_with_characters_beyond_ascii_are_left_out():
    assert list(docstrings.without_repeats(["naïve\n\nplain", "plain\n\nother"])) == ["plain", "other"]
