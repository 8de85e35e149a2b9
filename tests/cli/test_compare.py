"""`quantbench compare`: two files that were made elsewhere, gated with one command."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from files_made_elsewhere import COLOURS, colours, quantized, saved
from onnx_models import constants, model
from PIL import Image
from programs import program_in
from safetensors.torch import save_file

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


@pytest.mark.parametrize("options", [(), ("--save", "other")])
def test_a_gate_of_a_pair_in_no_file_leads_on_by_the_same_command(compare, files, project, options):
    _, _, err = compare(*options, pair=(files[0], saved(quantized(WRONG), project.root / "wrong.onnx")))
    lines = [line.strip() for line in err.splitlines()]
    assert (
        "look further: quantbench compare … --json record.json: this command again, with a record of every figure"
        in lines
    )
    assert "accept:       this command again with the bound that you accept: --max-drop …" in lines
    assert "quantbench run" not in err
    assert "gates" not in err


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


def test_guessed_statistics_are_refused_where_others_make_the_reference_surely_more_accurate(
    files, project, quantbench
):
    random = np.random.RandomState(0)
    for label in range(3):
        folder = project.root / "faint" / f"c{label}"
        folder.mkdir(parents=True)
        for at in range(40):
            # The same in all channels but one, which is brighter by less than the statistics of CIFAR-10 differ.
            pixels = np.repeat(random.randint(110, 146, (8, 8, 1)), 3, axis=2).astype(np.uint8)
            pixels[:, :, label] += 6 if at % 2 else 60
            Image.fromarray(pixels).save(folder / f"{at}.png")
    data = ("compare", *files, "--data", project.root / "faint", "--max-drop", 10)
    status, out, err = quantbench(*data)
    assert (status, "PASS" in out.splitlines()[1] and "error" not in out.splitlines()[1]) == (2, False)
    (line,) = [line for line in err.splitlines() if "statistics that were guessed" in line]
    assert "its accuracy is 66.7 % (n=120) with statistics that were guessed, and with " in line
    assert "it is 100.0 % (n=" in line
    assert line.endswith("say which the model was trained with: --param 'mean=[…]' --param 'std=[…]'")
    status, out, _ = quantbench(*data, "--param", "mean=[0, 0, 0]", "--param", "std=[1, 1, 1]")
    assert (status, out.splitlines()[1].split()[1]) == (0, "100.00")


def brightness(path):
    """A file of grey pictures that answers dark, middle or bright, where values lie in -1..1."""
    from onnx import helper

    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["mean"], "flatten"),
        helper.make_node("Gemm", ["mean", "weight", "bias"], ["logits"], name="fc"),
    ]
    values = constants(weight=np.array([[-1, 0, 1]], np.float32), bias=np.array([0, 0.6, 0], np.float32))
    return saved(model(nodes, {"x": ["n", 1, 8, 8]}, {"logits": ["n", 3]}, values), path)


def test_a_wrong_guess_for_grey_pictures_is_refused_too(project, quantbench):
    for at, (name, value) in enumerate({"0_dark": 6, "1_middle": 128, "2_bright": 249}.items()):
        folder = project.root / "greys" / name
        folder.mkdir(parents=True)
        for i in range(40):
            pixels = np.full((8, 8), value + i % 3, np.uint8)
            pixels[0, :2] = i, at
            Image.fromarray(pixels).save(folder / f"{i}.png")
    pair = [brightness(project.root / name) for name in ("a.onnx", "b.onnx")]
    data = ("compare", *pair, "--data", project.root / "greys", "--max-drop", 10)
    status, _, err = quantbench(*data)
    assert status == 2
    (line,) = [line for line in err.splitlines() if "statistics that were guessed" in line]
    assert "its accuracy is 66.7 % (n=120) with statistics that were guessed, and with " in line
    assert "(data: mean=[0.485], std=[0.229]) it is 100.0 % (n=" in line


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


def test_two_files_are_compared_and_saved_where_there_is_no_folder_of_workloads(compare, project, quantbench):
    shutil.rmtree(project.configs)
    assert compare()[0] == 0
    assert not project.configs.exists()
    assert compare("--save", "mine")[0] == 0
    assert "path: ../fp32.onnx" in (project.configs / "mine.yaml").read_text()
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


def test_a_crop_tells_the_size_and_statistics_are_still_guessed(compare):
    status, out, _ = compare("--param", "resize=8", "--param", "crop=8")
    assert (status, "88.67" in out) == (0, True)
    assert "=8" not in out
    assert "guessed, since --param does not say it: mean=[" in out


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


def test_a_mistake_in_a_pair_names_no_file_that_is_not_there(compare):
    _, _, err = compare("--max-drop", 101)
    assert "configs/compare.yaml" not in err
    _, _, err = compare("--param", "size=7")
    assert "compare (as the command line says, in no file): workload.data" in err
    assert "configs/compare.yaml" not in err


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


FACTORY = """\
import torch


