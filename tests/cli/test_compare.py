"""`quantbench compare`: two files that were made elsewhere, gated with one command."""

import json
import re

import pytest
import torch
from files_made_elsewhere import COLOURS, colours, quantized, saved
from programs import program_in

# Blue and green are mistaken for each other.
WRONG = COLOURS[[1, 0, 2]]


@pytest.fixture
def files(project):
    return saved(colours(), project.root / "fp32.onnx"), saved(quantized(), project.root / "int8.onnx")


@pytest.fixture
def compare(project, files, quantbench):
    def run(*options, pair=files):
        drop = () if "--max-drop" in options else ("--max-drop", 10)
        return quantbench("compare", *pair, "--data", project.images, "--param", "calibration_pool=60", *drop, *options)

    return run


def test_two_files_are_compared_with_the_table_of_a_run_and_hold(compare):
    status, out, err = compare()
    assert (status, err) == (0, "")
    row = re.split(r" {2,}", out.splitlines()[1].strip())
    assert row[:2] == ["compare/candidate", "88.67"]
    assert row[2].startswith("+0.67 [")
    assert row[-2:] == ["100.0 %", "PASS"]


def test_a_candidate_that_loses_accuracy_fails_with_status_1(compare, files, project):
    status, out, err = compare(pair=(files[0], saved(quantized(WRONG), project.root / "wrong.onnx")))
    assert status == 1
    assert "FAIL" in out
    assert "compare/candidate: accuracy_drop_pp: FAIL" in err


@pytest.mark.parametrize(
    ("options", "failed"),
    [
        (("--max-drop", 0), ""),
        (("--min-speedup", 1.5), ""),
        (("--min-int8-share", 1), ""),
        (("--min-size-ratio", 100), "size_ratio"),
    ],
)
def test_each_option_is_a_gate(compare, options, failed):
    status, _, err = compare(*options)
    if failed:
        assert (status, f"compare/candidate: {failed}: FAIL" in err) == (1, True)
    else:
        assert "FAIL" not in err


def test_a_speed_that_is_not_reached_fails(compare, machine):
    from made_timings import timings

    machine.here, machine.fresh = [timings(1.2)], timings(1.2)
    status, _, err = compare("--min-speedup", 1.5)
    assert (status, "compare/candidate: speedup: FAIL" in err) == (1, True)


def test_a_reference_at_chance_is_refused_with_what_makes_it_accurate(compare, files, project):
    # One colour outshines all others with these statistics.
    status, out, err = compare("--param", "mean=[0, 0, 0]", "--param", "std=[0.001, 1, 1]")
    assert (status, out.splitlines()[1].split()[-2:]) == (2, ["error,", "PASS"])
    (line,) = [line for line in err.splitlines() if "nothing is compared with it" in line]
    assert "is not surely more than the 33.33 % of giving every sample one class" in line
    assert "(data: mean=[" in line


def test_a_reference_at_chance_is_compared_with_on_request(compare):
    blind = ("--param", "mean=[0, 0, 0]", "--param", "std=[0.001, 1, 1]", "--accept-accuracy")
    status, out, _ = compare(*blind)
    assert (status, out.splitlines()[1].split()[:2]) == (0, ["compare/candidate", "33.33"])


def test_a_file_that_takes_channels_last_is_given_them_last_and_that_is_told(compare, files, project):
    last = saved(colours(last=True), project.root / "last.onnx")
    status, out, err = compare(pair=(last, files[1]))
    assert (status, err) == (0, "")
    assert "last.onnx: input 'x': channels moved last (NCHW → NHWC)" in out


