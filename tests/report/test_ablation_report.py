"""The table of an ablation: every figure with its interval, the ranking in words, and what the intervals leave out."""

import json

import pytest

from quantbench.errors import ConfigError
from quantbench.records.ablation import AblationRecord, PairRecord, RowRecord, TrainedRow, read_trained
from quantbench.records.base import Environment, pack_bits
from quantbench.report.ablation import ablation_markdown, ablation_text, cells, ranking_sentences, write_ablation

KEY = "a" * 32
HISTORY = [
    {"loss": 1.0, "accuracy": 0.6, "lr": 0.1, "seconds": 2.0, "validation_loss": 0.9, "validation_accuracy": 0.7},
    {"loss": 0.5, "accuracy": 0.8, "lr": 0.1, "seconds": 2.0, "validation_loss": 1.0, "validation_accuracy": 0.65},
]


def trained(**changes):
    import numpy as np

    environment = Environment(
        processor="Example CPU", architecture="x86_64", isa=(), cores=2, system="Linux", python="3.12",
        versions={"torch": "2.14.1"},
    )  # fmt: skip
    row = TrainedRow(
        key=KEY, training={"epochs": 2, "seed": 0}, n_train=500, n_validation=200, n_test=10,
        correct=pack_bits(np.arange(10) < 9), loss=0.5, history=HISTORY, best_epoch=1, duration_s=4.0, threads=1,
        environment=environment,
    )  # fmt: skip
    return row.model_copy(update=changes)


def row(name, accuracy, **changes):
    made = RowRecord(
        name=name, changes={}, published=None, trained=trained(), accuracy=accuracy,
        accuracy_interval=(accuracy - 0.01, accuracy + 0.01), validation_accuracy=0.7, validation_interval=(0.6, 0.8),
    )  # fmt: skip
    return made.model_copy(update=changes)


PAIRS = [
    PairRecord(upper="a", lower="b", difference_pp=2.0, interval_pp=(1.0, 3.0), separated=True),
    PairRecord(upper="b", lower="c", difference_pp=0.1, interval_pp=(-1.0, 1.2), separated=False),
    PairRecord(upper="c", lower="d", difference_pp=-2.0, interval_pp=(-3.0, -1.0), separated=True),
]


@pytest.fixture
def record():
    return AblationRecord(
        name="three", workload="tiny", published="accuracy of another network, %", data_name="shapes",
        data_note="drawn", data_sha256={}, level=0.95, command="quantbench ablate three",
        ranked_by="published", pairs=PAIRS, tau=1 / 3, p_value=0.75, n_ranked=4,
        rows=[
            row("a", 0.9, published=92.8),
            row("b", 0.88, changes={"lr": 0.01, "schedule": "step", "step_epochs": [20]},
                difference_pp=-2.0, difference_interval_pp=(-3.0, -1.0)),
            row("c", 0.93),
            RowRecord(name="d", changes={"lr": 9.0}, published=86.5, failed="the loss is nan at epoch 1, step 3 of 9"),
        ],
    )  # fmt: skip


def test_a_row_shows_what_it_changes_its_accuracies_with_intervals_and_the_published_figure(record):
    assert cells(record.rows[0]) == (
        "a", "–", "90.00 [89.00, 91.00]", "–", "70.00 [60.00, 80.00], epoch 1 of 2", "92.8",
    )  # fmt: skip
    assert cells(record.rows[1])[1] == "lr 0.01, schedule step, step_epochs [20]"
    assert cells(record.rows[1])[3] == "-2.00 [-3.00, -1.00]"


def test_a_row_without_validation_or_result_has_dashes(record):
    plain = row("a", 0.9, validation_accuracy=None, validation_interval=None)
    assert cells(plain)[4] == "–"
    assert cells(record.rows[3]) == ("d", "lr 9.0", "failed", "–", "–", "86.5")


def test_the_ranking_is_told_in_words_with_tau_its_n_and_the_pairs_that_are_told_apart(record):
    ours, tau, pairs = ranking_sentences(record)
    assert ours == "By test accuracy: c > a > b."
    assert "Kendall's tau-b = +0.33 (n = 4 rows; a tau as far from 0 would come about with probability 0.750" in tau
    assert pairs == (
        "Neighbours in the published ranking that their intervals separate (95 % for all of them together): 2 of 3. "
        "a over b +2.00 [+1.00, +3.00] pp, separated; b over c +0.10 [-1.00, +1.20] pp, not separated; "
        "c over d -2.00 [-3.00, -1.00] pp, separated, the other way round."
    )


