"""Scores in records and goldens: compact, exact where they are whole, and refused where they contradict themselves."""

import base64
import zlib

import numpy as np
import pytest

from quantbench.records.parts import Accuracy
from quantbench.records.scores import Score, pack_scores, rounded, unpack_scores

RANDOM = np.random.default_rng(0)
SCORES = RANDOM.uniform(size=50)
SCORE = {
    "task": "mae", "unit": "K", "higher_is_better": False, "n": 50, "reference": 0.3, "candidate": 0.4, "drop": 0.1,
    "interval": (0.05, 0.15), "strict": (0.0, 0.2), "candidate_interval": (0.3, 0.5), "candidate_strict": None,
    "level": 0.95, "strict_level": 0.99, "method": "studentized bootstrap", "changed": 50, "detectable": 0.07,
    "reference_scores": pack_scores(SCORES), "candidate_scores": pack_scores(SCORES + 0.1),
}  # fmt: skip


def packed(kinds, content):
    return f"{kinds}:{base64.b64encode(zlib.compress(content)).decode()}"


def test_scores_keep_seven_digits_and_whole_numbers_all_of_theirs():
    assert unpack_scores(pack_scores(SCORES), 50)[:, 0] == pytest.approx(SCORES, rel=1e-7)
    assert rounded(rounded(SCORES)).tolist() == rounded(SCORES).tolist()
    whole = np.stack([RANDOM.integers(0, limit, 50) for limit in (200, 60_000, 4_000_000_000)], axis=1).astype(float)
    assert pack_scores(whole).startswith("u1,u2,u4:")
    assert unpack_scores(pack_scores(whole), 50).tolist() == whole.tolist()


def test_statistics_keep_every_digit_since_a_figure_may_be_a_small_difference():
    rows = np.stack([1e6 + SCORES, np.ones(50)], axis=1)
    assert pack_scores(rows).startswith("f8,u1:")
    assert unpack_scores(pack_scores(rows), 50).tolist() == rows.tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with ''"),
        ("i8:AAAA", "begins with 'i8:AAAA'"),
        ("f4:AAAA", "not base64 of compressed bytes"),
        ("f4:é", "not base64 of compressed bytes"),
        (packed("f4", bytes(199)), "does not hold 1 numbers for each of 50 samples"),
        (packed("f4", bytes(1 << 20)), "does not hold 1 numbers for each of 50 samples"),
        (packed("f4", np.full(50, np.nan, "<f4").tobytes()), "holds NaN or infinity"),
    ],
)
def test_what_are_no_scores_of_so_many_samples_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        unpack_scores(text, 50)


def test_a_sound_record_says_nothing_impossible():
    assert Score(**SCORE).impossible() is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"drop": -0.1}, "a drop of -0.1 from 0.3 to 0.4"),
        ({"interval": (0.11, 0.15)}, "an interval (0.11, 0.15) that does not hold its estimate 0.1"),
        ({"candidate_interval": (0.5, 0.6)}, "that does not hold its estimate 0.4"),
        ({"strict_level": 0.9}, "at level 0.95 and 0.9"),
        ({"changed": 51}, "51 of 50 samples changed"),
        ({"detectable": -1.0}, "a detectable drop of -1.0"),
        ({"candidate_scores": "f4:AAAA"}, "scores that cannot be read"),
        ({"reference": float("inf")}, "figures inf and 0.4"),
    ],
)
def test_a_record_that_contradicts_itself_is_told(change, words):
    assert words in Score(**{**SCORE, **change}).impossible()


def test_the_least_drop_beside_an_accuracy_is_the_one_of_its_counts():
    from quantbench.experiment.accuracy import paired_accuracy
    from quantbench.measure.evaluation import Evaluation

    before, after = (Evaluation((RANDOM.random(200) < 0.9).astype(float), None) for _ in range(2))
    found = paired_accuracy(before, after)
    assert found.impossible() is None
    older = Accuracy(**{key: value for key, value in found.model_dump().items() if key != "detectable_pp"})
    assert (older.detectable_pp, older.impossible()) == (None, None)
    wrong = found.model_copy(update={"detectable_pp": 2 * found.detectable_pp})
    assert "which is not the one of lost" in wrong.impossible()
