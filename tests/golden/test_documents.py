"""Accepted checkpoints: where they lie, how a difference reads, which are orphans, and damaged ones."""

import datetime
import json

import pytest

from quantbench.config.reading import load_experiments
from quantbench.errors import CheckpointError, GoldenError
from quantbench.golden.audit import orphans
from quantbench.golden.checkpoints import CHECKPOINTS
from quantbench.golden.documents import MAX_BYTES, MISSING, differences
from quantbench.golden.history import read_history, write_golden
from quantbench.golden.interface import SHOWN_LINES, shortened
from quantbench.records.parts import CheckpointFacts

CONFIG = """\
workload:
  model: {name: cifar_cnn}
  data: {name: shapes}
  baseline: small
  training: {epochs: 1}
experiments:
  ptq_v1.5: {recipe: {name: dynamic_int8}}
  qat: {recipe: {name: qat_int8}}
"""


@pytest.fixture
def experiments(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "small.yaml").write_text(CONFIG)
    return load_experiments(tmp_path / "configs")


@pytest.fixture
def golden(tmp_path):
    """Accepts a document under a name."""

    def accept(name, text='{"engine": "x86"}'):
        path = tmp_path / "golden" / "checkpoints" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    accept.folder = tmp_path / "golden"
    return accept


def test_a_golden_is_named_by_its_experiment_and_by_any_engine_but_the_default(experiments):
    assert CHECKPOINTS.name(experiments[0].id, "x86") == "small/ptq_v1.5"
    assert CHECKPOINTS.name(experiments[0].id, "qnnpack") == "small/ptq_v1.5@qnnpack"


def test_an_accepted_golden_is_read_and_an_absent_one_is_none(golden):
    golden("small/qat", '{"keys": {"fc.scale": "float32 []"}}')
    assert CHECKPOINTS.read(golden.folder, "small/qat") == {"keys": {"fc.scale": "float32 []"}}
    assert CHECKPOINTS.read(golden.folder, "small/other") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"engine": "x8', r"small/qat\.json: not valid JSON .*; restore it from version control"),
        ("", r"small/qat\.json: not valid JSON .*; restore it from version control"),
        ("[" * 100_000, r"small/qat\.json: nested too deeply; restore it from version control"),
        ("[1, 2]", r"small/qat\.json: holds a list, not a checkpoint's description; restore it from version control"),
    ],
    ids=["cut short", "empty", "too deep", "a list"],
)
def test_a_damaged_golden_is_an_error_with_its_file_and_what_to_do(golden, text, message):
    golden("small/qat", text)
    with pytest.raises(CheckpointError, match=message):
        CHECKPOINTS.read(golden.folder, "small/qat")


def test_a_golden_that_is_not_text_is_an_error(golden):
    golden("small/qat").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        CHECKPOINTS.read(golden.folder, "small/qat")


class Measured:
    """Evidence of a run that described its file."""

    engine, observers = "none", {}

    def __init__(self, experiment, graph):
        self.experiment = experiment
        self.facts = CheckpointFacts(
            sha256="0" * 64, payload_bytes=8, keys={"w": {"dtype": "int8", "shape": [8]}}, reload_identical=True,
            largest_difference=0.0, graph=graph,
        )  # fmt: skip

    def measured(self, part):
        return {"checkpoint": self.facts}[part]


def test_a_file_s_graph_is_in_its_golden_and_what_moved_in_it_is_named(experiments):
    before, after = (
        CHECKPOINTS.document(
            Measured(experiments[0], {"opset": {"ai.onnx": opset}, "operators": {"QLinearConv": count}})
        )
        for opset, count in ((20, 5), (21, 6))
    )
    assert CHECKPOINTS.compare(before, after) == [
        "graph / operators / QLinearConv: 5 → 6", "graph / opset / ai.onnx: 20 → 21"]  # fmt: skip


def test_a_graph_is_the_accepted_one_whatever_the_order_of_its_keys(experiments):
    said, written = (
        {"inputs": [dict(pairs)]} for pairs in ([("name", "x"), ("dtype", "f")], [("dtype", "f"), ("name", "x")])
    )
    accepted = CHECKPOINTS.content(CHECKPOINTS.document(Measured(experiments[0], written)))
    assert CHECKPOINTS.compare(accepted, CHECKPOINTS.document(Measured(experiments[0], said))) == []


def test_a_file_that_tells_no_graph_has_none_in_its_golden_and_record(experiments):
    measured = Measured(experiments[0], {})
    assert "graph" not in CHECKPOINTS.document(measured)
    assert "graph" not in measured.facts.model_dump(mode="json")
    assert Measured(experiments[0], {"opset": {}}).facts.model_dump(mode="json")["graph"] == {"opset": {}}


