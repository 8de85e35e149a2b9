"""Changes since a revision, a golden or a record, and the answers that come back with earlier values."""

import json

import numpy as np
import pytest
from onnx_models import artifact_of, network

from quantbench.backends.exchange import exchange
from quantbench.records.changes import ChangesRecord, LayerChange
from quantbench.report.changes import changes_text, sentence

STATIC = "tiny/ptq_static_int8_per_channel"
LAYER = LayerChange(layer="l", words="w")
FEWER = ("calibration_n: 32", "calibration_n: 8")


def told(quantbench, against, *options):
    status, out, err = quantbench("blame", STATIC, "--against", against, *options)
    assert status == 0, err
    return out


def test_layers_with_other_scales_are_ranked_by_the_answers_that_come_back(repository, quantbench):
    repository.edit(*FEWER)
    out = told(quantbench, "HEAD", "--json", "c.json")
    (found,) = json.loads((repository.root / "c.json").read_text())["changes"]
    record = ChangesRecord.model_validate(found)
    assert record.configured == ["recipe.calibration_n: 32 → 8"]
    assert {each.layer for each in record.layers} <= {"quant", "conv", "fc"}
    assert record.flipped > 0
    assert record.all_back == record.flipped, "all earlier values are the earlier model"
    back = [each.back for each in record.layers]
    assert back == sorted(back, reverse=True)
    assert "come back" in out
    assert "scale 0.0" in out


def test_where_nothing_changed_that_is_said(repository, quantbench):
    out = told(quantbench, "HEAD")
    assert out.startswith(f"{STATIC}: 0 of 150 answers flipped since HEAD (")
    assert "nothing in the model changed, nor anything else that is recorded" in out


def test_a_golden_tells_configuration_and_versions(repository, quantbench):
    status, _, err = quantbench("accept", STATIC, "--reason", "first")
    assert status == 0, err
    path = repository.golden / "results" / f"{STATIC}.json"
    golden = json.loads(path.read_text())
    golden["versions"]["torch"] = "2.0.0"
    path.write_text(json.dumps(golden))
    out = told(quantbench, "golden")
    assert "nothing that is known of the model changed; torch (2.0.0 → " in out
    assert "not compared: values of the file, such as scales, are not in a golden" in out
    repository.edit(*FEWER)
    out = told(quantbench, "golden")
    assert "configuration:\n  the configuration\n" in out
    assert "recipe / calibration_n: 32 → 8" in out


def test_a_record_of_the_same_file_tells_that_versions_changed(repository, quantbench):
    quantbench("run", STATIC, "--no-blame", "--json", "r.json")
    content = json.loads((repository.root / "r.json").read_text())
    for record in content["records"]:
        record["environment"]["versions"]["torch"] = "2.0.0"
    (repository.root / "r.json").write_text(json.dumps(content))
    out = told(quantbench, "r.json")
    assert out.startswith(
        f"{STATIC}: 0 of 150 answers flipped since r.json (0 lost, 0 gained): nothing in the model changed; torch (2"
    )
    repository.edit(*FEWER)
    out = told(quantbench, "r.json")
    assert "recipe.calibration_n: 32 → 8" in out
    assert "not compared: values of the file" in out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((STATIC, "--against", "golden"), f"{STATIC}: nothing of it was ever accepted in golden; name a record or"),
        ((STATIC, "--against", "absent.json"), "absent.json: cannot be read"),
        ((STATIC, "--against", "nowhere"), "--against nowhere: no such revision"),
        (
            (STATIC, "--against", "HEAD", "--plot", "a.png"),
            "--against: tells what changed in text and --json; leave --plot, --into and --budget out",
        ),
    ],
)
def test_mistakes_are_one_line(repository, quantbench, arguments, line):
    status, out, err = quantbench("blame", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"quantbench: {line}")
    assert err.count("\n") == 1


def test_a_record_without_the_experiment_and_a_base_without_it_are_one_line(repository, quantbench):
    quantbench("run", "tiny/fp32_baseline", "--no-blame", "--json", "r.json")
    status, _, err = quantbench("blame", STATIC, "--against", "r.json")
    assert (status, err) == (
        2,
        f"quantbench: --against r.json: has no record of {STATIC}; it has: tiny/fp32_baseline\n",
    )
    repository.edit("  ptq_dynamic_int8:", "  renamed:")
    status, _, err = quantbench("blame", "tiny/renamed", "--against", "HEAD")
    assert (status, err) == (
        2, "quantbench: tiny/renamed: HEAD gives nothing to compare with: it has no such experiment\n",
    )  # fmt: skip


def test_initializers_of_onnx_are_matched_by_name_and_put_back(tmp_path):
    from onnx import load, numpy_helper

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    base, proto = artifact_of(network(), tmp_path / "a" / "m.onnx"), network()
    tensor = proto.graph.initializer[0]
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(values * 2, tensor.name))
    gone = proto.graph.initializer[1]
    gone.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(gone).astype(np.float64), gone.name))
    opened = exchange(base, artifact_of(proto, tmp_path / "b" / "m.onnx"))
    (changed,) = opened.values
    assert (changed.entry, changed.size) == (tensor.name, pytest.approx(1.0))
    assert [line.partition(":")[0] for line in opened.unlike] == [gone.name]
    written = load(opened.with_base({tensor.name}, tmp_path))
    found = {each.name: numpy_helper.to_array(each) for each in written.graph.initializer}
    assert np.array_equal(found[tensor.name], values)


def test_files_of_several_formats_are_not_exchanged(tmp_path):
    one = artifact_of(network(), tmp_path / "m.onnx")
    (tmp_path / "m.xml").write_text("<net/>")
    from dataclasses import replace

    assert exchange(one, replace(one, files=(tmp_path / "m.xml",))) == "one file is .onnx and the other .xml"
    same = replace(one, files=(tmp_path / "m.xml",))
    assert exchange(same, same) == "values within .xml files cannot be exchanged"


def record(**changes):
    return ChangesRecord(experiment="w/e", against="main", n=100, lost=3, gained=1, command="c", **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"circumstances": ["onnxruntime (1 → 2)"]}, "nothing in the model changed; onnxruntime (1 → 2) did"),
        ({"unknown": "x"}, "nothing that is known of the model changed, nor anything else that is recorded"),
        ({"entries": ["a: b → c"], "layers": [LAYER]}, "1 layers and 1 entries of the model changed"),
        (
            {"layers": [LayerChange(layer="l", words="w", back=0)] * 2, "is_ranked": True, "all_back": 4},
            "none comes back with the earlier values of one layer alone; with those of all 2 4 do",
        ),
    ],
)  # fmt: skip
def test_the_sentence_says_what_changed(changes, words):
    assert sentence(record(**changes)) == f"4 of 100 answers flipped since main (3 lost, 1 gained): {words}"
    assert changes_text(record(**changes)).startswith("w/e: 4 of 100")


def test_more_answers_than_flipped_cannot_come_back():
    assert record(all_back=5).impossible() == "4 flipped of 100 samples, of which 5 come back"
