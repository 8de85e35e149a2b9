"""`quantbench blame` of experiments by recipe, as a user types it, and how its record is shown."""

import json

import pytest

from quantbench.blame.budget import Budget
from quantbench.blame.causes.interface import Cause
from quantbench.blame.sentence import Amounts, of_elsewhere, of_layers, of_spread, of_too_little, of_unexplained
from quantbench.errors import ConfigError
from quantbench.records.blame import Trial, read_blames

AMOUNTS = Amounts("pp", 6.2, (5.0, 7.5))
TRIAL = Trial(layers=["conv1"], n=1000, recovered=5.9, interval=(4.8, 7.0), level=0.99, complete=True)
CAUSE = Cause("clipped", 0.9, "31 % of its results are clipped", "calibration_n: 256")


@pytest.fixture
def blamed(project, quantbench):
    """The record of the project's post-training experiment, with what was printed."""
    status, out, err = quantbench("blame", "tiny/ptq_static_int8_per_channel", "--json", "blame.json")
    assert (status, err) == (0, "")
    return out, read_blames(project.root / "blame.json")[0]


def test_a_sound_candidate_has_a_table_and_nothing_to_blame(blamed):
    out, record = blamed
    assert record.outcome in ("nothing", "too_little")
    assert record.trials == []
    assert record.layers
    assert [each.name for each in record.layers if each.quantized] == [each.name for each in record.layers]
    assert out.rstrip().endswith(record.sentence)
    assert all(each.removed is not None for each in record.layers)


def test_a_record_is_shown_again_and_drawn(blamed, quantbench, project, unrendered):
    out, _ = blamed
    status, again, _ = quantbench("blame", "blame.json", "--plot", "error.png")
    assert status == 0
    assert again == f"{out}plot: error.png\n"
    assert (project.root / "error.png").exists()


def test_a_damaged_record_is_refused_by_what_is_wrong(blamed, quantbench, project):
    content = json.loads((project.root / "blame.json").read_text())
    content["blames"][0]["responsible"] = ["conv9"]
    (project.root / "blame.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="the responsible layer 'conv9', which is not among its layers"):
        read_blames(project.root / "blame.json")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("tiny/fp32_baseline",),
            "tiny/fp32_baseline: quantizes nothing; name an experiment whose candidate is quantized",
        ),
        (("tiny/ptq_static_int8_per_channel", "--budget", "0"), "--budget 0: give seconds, more than 0"),
        (
            ("tiny/ptq_static_int8_per_channel", "--plot", "a.gif"),
            "--plot a.gif: name a file that ends with .png or .svg",
        ),
        (
            ("tiny/ptq_static_int8_per_channel", "tiny/qat_int8", "--plot", "a.png"),
            "--plot a.png: is of one experiment, and 2 are named",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(project, quantbench, arguments, told):
    status, _, err = quantbench("blame", *arguments)
    assert (status, err) == (2, f"quantbench: {told}\n")


def test_a_backend_that_does_not_show_its_values_is_named(project, quantbench, monkeypatch):
    from quantbench.backends.interface import Backend
    from quantbench.backends.torch_ao.base import TorchAoBackend

    monkeypatch.setattr(TorchAoBackend, "insides", Backend.insides)
    status, _, err = quantbench("blame", "tiny/ptq_static_int8_per_channel")
    assert status == 2
    assert err.rstrip().endswith("backend 'eager' does not show the values inside of its artifacts")


def test_sentences_of_all_ends():
    assert of_layers(AMOUNTS, ["conv1"], TRIAL, CAUSE, "conv1") == (
        "conv1 is responsible for 5.9 [4.8, 7.0] of the 6.2 pp: 31 % of its results are clipped. "
        "Try calibration_n: 256."
    )
    assert of_layers(AMOUNTS, ["conv1", "fc"], TRIAL, CAUSE, "fc").startswith(
        "conv1 and fc are together responsible for 5.9 [4.8, 7.0] of the 6.2 pp: in fc 31 %"
    )
    assert "so it is spread over the model" in of_spread(AMOUNTS, TRIAL, "the most is 1.0")
    assert "the layers are not what loses the 6.2 pp" in of_elsewhere(AMOUNTS, TRIAL)
    assert of_unexplained(AMOUNTS, "the most is 1.0", "no time") == (
        "nothing that was tried explains the 6.2 pp: the most is 1.0 (no time)."
    )
    assert of_too_little(AMOUNTS, 900, ("conv1", 0.4, CAUSE)) == (
        "6.2 [5.0, 7.5] pp lost on 900 test samples are too little to confirm any layer by; most of the error of the "
        "outputs, 40 %, goes with conv1: 31 % of its results are clipped. Try calibration_n: 256."
    )


def test_a_budget_allows_what_is_left_of_it():
    times = iter([0.0, 3.0, 3.0, 3.0])
    budget = Budget(10.0, clock=lambda: next(times))
    assert budget.used == pytest.approx(0.3)
    assert budget.allows(6.9)
    assert not budget.allows(7.1)