def test_equal_documents_have_no_differences():
    document = {"recipe": {"layers": ["Linear"]}, "keys": {"a": {"shape": [3, 4]}}, "none": None, "empty": {}}
    assert differences(document, json.loads(json.dumps(document))) == []
    assert differences({"layers": ("Linear",)}, {"layers": ["Linear"]}) == [], "JSON knows lists only"


def test_a_difference_reads_as_path_old_and_new_in_order_of_path():
    old = {"keys": {"fc": {"dtype": "qint8", "shape": [10, 128]}}, "engine": "x86"}
    new = {"keys": {"fc": {"dtype": "float32", "shape": [10, 64]}}, "engine": "x86"}
    assert differences(old, new) == [
        'keys / fc / dtype: "qint8" → "float32"',
        "keys / fc / shape: [10, 128] → [10, 64]",
    ]


def test_a_key_that_came_or_went_is_shown_as_absent_on_the_other_side():
    assert differences({"keys": {"bn.weight": 1}}, {"keys": {"conv.bias": 2}}) == [
        f"keys / bn.weight: 1 → {MISSING}",
        f"keys / conv.bias: {MISSING} → 2",
    ]


@pytest.mark.parametrize(("old", "new"), [(1, "1"), (1, True), (None, MISSING), ({}, None), (0, 0.0), ([], {})])
def test_values_that_only_look_alike_differ(old, new):
    assert len(differences({"a": old}, {"a": new})) == 1


def test_an_absent_key_differs_from_one_that_is_null():
    assert differences({"a": None, "b": 1}, {"b": 1}) == [f"a: null → {MISSING}"]


def test_a_long_difference_is_shortened_and_counted():
    lines = [f"line {i}" for i in range(SHOWN_LINES + 3)]
    shown = shortened(lines).splitlines()
    assert shown[:SHOWN_LINES] == [f"    line {i}" for i in range(SHOWN_LINES)]
    assert shown[SHOWN_LINES:] == ["    … and 3 more"]
    assert "more" not in shortened(lines[:SHOWN_LINES])


def test_a_golden_of_no_configured_experiment_is_an_orphan_whichever_engine_it_is_for(experiments, golden):
    for claimed in ("small/ptq_v1.5", "small/ptq_v1.5@qnnpack", "small/qat"):
        golden(claimed)
    assert orphans(golden.folder, experiments) == []
    strangers = [golden(name) for name in ("gone/qat", "small/renamed", "small/renamed@qnnpack", "stray")]
    assert sorted(orphans(golden.folder, experiments)) == sorted(strangers)


def test_an_accepted_result_of_no_configured_experiment_is_an_orphan_too(experiments, golden):
    golden("../results/small/qat")
    assert orphans(golden.folder, experiments) == []
    gone, for_an_engine = golden("../results/small/gone"), golden("../results/small/qat@qnnpack")
    found = {path.resolve() for path in orphans(golden.folder, experiments)}
    assert found == {gone.resolve(), for_an_engine.resolve()}, "results are compared across engines"


def test_a_document_is_written_below_its_history_and_read_without_it(tmp_path):
    path = CHECKPOINTS.path(tmp_path, "small/qat")
    write_golden(path, {"engine": "x86"}, "first")
    write_golden(path, {"engine": "qnnpack"}, "another machine")
    assert CHECKPOINTS.read(tmp_path, "small/qat") == {"engine": "qnnpack"}
    today = str(datetime.date.today())
    reasons = ("first", "another machine")
    assert read_history(path) == [{"date": today, "reason": reason} for reason in reasons]


def test_a_document_far_larger_than_any_golden_is_not_read(golden):
    golden("small/qat", " " * (MAX_BYTES + 1))
    with pytest.raises(CheckpointError, match=rf"larger than {MAX_BYTES} bytes, which no golden is; restore"):
        CHECKPOINTS.read(golden.folder, "small/qat")


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"history": "long"}'])
def test_a_golden_without_a_history_has_an_empty_one(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    assert read_history(tmp_path / "a.json") == []
    assert read_history(tmp_path / "absent.json") == []


def test_a_document_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(GoldenError, match=r"a\.json: cannot be written \(.+\); what was accepted stays as it was$"):
        write_golden(tmp_path / "a.json", {}, "first")


def test_a_project_without_goldens_has_no_orphans(experiments, tmp_path):
    assert orphans(tmp_path / "nowhere", experiments) == []