def test_a_program_of_torchscript_is_compared_with_a_file_of_onnx(compare, files, project):
    class Colours(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.conv2d(x, torch.eye(3)[:, :, None, None]).mean((2, 3))

    path = project.root / "fp32.pt"
    program_in(path, Colours(), torch.zeros(4, 3, 8, 8))
    status, out, err = compare("--param", "size=8", pair=(path, files[1]))
    assert (status, err) == (0, "")
    assert out.splitlines()[1].split()[:2] == ["compare/candidate", "88.67"]
    assert "compare/candidate: size, memory and speed are over the reference as it is: " in out


def test_a_file_of_a_fixed_batch_is_run_and_timed_in_it(compare, files, project):
    fixed = saved(colours(batch=7), project.root / "fixed.onnx")
    path = project.root / "record.json"
    status, _, err = compare("--json", path, pair=(fixed, files[1]))
    assert (status, err) == (0, "")
    assert json.loads(path.read_text())["records"][0]["latency"]["batch_size"] == 7


def test_what_is_saved_is_a_workload_with_goldens_that_runs_and_holds(compare, project, quantbench):
    status, out, _ = compare("--save", "mine")
    assert status == 0
    assert "configs/mine.yaml: written; gate it from now on with: pytest " in out
    assert "golden/checkpoints/mine/candidate.json: accepted for the first time" in out
    text = (project.configs / "mine.yaml").read_text()
    assert "path: ../fp32.onnx" in text
    assert quantbench("run", "mine/candidate")[0] == 0


def test_a_candidate_of_another_form_fails_against_what_was_accepted(compare, project, quantbench):
    compare("--save", "mine")
    saved(quantized(relu=True), project.root / "int8.onnx")
    status, _, err = quantbench("run", "mine/candidate")
    assert status == 1
    assert "mine/candidate: checkpoint: FAIL" in err


def test_a_candidate_that_fails_a_gate_is_not_saved(compare, files, project):
    wrong = saved(quantized(WRONG), project.root / "wrong.onnx")
    status, _, err = compare("--save", "mine", pair=(files[0], wrong))
    assert status == 1
    assert "configs/mine.yaml: not written, and nothing is accepted: a gate failed" in err
    assert not (project.configs / "mine.yaml").exists()
    assert not (project.golden / "results" / "mine").exists()


def test_what_is_guessed_is_told_and_what_is_given_is_kept(compare, files, project):
    _, out, _ = compare("--param", "mean=[0.5, 0.5, 0.5]")
    assert "guessed, since --param does not say it: size=8" in out
    assert "guessed, since --param does not say it: std=[" in out
    assert "does not say it: mean" not in out
    path = project.root / "record.json"
    fixed = saved(colours(batch=7), project.root / "fixed.onnx")
    compare("--batch-size", 3, "--json", path, pair=(fixed, files[1]))
    assert json.loads(path.read_text())["records"][0]["latency"]["batch_size"] == 3


def test_a_file_that_crashes_its_runtime_is_an_error_and_no_crash(compare, monkeypatch, machine):
    from quantbench.errors import CheckpointError
    from quantbench.session import pair

    def die(_work, *_, died):
        raise CheckpointError(died)

    monkeypatch.setattr(pair, "in_fresh_process", die)
    status, _, err = compare()
    assert (status, "fp32.onnx: backend 'onnxruntime' crashed in native code" in err) == (2, True)


def test_a_workload_that_is_there_is_not_written_over(compare, project):
    (project.configs / "mine.yaml").write_text("workload: {}\n")
    status, _, err = compare("--save", "mine")
    assert (status, (project.configs / "mine.yaml").read_text()) == (2, "workload: {}\n")
    assert err.splitlines()[-1].endswith(
        "configs/mine.yaml: is there already, with other content; save under another name, or remove it"
    )


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"candidate": "absent.onnx"}, "experiments.candidate.recipe.path: configs/../absent.onnx: no such file"),
        ({"candidate": "model.h5"}, "no backend is known for a file that ends in '.h5'; name one of .onnx"),
        ({"options": ("--data", "absent")}, "--data absent: no such folder or file"),
        ({"options": ("--param", "size")}, "--param size: give KEY=VALUE, such as size=96"),
        ({"options": ("--param", "mean=[1")}, "--param mean=[1: the value cannot be read as YAML"),
        ({"options": ("--save", "../x")}, "--save ../x: the name of a workload; use letters"),
        ({"options": ("--backend", "layuot=nhwc")}, "unknown parameter of backend 'onnxruntime': 'layuot'"),
        ({"options": ("--max-drop", "101")}, "gates.accuracy_drop_pp: Input should be less than or equal to 100"),
    ],
)
def test_a_mistake_is_one_line_with_status_2(compare, files, project, change, line):
    (project.root / "model.h5").write_bytes(b"HDF")
    candidate = project.root / change["candidate"] if "candidate" in change else files[1]
    status, _, err = compare(*change.get("options", ()), pair=(files[0], candidate))
    (told,) = [each for each in err.splitlines() if each.startswith("quantbench: ")]
    assert (status, line in told) == (2, True), told


def test_parameters_of_a_backend_are_given_to_both_files_or_to_one(compare, files, project):
    status, _, err = compare("--backend", "reference.output=logits", "--backend", "candidate.output=none")
    assert status == 2
    assert "int8.onnx: has no output 'none'; it has 'logits'" in err


def test_a_folder_of_workload_files_need_not_be_there(compare, project):
    nowhere = project.root / "nowhere"
    status, _, err = compare("--configs", nowhere)
    assert (status, err, nowhere.exists()) == (0, "", False)
    status, _, err = compare("--configs", nowhere, "--save", "first")
    assert (status, err) == (0, "")
    assert "path: ../fp32.onnx" in (nowhere / "first.yaml").read_text(), "as from a folder that was there"


def test_sounds_are_told_from_pictures(tmp_path):
    from quantbench.config.pair import data_of

    for name, file in (("pictures", "a.png"), ("sounds", "a.wav")):
        (tmp_path / name / "test" / "x").mkdir(parents=True)
        (tmp_path / name / "test" / "x" / file).touch()
    found = {name: data_of(tmp_path / name, tmp_path)["name"] for name in ("pictures", "sounds")}
    assert found == {"pictures": "image_folder", "sounds": "audio_folder"}
