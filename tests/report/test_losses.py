"""Tables of what is lost of scores, against size and time."""

from dataclasses import dataclass

from quantbench.report.losses import loss_tables


@dataclass
class Score:
    candidate: float
    drop: float
    task: str = "nll"
    unit: str = "nats"
    higher_is_better: bool = False
    n: int = 500
    candidate_interval: tuple | None = None
    interval: tuple | None = None


@dataclass
class Size:
    quantized_bytes: int


@dataclass
class Latency:
    speedup: float
    speedup_interval: tuple


@dataclass
class Record:
    experiment: str
    score: Score | None
    size: Size | None
    latency: Latency | None = None
    recipe_name: str = "dynamic_int8"
    accuracy: None = None


def rows(records):
    return [line.split("|")[1:-1] for line in loss_tables(records) if line.startswith("|")][2:]


def test_the_front_is_what_loses_least_is_smallest_or_fastest():
    found = rows([
        Record("net/fp32", Score(1.8, 0.0), Size(400), recipe_name="fp32_baseline"),
        Record("net/int8", Score(1.81, 0.01), Size(100), Latency(2.0, (1.9, 2.1))),
        Record("net/worse", Score(1.9, 0.1), Size(150), Latency(1.5, (1.4, 1.6))),
        Record("net/smallest", Score(2.0, 0.2), Size(60), Latency(1.0, (0.9, 1.1))),
    ])  # fmt: skip
    assert [(front.strip(), name.strip()) for front, name, *_ in found] == [
        ("●", "smallest"), ("●", "int8"), ("", "worse"), ("●", "fp32")
    ]  # fmt: skip
    assert [cell.strip() for cell in found[1][2:]] == ["1.81", "+0.01", "100", "0.50 [0.48, 0.53]"]
    assert found[3][-1].strip() == "1.00"


def test_figures_stand_with_their_intervals_and_the_head_says_what_is_better():
    score = Score(0.8123, -0.002, "macro_f1", "macro F1", True, 1000, (0.80, 0.82), (-0.01, 0.005))
    lines = loss_tables([Record("net/int8", score, Size(100))])
    assert lines[0] == "**net** (n = 1,000, task macro_f1, higher is better)"
    assert lines[-2] == "| ● | int8 | 0.8123 [0.8, 0.82] | -0.002 [-0.01, +0.005] | 100 | – |"


def test_records_without_a_score_or_a_size_have_no_row():
    assert loss_tables([Record("a/b", None, Size(1)), Record("a/c", Score(1.0, 0.0), None)]) == []
