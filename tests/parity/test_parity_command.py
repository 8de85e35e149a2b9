"""`quantbench parity` from the shell: what is compared, what is refused, records and sections."""

import json

import pytest

from quantbench.config.component import Component
from quantbench.config.selection import find_workload
from quantbench.parity.choosing import through_backends
from quantbench.records.parity import read_parity

READY_MADE = """\
experiments:
  candidate:
    recipe: {name: ready_made, path: tiny.int8.onnx}
"""
MARKED = "# Moving\n\n<!-- parity: begin -->\nold\n<!-- parity: end -->\nafter\n"


def test_a_record_is_shown_again_and_written_into_a_document(quantbench, recorded, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(MARKED)
    status, out, err = quantbench("parity", recorded / "parity.json", "--into", page)
    assert status == 0, err
    assert out == (recorded / "printed.txt").read_text()
    text = page.read_text()
    assert "old" not in text
    assert "| → onnxruntime |" in text
    assert text.startswith("# Moving\n\n<!-- parity: begin -->\n")
    assert text.endswith("<!-- parity: end -->\nafter\n")


def test_experiments_are_compared_by_their_names_and_with_the_base_that_is_named(quantbench, project):
    names = ("ptq_static_int8_per_channel", "ptq_dynamic_int8")
    status, out, err = quantbench(
        "parity", "tiny", *names, "--experiments", "--no-speed", "--base", names[1], "--out", "made/a.json"
    )
    assert (status, out.splitlines()[0]) == (0, "tiny: experiments"), err
    (found,) = read_parity(project.root / "made/a.json")
    assert [each.name for each in found.sides] == [names[1], names[0]]
    assert found.command.startswith("quantbench parity tiny ")


def test_one_that_fails_ends_with_status_2_after_the_others_are_shown(quantbench, project):
    status, out, err = quantbench(
        "parity", "tiny", "ptq_dynamic_int8", "qat_int8", "ptq_static_int8_per_channel", "--experiments", "--no-speed"
    )
    assert status == 2
    assert "ptq_dynamic_int8 → ptq_static_int8_per_channel: accuracy " in out
    assert err.splitlines()[-1].startswith("quantbench: tiny: qat_int8: ")


MISTAKES = {
    "one experiment": (("tiny", "ptq_dynamic_int8", "--experiments"), "name one workload and two experiments"),
    "both": (("tiny", "a", "b", "--experiments", "--backends", "eager"), "and no --backends"),
    "unknown experiment": (
        ("tiny", "ptq_dynamik_int8", "qat_int8", "--experiments"),
        "Did you mean 'ptq_dynamic_int8'",
    ),
    "twice the same": (("tiny", "qat_int8", "qat_int8", "--experiments"), "name two experiments or more, such as"),
    "unknown backend": (("tiny", "--backends", "eager,onxruntime"), "Did you mean 'onnxruntime'?"),
    "unknown recipe": (("tiny", "--recipe", "static_int9"), "--recipe: unknown recipe 'static_int9'. Did you mean"),
    "unknown base": (("tiny", "--backends", "eager", "--base", "pt2e"), "--base: unknown base 'pt2e'. Known: eager"),
    "nothing beside": (
        ("tiny", "--backends", "eager", "--recipe", "static_int8_per_channel"),
        "tiny/ptq_static_int8_per_channel: nothing to compare it with: name another backend",
    ),
    "no quantizer": (("tiny", "--backends", "litert"), "quantbench: litert: backend 'litert' cannot quantize"),
    "unknown workload": (("tinny",), "unknown workload 'tinny'. Did you mean 'tiny'?"),
    "no section": (("tiny", "--into", "notes.md"), "put the lines '<!-- parity: begin -->'"),
    "a folder": (("tiny", "--out", "configs"), "is a folder; name a file in it"),
    "not a record": (("notes.json",), "notes.json: "),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_with_status_2(quantbench, project, arguments, message):
    (project.root / "notes.md").write_text("nothing marked\n")
    (project.root / "notes.json").write_text("[]")
    status, out, err = quantbench("parity", *arguments, *(() if "--no-speed" in arguments else ("--no-speed",)))
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1 or arguments == ("notes.json",)


def test_a_file_of_a_runtime_goes_by_default_through_those_that_read_it_and_the_others_are_told(project):
    project.edit('  model: {name: "tiny_model:tiny_cnn"}\n', "  reference: {path: tiny.onnx}\n")
    for line in ("  baseline: tiny\n", "  training: {epochs: 3, lr: 0.05, batch_size: 32, augment: []}\n"):
        project.edit(line, "")
    text = project.config.read_text()
    project.config.write_text(text[: text.index("experiments:")] + READY_MADE)
    workload = find_workload("tiny", project.configs)
    found, left_out = through_backends(workload, Component(name="static_int8"))
    assert sorted(found) == ["onnxruntime", "openvino"]
    assert {each.name for each in left_out if "the reference is a file of another runtime" in each.reason} >= {"eager"}
    assert not any(each.failed for each in left_out)
    found, _ = through_backends(workload, Component(name="static_int8"), ["eager", "openvino"])
    assert list(found) == ["eager", "openvino"], "whoever names it is told what it needs, and by a status"


def test_by_default_every_backend_that_runs_the_recipe_is_compared_and_others_are_not_named(project):
    found, left_out = through_backends(find_workload("tiny", project.configs), Component(name="static_int8"))
    assert list(found)[:1] == ["eager"]
    assert {"onnxruntime", "openvino", "pt2e"} <= {*found, *(each.name for each in left_out)}
    assert not {"torch", "litert", "low_bit"} & {*found, *(each.name for each in left_out)}


@pytest.fixture
def measured(quantbench, project):
    """The file that `quantbench run --json` writes of an experiment."""

    def run(name, path):
        assert quantbench("run", f"tiny/{name}", "--json", path)[0] in (0, 1)
        return project.root / path

    return run


def test_the_same_experiment_of_two_versions_is_compared_by_its_samples(quantbench, measured):
    old = measured("ptq_dynamic_int8", "old.json")
    content = json.loads(old.read_text())
    (record,) = content["records"]
    record["environment"]["versions"]["torch"] = "2.11.0"
    old.write_text(json.dumps(content))
    measured("ptq_dynamic_int8", "new.json")
    status, out, err = quantbench("parity", "--records", "old.json", "new.json", "--out", "both.json")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0] == "the same experiment: tiny/ptq_dynamic_int8"
    assert lines[2].startswith("old → new: accuracy 0.00 pp [")
    assert lines[2].endswith(", n = 150, size ×1.00")
    assert "  speed: not of one run" in lines
    assert "  scales: none are compared: records hold no scales" in lines
    assert any(line.startswith("old: ") and "torch 2.11.0" in line for line in lines[-2:])
    # What it writes is read again, as one of the two sides too.
    assert quantbench("parity", "--records", "both.json", "new.json")[0] == 0


def test_records_of_a_comparison_are_compared_with_those_of_another(quantbench, recorded, tmp_path):
    again = tmp_path / "again.json"
    again.write_text((recorded / "parity.json").read_text())
    status, out, _ = quantbench("parity", "--records", recorded / "parity.json", again)
    assert status == 0
    assert "parity → again: accuracy 0.00 pp [" in out
    assert out.count("the same experiment: ") == 2


def test_records_that_cannot_be_compared_are_refused_in_one_line(quantbench, measured, project):
    measured("ptq_dynamic_int8", "a.json")
    measured("fp32_baseline", "b.json")
    for arguments, message in (
        (("a.json",), "--records: name two files or more"),
        (("a.json", "b.json"), "--records: the files share no experiment (a: tiny/ptq_dynamic_int8; b: tiny/fp32_base"),
        (("a.json", "absent.json"), "absent.json: cannot be read (No such file or directory); write it with"),
    ):
        status, _, err = quantbench("parity", "--records", *arguments)
        assert (status, len(err.splitlines())) == (2, 1)
        assert message in err
    content = json.loads((project.root / "a.json").read_text())
    content["records"][0]["test_sha256"] = "0" * 64
    (project.root / "c.json").write_text(json.dumps(content))
    status, _, err = quantbench("parity", "--records", "a.json", "c.json")
    assert status == 2
    assert "c is of other test samples (n=150, sha256 000000000000…) than a (n=150" in err