def test_without_published_figures_the_pairs_are_of_our_own_ranking_and_there_is_no_tau(record):
    own = record.model_copy(update={"tau": None, "p_value": None, "n_ranked": 0, "ranked_by": "measured"})
    sentences = ranking_sentences(own)
    assert len(sentences) == 2
    assert "Neighbours in this ranking that" in sentences[1]


def test_a_ranking_in_which_all_are_equal_has_no_tau_and_says_so(record):
    equal = record.model_copy(update={"tau": None, "p_value": None})
    assert ranking_sentences(equal)[1] == "Against the published ranking: no tau, since one of the two ranks nothing."


def test_one_result_is_no_ranking(record):
    alone = record.model_copy(update={"rows": record.rows[2:], "pairs": []})
    assert ranking_sentences(alone) == ["Fewer than two rows have a result: there is nothing to rank."]


def test_the_terminal_shows_table_sentences_reasons_and_circumstances(record):
    text = ablation_text(record)
    lines = text.splitlines()
    assert lines[0].split()[:2] == ["row", "changes"]
    assert "over a, pp [95 %]" in lines[0]
    assert "d: failed: the loss is nan at epoch 1, step 3 of 9" in lines
    assert (
        "a, b, c: 500 training, 200 validation and 10 test samples, 2 epoch(s), seed 0; Example CPU, 1 thread(s), "
        "torch 2.14.1" in lines
    )
    assert "workload tiny (drawn); `quantbench ablate three`" in lines
    assert "published: accuracy of another network, %" in lines
    assert "training took 4 s (a), 4 s (b), 4 s (c)" in lines
    assert lines[-1].startswith("each row was trained once: the intervals say what other test samples would")


def test_rows_of_different_circumstances_are_told_apart(record):
    gpu = trained().environment.model_copy(update={"accelerator": "Example GPU"})
    rows = [record.rows[0], row("b", 0.88, trained=trained(environment=gpu, amp="bf16 here"))]
    text = ablation_text(record.model_copy(update={"rows": rows}))
    assert "\na: 500 training" in text
    assert "\nb: 500 training" in text
    assert "Example GPU, 1 thread(s), torch 2.14.1; bf16 here" in text


def test_the_document_has_the_table_the_picture_and_a_sentence_on_over_fitting_for_each_row(record):
    document = ablation_markdown(record, "ablation_three.png")
    assert "| row | changes | test accuracy % [95 %] |" in document
    assert "| d | lr 9.0 | failed | – | – | 86.5 |" in document
    assert "![Loss and accuracy of each row, epoch by epoch](ablation_three.png)" in document
    assert document.count("The validation loss was lowest at epoch 1") == 3


def test_record_document_and_picture_are_written_and_the_record_can_be_read_again(record, tmp_path):
    paths = write_ablation(record, tmp_path / "out")
    assert [path.name for path in paths] == [f"ablation_three.{suffix}" for suffix in ("json", "md", "png", "svg")]
    assert all(path.stat().st_size for path in paths)
    assert AblationRecord.model_validate_json(paths[0].read_text()) == record


def test_without_any_trained_row_there_is_no_picture(record, tmp_path):
    failed = record.model_copy(update={"rows": record.rows[3:] * 2, "pairs": []})
    assert [path.suffix for path in write_ablation(failed, tmp_path)] == [".json", ".md"]
    assert "![" not in (tmp_path / "ablation_three.md").read_text()


def test_a_kept_training_is_read_again(tmp_path):
    (tmp_path / "a.json").write_text(trained().model_dump_json())
    assert read_trained(tmp_path / "a.json", KEY) == trained()


DAMAGES = {
    "cut short": lambda text: text[:-20],
    "of another key": lambda text: text.replace(KEY, "b" * 32),
    "fewer bits than samples": lambda text: text.replace('"n_test":10', '"n_test":99'),
    "bits that are none": lambda text: text.replace(json.loads(text)["correct"], "%"),
    "no history": lambda text: json.dumps(json.loads(text) | {"history": []}),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_training_is_refused_with_what_happens_next(tmp_path, damage):
    text = trained().model_dump_json()
    assert damage(text) != text
    (tmp_path / "a.json").write_text(damage(text))
    with pytest.raises(ConfigError, match=r"a\.json: [^\0]*it is trained again$"):
        read_trained(tmp_path / "a.json", KEY)