class Colours(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1)

    def forward(self, x):
        found = self.conv(x)
        return {"maps": found, "logits": found.mean((2, 3))}
"""


@pytest.fixture
def state(project, request):
    """A state dict, wrapped as trainings do, and its factory in a module of the project."""
    (project.root / "their_colours.py").write_text(FACTORY)
    path = project.root / "weights.pth"
    weights = {"conv.weight": torch.eye(3)[:, :, None, None], "conv.bias": torch.zeros(3)}
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in weights.items()}}, path)
    yield path
    sys.modules.pop("their_colours", None)


def test_a_state_dict_is_compared_with_its_factory(compare, files, state, project, quantbench):
    status, out, err = compare("--model", "their_colours:Colours", "--save", "mine", pair=(state, files[1]))
    assert (status, "FAIL" in err) == (0, False)
    assert out.splitlines()[1].split()[:2] == ["mine/candidate", "88.67"]
    assert "mine: output 'logits' holds the answers; not used: 'maps' [64, 3, 8, 8]" in out
    assert "model:\n      name: their_colours:Colours" in (project.configs / "mine.yaml").read_text()
    assert quantbench("run", "mine/candidate")[0] == 0


def test_two_state_dicts_of_one_factory_are_compared(compare, state, project, quantbench):
    other = project.root / "other.safetensors"
    save_file({"conv.weight": torch.eye(3)[[1, 0, 2]][:, :, None, None], "conv.bias": torch.zeros(3)}, other)
    status, _, err = compare("--model", "their_colours:Colours", "--param", "size=8", pair=(state, other))
    assert (status, "accuracy_drop_pp: FAIL" in err) == (1, True)
    saved_as = ("--model", "their_colours:Colours", "--param", "size=8", "--save", "twice")
    assert compare(*saved_as, pair=(state, state))[0] == 0
    assert quantbench("run", "twice/candidate")[0] == 0


def test_a_state_dict_asks_for_its_factory_and_a_factory_for_a_state_dict(compare, files, state):
    status, _, err = compare(pair=(state, files[1]))
    assert (status, "weights.pth: is a state dict, which is no model alone; name the factory" in err) == (2, True)
    status, _, err = compare("--model", "their_colours:Colours")
    assert (status, "fp32.onnx, is no state dict; leave --model out" in err) == (2, True)


def test_parameters_of_a_backend_are_not_lost_on_a_state_dict(compare, files, state):
    model = ("--model", "their_colours:Colours")
    status, _, err = compare(*model, "--backend", "reference.output=maps", pair=(state, files[1]))
    assert (status, "--backend reference.output: " in err, "weights.pth is a state dict, run by its" in err) == (
        2,
        True,
        True,
    )
    status, _, err = compare(*model, "--backend", "layout=nchw", pair=(state, state))
    assert (status, "--backend reference.layout: " in err) == (2, True)
    assert compare(*model, "--backend", "layout=nchw", pair=(state, files[1]))[0] == 0, "for the file that takes it"


def test_a_program_of_torch_export_is_no_state_dict_whatever_its_suffix(compare, files, project):
    path = project.root / "program.pt"
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), path)
    for pair in ((path, files[1]), (files[0], path)):
        status, _, err = compare(pair=pair)
        assert (status, "program.pt: is a program of torch.export, which is loaded from a file named .pt2" in err) == (
            2,
            True,
        )


def test_weights_of_a_state_dict_are_never_written_over_by_adopting(compare, files, state, quantbench):
    compare("--model", "their_colours:Colours", "--save", "mine", pair=(state, files[1]))
    before = state.read_bytes()
    status, _, err = quantbench("adopt", "mine", state)
    assert (status, "is a file made elsewhere" in err, state.read_bytes() == before) == (2, True, True)


def test_probabilities_against_logits_are_told(compare, files, project):
    from onnx import helper

    soft = colours()
    soft.graph.node[-1].output[0] = "raw"
    soft.graph.node.append(helper.make_node("Softmax", ["raw"], ["logits"], "softmax", axis=1))
    status, out, err = compare(pair=(saved(soft, project.root / "soft.onnx"), files[1]))
    assert (status, err) == (0, "")
    assert "outputs of the reference are probabilities, of the candidate logits: which class is answered" in out


def test_the_output_that_holds_the_answers_is_found_or_asked_for(compare, files, project):
    from onnx import TensorProto, helper

    several = colours()
    several.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n", 3, 8, 8]))
    path = saved(several, project.root / "several.onnx")
    status, out, err = compare(pair=(path, files[1]))
    assert (status, err) == (0, "")
    assert "compare: output 'logits' holds the answers; not used: 'a' [64, 3, 8, 8]" in out
    several.graph.node.append(helper.make_node("Neg", ["logits"], ["other"], "neg"))
    several.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["n", 3]))
    saved(several, path)
    status, _, err = compare(pair=(path, files[1]))
    assert status == 2
    assert "expected one of logits [n, classes]; name the one that holds the answers (backend: {output: …})" in err
    assert compare("--backend", "reference.output=logits", pair=(path, files[1]))[0] == 0


def test_statistics_follow_from_the_scale_of_a_quantized_input():
    from quantbench.backends.file_inputs import TensorSpec
    from quantbench.session.pair import _pictures

    def found(scale, zero_point, dtype="int8"):
        return _pictures([TensorSpec("x", (1, 32, 32, 3), dtype, scale, zero_point)])

    assert found(1.0, -128) == found(1.0, 0, "uint8") == {"size": 32, "mean": [0.0] * 3, "std": [0.00392157] * 3}
    assert found(1 / 255, -128)["std"] == [1.0] * 3
    assert found(2 / 255, 0)["mean"] == [0.5] * 3
    assert found(0.0187, -13)["mean"] == [0.4914, 0.4822, 0.4465]
    grey = _pictures([TensorSpec("x", (1, 32, 32, 1), "int8", 2 / 255, 0)])
    assert grey == {"size": 32, "channels": "grey", "mean": [0.5], "std": [0.5]}
    untold = _pictures([TensorSpec("x", (1, 1, 32, 32), "float32", None, 0)])
    assert untold == {"size": 32, "channels": "grey", "mean": [0.0], "std": [1.0]}


def test_a_reference_hardly_better_than_chance_is_told_what_makes_it_accurate(compare):
    # Blue is answered unless another colour is far brighter.
    status, out, _ = compare("--param", "mean=[0.3, 0.494, 0.494]", "--param", "std=[0.25, 0.25, 0.25]")
    (line,) = [line for line in out.splitlines() if "is hardly more than the 33.33 %" in line]
    assert status == 0
    assert "(data: mean=[" in line


def test_two_inputs_and_no_names_are_asked_for_with_the_list(compare, files, project):
    from onnx import TensorProto, helper

    two = colours()
    two.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 3, 8, 8]))
    status, _, err = compare(pair=(saved(two, project.root / "two.onnx"), files[1]))
    assert status == 2
    assert "fits several of its inputs ('x' float32 [?, 3, 8, 8], 'mask' float32 [?, 3, 8, 8])" in err
    assert compare("--backend", "reference.constants={mask: 0}", pair=(project.root / "two.onnx", files[1]))[0] == 0


def test_a_layout_under_which_the_reference_is_at_chance_is_told_with_the_other(project, quantbench):
    # Three colours of three by three pixels: either layout fits.
    small = colours()
    for place in range(1, 4):
        small.graph.input[0].type.tensor_type.shape.dim[place].dim_value = 3
    path = saved(small, project.root / "small.onnx")
    labels, random = np.arange(300) % 3, np.random.RandomState(0)
    pixels = random.rand(300, 3, 3, 3).astype(np.float32)
    pixels[np.arange(300), labels] += 0.5
    np.savez(project.root / "pixels.npz", x=pixels, targets=labels)
    pair = ("compare", path, path, "--data", "pixels.npz", "--backend", "candidate.layout=nchw")
    status, _, err = quantbench(*pair)
    assert (status, "with channels first or last alike; name which" in err) == (2, True)
    status, _, err = quantbench(*pair, "--backend", "reference.layout=nhwc")
    (line,) = [line for line in err.splitlines() if "nothing is compared with it" in line]
    assert (status, "; with layout=nchw (reference.backend) it is " in line) == (2, True), line
