"""The gates that experiments are held to are accepted facts: one that is gone or looser is told, old → new."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantbench.config.reading import load_experiments
from quantbench.errors import GoldenError
from quantbench.golden.gate_changes import GateChange
from quantbench.golden.gates import FILE_NAME, accepted_gates, edited_gates
from quantbench.session.gates import accept_gates, bounds_of, gone, loosened

CONFIG = """\
workload:
  model: {name: m5, n_classes: 35}
  data: {name: speech_commands, search_pool: 500}
  baseline: small
  regression: {accuracy_pp: 0.5, speedup: 0.1}
experiments:
  ptq:
    recipe: {name: static_int8}
    gates: {accuracy_drop_pp: 1.0, size_ratio: 3.5, int8_share: 0.9, speedup: {default: 1.2, avx512_vnni: 2.0}}
  searched:
    recipe: {name: static_int8}
    gates: {search_drop_pp: 1.0}
    search: {low: 8, epsilon_pp: 1.0}
"""


@pytest.fixture
def configured(tmp_path):
    """`configured(*replacements)`: the experiments of the edited file; the gates before any edit are accepted."""
    configs = tmp_path / "configs"
    configs.mkdir()

    def load(*replacements):
        text = CONFIG
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        (configs / "small.yaml").write_text(text)
        return load_experiments(configs)

    accept_gates(tmp_path, load(), "as agreed")
    return load


def rewrite(tmp_path, experiment, gate, bound, *, in_history):
    """Writes another bound into the file, or none, as if it had been accepted so or by hand."""
    path = tmp_path / FILE_NAME
    content = json.loads(path.read_text())
    content["experiments"][experiment].pop(gate, None)
    if bound is not None:
        content["experiments"][experiment][gate] = bound
    if in_history:
        content["history"].append(
            {"date": "2025-01-01", "reason": "of before", "changed": [str(GateChange(experiment, gate, 0, bound))]}
        )
    path.write_text(json.dumps(content))


def told(tmp_path, experiments):
    return [line.partition("; accept it: ")[0] for line in loosened(tmp_path, experiments, experiments)]


def test_gates_that_are_as_accepted_tell_nothing(configured, tmp_path):
    assert told(tmp_path, configured()) == []


LOOSER = {
    "gone": ("accuracy_drop_pp: 1.0, ", "", "small/ptq: gate accuracy_drop_pp: 1.0 → gone"),
    "a larger drop": ("accuracy_drop_pp: 1.0", "accuracy_drop_pp: 1.5", "small/ptq: gate accuracy_drop_pp: 1.0 → 1.5"),
    "a smaller ratio": ("size_ratio: 3.5", "size_ratio: 3.4", "small/ptq: gate size_ratio: 3.5 → 3.4"),
    "a smaller share": ("int8_share: 0.9", "int8_share: 0", "small/ptq: gate int8_share: 0.9 → 0.0"),
    "less work than by default": (
        "int8_share: 0.9", "int8_share: 0.9, macs_ratio: 0.5", "small/ptq: gate macs_ratio: 1.0 → 0.5",
    ),
    "one instruction set": (
        "avx512_vnni: 2.0", "avx512_vnni: 1.9",
        'small/ptq: gate speedup: {"default": 1.2, "avx512_vnni": 2.0} → {"default": 1.2, "avx512_vnni": 1.9}',
    ),
    "an instruction set that a lower bound is given": (
        "default: 1.2,", "default: 1.2, avx2: 1.0,",
        'small/ptq: gate speedup: {"default": 1.2, "avx512_vnni": 2.0} → '
        '{"default": 1.2, "avx2": 1.0, "avx512_vnni": 2.0}',
    ),
    "a search that costs more": (
        "epsilon_pp: 1.0", "epsilon_pp: 2.0",
        'small/searched: gate search: {"low": 8, "epsilon_pp": 1.0} → {"low": 8, "epsilon_pp": 2.0}',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line"), LOOSER.values(), ids=LOOSER)
def test_a_gate_that_is_gone_or_looser_is_told(configured, tmp_path, old, new, line):
    assert told(tmp_path, configured((old, new))) == [line]


def test_a_default_holds_though_it_was_never_accepted(configured, tmp_path):
    rewrite(tmp_path, "small/ptq", "macs_ratio", None, in_history=True)
    assert told(tmp_path, configured()) == []
    looser = configured(("int8_share: 0.9", "int8_share: 0.9, macs_ratio: 0.5"))
    assert told(tmp_path, looser) == ["small/ptq: gate macs_ratio: 1.0 → 0.5"]


def test_data_that_was_required_and_is_optional_now_is_told(configured, tmp_path):
    lines = told(tmp_path, configured(("baseline: small", "baseline: small\n  optional: true")))
    assert lines == [f'small/{name}: gate data: "required" → "optional"' for name in ("ptq", "searched")]


def test_a_margin_that_grew_is_told_of_every_experiment(configured, tmp_path):
    lines = told(tmp_path, configured(("accuracy_pp: 0.5, speedup: 0.1", "accuracy_pp: 50, speedup: 0.9")))
    assert lines == [
        f"small/{name}: gate {gate}" for name in ("ptq", "searched")
        for gate in ("accuracy_vs_accepted: 0.5 → 50.0", "speedup_vs_accepted: 0.1 → 0.9")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("accuracy_drop_pp: 1.0", "accuracy_drop_pp: 0.5"),
        ("size_ratio: 3.5", "size_ratio: 3.9"),
        ("default: 1.2, avx512_vnni: 2.0", "default: 2.0"),
        ("int8_share: 0.9", "int8_share: 0.9, memory_ratio: 2.0"),
    ],
)
def test_a_stricter_or_a_new_gate_needs_no_acceptance(configured, tmp_path, old, new):
    assert told(tmp_path, configured((old, new))) == []


def test_an_experiment_that_is_configured_no_more_is_missed_though_its_goldens_went_with_it(configured, tmp_path):
    experiments = [each for each in configured() if each.name == "ptq"]
    (line,) = loosened(tmp_path, experiments, [])
    assert line == (
        "small/searched: was accepted with the gates macs_ratio, search_drop_pp, accuracy_vs_accepted, "
        "speedup_vs_accepted, search, answered_classes, reload, determinism, checkpoint, data, "
        "and is configured no more; "
        'accept it: quantbench gates small/searched --accept --reason "…"'
    )


def test_only_selected_experiments_are_compared(configured, tmp_path):
    experiments = configured(("accuracy_drop_pp: 1.0, ", ""), ("epsilon_pp: 1.0", "epsilon_pp: 2.0"))
    lines = loosened(tmp_path, experiments, experiments[1:])
    assert [line.partition(":")[0] for line in lines] == ["small/searched"]


def test_goldens_without_accepted_gates_are_told_in_one_line(configured, tmp_path):
    (tmp_path / FILE_NAME).unlink()
    for name in ("ptq", "searched"):
        (tmp_path / "checkpoints/small").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"checkpoints/small/{name}.json").write_text("{}")
    (line,) = told(tmp_path, configured())
    assert line.startswith("2 experiments (small/ptq, …): with goldens, but without accepted gates in ")
    (tmp_path / "checkpoints/small/ptq.json").unlink()
    (line,) = told(tmp_path, configured())
    assert line.startswith("small/searched: with goldens, but without accepted gates in ")


def test_an_experiment_without_any_golden_has_no_gates_to_miss(configured, tmp_path):
    (tmp_path / FILE_NAME).unlink()
    assert told(tmp_path, configured()) == []


def test_acceptance_keeps_the_others_and_writes_history(configured, tmp_path):
    experiments = configured(("accuracy_drop_pp: 1.0", "accuracy_drop_pp: 1.5"), ("low: 8", "low: 4"))
    lines = accept_gates(tmp_path, experiments[:1], "a smaller calibration set")
    assert lines == ["small/ptq: gate accuracy_drop_pp: 1.0 → 1.5"]
    assert told(tmp_path, experiments) == [
        'small/searched: gate search: {"low": 8, "epsilon_pp": 1.0} → {"low": 4, "epsilon_pp": 1.0}'
    ]
    history = json.loads((tmp_path / FILE_NAME).read_text())["history"]
    assert [entry["reason"] for entry in history] == ["as agreed", "a smaller calibration set"]
    assert history[-1]["changed"] == lines
    written = (tmp_path / FILE_NAME).read_bytes()
    assert accept_gates(tmp_path, experiments[:1], "again") == []
    assert (tmp_path / FILE_NAME).read_bytes() == written


def test_an_experiment_that_is_gone_is_forgotten_on_request(configured, tmp_path):
    left = [each for each in configured() if each.name == "ptq"]
    assert gone(tmp_path, left, "small/p*") == []
    lines = accept_gates(tmp_path, [], "not shipped any more", gone(tmp_path, left))
    assert "small/searched: gate search_drop_pp: 1.0 → gone" in lines
    assert loosened(tmp_path, left, left) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not valid JSON"),
        ("[]", "mapping of keys to values"),
        ('{"schema_version": 2}', "less than or equal to 1"),
        ('{"schema_version": 1, "experiments": {"a/b": 3}}', "valid dictionary"),
        ('{"schema_version": 1, "gates": {}}', "Extra inputs are not permitted"),
        (
            '{"schema_version": 1, "experiments": {"small/ptq": {"size_ratio": NaN}}}',
            "small/ptq.size_ratio: NaN is no finite number",
        ),
        ('{"schema_version": 1, "experiments": {"small/ptq": {"size_ratio": "3"}}}', "size_ratio: '3' is no bound"),
        (
            '{"schema_version": 1, "experiments": {"small/ptq": {"speedup_vs_accepted": Infinity}}}',
            "speedup_vs_accepted: Infinity is no finite number",
        ),
        (
            '{"history": [{"date": "2026-01-01", "reason": "x", "changed": ["small/ptq: gates: 1"]}]}',
            "history: 'small/ptq: gates: 1' is no change of a gate",
        ),
        (
            '{"history": [{"date": "2026-01-01", "reason": "x", "changed": ["a/b: gate c: none \u2192 4 %"]}]}',
            "history: Extra data",
        ),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do_and_never_overwritten(configured, tmp_path, text, problem):
    (tmp_path / FILE_NAME).write_text(text)
    for call in (lambda: loosened(tmp_path, [], []), lambda: accept_gates(tmp_path, configured(), "anew")):
        with pytest.raises(GoldenError, match=problem) as raised:
            call()
        assert "restore it from version control" in str(raised.value)
    assert (tmp_path / FILE_NAME).read_text() == text


EDITED = {
    "looser": ("accuracy_drop_pp", 5.0, "1.0 → 5.0"),
    "stricter": ("accuracy_drop_pp", 0.5, "1.0 → 0.5"),
    "new": ("memory_ratio", 2.0, "none → 2.0"),
    "gone": ("int8_share", None, "0.9 → gone"),
}


@pytest.mark.parametrize(("gate", "bound", "change"), EDITED.values(), ids=EDITED)
def test_a_bound_that_was_written_by_hand_is_told_whatever_is_selected(configured, tmp_path, gate, bound, change):
    rewrite(tmp_path, "small/ptq", gate, bound, in_history=False)
    experiments = configured()
    assert loosened(tmp_path, experiments, []) == [
        f"{tmp_path / FILE_NAME}: small/ptq: gate {gate}: {change}: written without an acceptance and its reason; "
        'restore the file from version control, or accept it: quantbench gates small/ptq --accept --reason "…"'
    ]
    assert accepted_gates(tmp_path)["small/ptq"] == bounds_of(experiments[0])


def test_a_bound_loosened_by_hand_in_both_files_is_still_looser_than_accepted(configured, tmp_path):
    rewrite(tmp_path, "small/ptq", "accuracy_drop_pp", 5.0, in_history=False)
    experiments = configured(("accuracy_drop_pp: 1.0", "accuracy_drop_pp: 5.0"))
    assert told(tmp_path, experiments)[1:] == ["small/ptq: gate accuracy_drop_pp: 1.0 → 5.0"]
    assert accept_gates(tmp_path, experiments[:1], "measured") == ["small/ptq: gate accuracy_drop_pp: 1.0 → 5.0"]
    assert told(tmp_path, experiments) == []


def test_accepting_one_experiment_accepts_nothing_that_was_written_by_hand_of_another(configured, tmp_path):
    rewrite(tmp_path, "small/searched", "search_drop_pp", 9.0, in_history=False)
    experiments = configured(("accuracy_drop_pp: 1.0", "accuracy_drop_pp: 1.5"))
    assert accept_gates(tmp_path, experiments[:1], "measured") == [
        "small/ptq: gate accuracy_drop_pp: 1.0 → 1.5",
        "small/searched: gate search_drop_pp: 9.0 → 1.0, as it was accepted",
    ]
    assert edited_gates(tmp_path) == []


def test_accepting_what_is_configured_puts_a_file_right_that_was_written_by_hand(configured, tmp_path):
    rewrite(tmp_path, "small/ptq", "size_ratio", 1.0, in_history=False)
    lines = accept_gates(tmp_path, configured(), "put right")
    assert lines == ["small/ptq: gate size_ratio: 1.0 → 3.5, as it was accepted"]
    assert told(tmp_path, configured()) == []


def test_an_experiment_that_somebody_wrote_into_the_file_is_told(configured, tmp_path):
    content = json.loads((tmp_path / FILE_NAME).read_text())
    content["experiments"]["small/mine"] = {"size_ratio": 1.0}
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    (line,) = loosened(tmp_path, configured(), [])
    assert line.endswith(
        "small/mine: gate size_ratio: none → 1.0: written without an acceptance and its reason; restore the file from "
        "version control"
    )


@pytest.mark.parametrize("history", ["none", "without a reason"])
def test_gates_without_a_reasoned_acceptance_are_counted(configured, tmp_path, history):
    content = json.loads((tmp_path / FILE_NAME).read_text())
    content["history"] = [] if history == "none" else [{**each, "reason": " "} for each in content["history"]]
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    lines = loosened(tmp_path, configured(), [])
    assert "gate accuracy_drop_pp: none → 1.0: written without an acceptance" in lines[0]
    assert lines[8:] == [f"{tmp_path / FILE_NAME}: and 14 more that no acceptance made so"]


def test_a_merge_that_keeps_both_acceptances_needs_no_third(configured, tmp_path):
    before = json.loads((tmp_path / FILE_NAME).read_text())
    ours = configured(("accuracy_drop_pp: 1.0", "accuracy_drop_pp: 1.5"))
    accept_gates(tmp_path, ours[:1], "ours")
    content = json.loads((tmp_path / FILE_NAME).read_text())
    (tmp_path / FILE_NAME).write_text(json.dumps(before))
    both = configured(("accuracy_drop_pp: 1.0", "accuracy_drop_pp: 1.5"), ("search_drop_pp: 1.0", "search_drop_pp: 2"))
    accept_gates(tmp_path, both[1:], "theirs")
    theirs = json.loads((tmp_path / FILE_NAME).read_text())
    content["experiments"]["small/searched"] = theirs["experiments"]["small/searched"]
    content["history"].append(theirs["history"][-1])
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    assert told(tmp_path, both) == []


def test_our_own_gates_were_all_accepted():
    golden = Path(__file__).parents[2] / "golden"
    assert edited_gates(golden) == []
    assert len(accepted_gates(golden)) > 50


def test_a_bound_that_holds_an_arrow_or_a_colon_reads_back():
    change = GateChange("a/b", "own", {"a: gate c: 1 → 2": [1, None]}, "gone")
    assert GateChange.parse(str(change)) == change


def test_a_gate_of_a_quantity_that_is_not_installed_any_more_is_told(configured, tmp_path):
    rewrite(tmp_path, "small/ptq", "largest_tensor_bytes", 100, in_history=True)
    assert told(tmp_path, configured()) == ["small/ptq: gate largest_tensor_bytes: 100 → gone"]


def test_a_claim_without_a_bound_is_missed_where_it_is_not_made_any_more(configured, tmp_path, monkeypatch):
    from quantbench.tasks.top1 import Top1

    monkeypatch.setattr(Top1, "has_answers", False)
    assert told(tmp_path, configured()) == [
        f'small/{name}: gate answered_classes: "claimed" → gone' for name in ("ptq", "searched")
    ]


def test_margins_and_searches_are_bounds_too(configured):
    assert bounds_of(configured()[1]) == {
        "search_drop_pp": 1.0, "macs_ratio": 1.0, "search": {"low": 8, "epsilon_pp": 1.0}, "accuracy_vs_accepted": 0.5,
        "speedup_vs_accepted": 0.1, "data": "required",
        **dict.fromkeys(("answered_classes", "reload", "determinism", "checkpoint"), "claimed"),
    }  # fmt: skip
