"""A candidate that a function of the user's makes: what it is given, what it may return, and what is told otherwise."""

import os
import random
from pathlib import Path

import numpy as np
import onnx
import own_functions
import pytest
import torch
from files_made_elsewhere import colours, quantized, saved
from judged import measure_and_judge

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import ConfigError, ForeignError, QuantizationError
from quantbench.experiment.artifact import content_of
from quantbench.experiment.own_quantizer import CalibrationBatches
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.quantities.judging import judge
from quantbench.recipes.spec import Fp32

OF_FILE = """\
workload:
  reference: {path: ../net.onnx}
  data: {name: image_folder, root: images, size: 8, calibration_pool: 60}
  latency: {batch_size: 4, runtimes: [], rounds: 12}
experiments:
  own:
    recipe: {name: function, function: "own_quantize:int8"}
    gates: {accuracy_drop_pp: 10.0, int8_share: 1.0}
"""


@pytest.fixture
def own(project, monkeypatch):
    """Writes a module of quantizers, and gives the experiment that calls one of them."""
    monkeypatch.syspath_prepend(project.root)

    def run(text=None, function="rounded", gates="{accuracy_drop_pp: 10.0}", backend="", **params):
        if text is not None:
            own_functions.write(project.root, text)
        head = project.config.read_text().partition("experiments:")[0]
        given = "".join(f", {name}: {value}" for name, value in params.items())
        project.config.write_text(
            f'{head}experiments:\n  own:\n    recipe: {{name: function, function: "own_quantize:{function}"{given}}}\n'
            f"    gates: {gates}\n{backend and f'    backend: {backend}'}\n"
        )
        return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), "tiny/own")[0])

    yield run
    own_functions.forget()


@pytest.fixture
def of_file(project, monkeypatch):
    """The same of a workload whose reference is a file."""
    monkeypatch.syspath_prepend(project.root)
    saved(colours(), project.root / "net.onnx")
    project.config.write_text(OF_FILE)
    own_functions.write(project.root, own_functions.ONNX)

    def run(function="int8"):
        project.config.write_text(OF_FILE.replace("int8", function, 1))
        return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), "tiny/own")[0])

    yield run
    own_functions.forget()


def outcomes(run):
    """Outcome of each claim but those about what was accepted before."""
    return {each.quantity: each.outcome for each in measure_and_judge(run) if "accepted" not in each.quantity}


@pytest.mark.parametrize(("activations", "share"), [("false", 0.0), ("true", 24 / 13848)])
def test_weights_of_torchao_are_gated_end_to_end_as_what_they_are(own, activations, share):
    run = own(own_functions.TORCHAO, "int8", "{accuracy_drop_pp: 10.0, size_ratio: 0.1}", activations=activations)
    found = outcomes(run)
    assert found.pop("checkpoint") == "FAIL", "nothing was accepted"
    assert set(found.values()) == {"PASS"}, found
    weight = run.results["checkpoint"].keys["fc.weight"]
    assert (weight["class"], weight["dtype"], weight["shape"]) == ("Int8Tensor", "int8", [3, 8])
    assert weight["block_size"] == [1, 8]
    assert ("activation" in weight) is (activations == "true")
    assert run.results["coverage"].uncounted == []
    assert run.results["coverage"].int8_share == pytest.approx(share)
    plain = run.counterpart.payload_bytes
    # One byte for each of 24 weights, and a scale and a zero point for each of 3 rows.
    assert run.results["checkpoint"].payload_bytes == plain - 24 * 4 + 24 + 3 * 4 + 3


def test_twenty_lines_of_one_s_own_are_gated_with_parameters_and_calibration(own):
    run = own(own_functions.PLAIN, bits=4)
    found = outcomes(run)
    assert {found[name] for name in ("accuracy_drop_pp", "reload", "determinism")} == {"PASS"}
    assert run.experiment.recipe.params == (("bits", 4),)
    import own_quantize

    (batch,) = own_quantize.SEEN[:1]
    assert isinstance(batch, torch.Tensor)
    assert (batch.shape, batch.dtype) == ((60, 3, 8, 8), torch.float32)
    weights = run.loaded(1).module.fc.weight
    assert len((weights / (weights.abs().max() / 7)).round().unique()) <= 15


def test_a_function_that_quantizes_nothing_is_found(own):
    with pytest.raises(QuantizationError, match=r"^nothing was quantized: the file is not smaller"):
        measure_and_judge(own(own_functions.PLAIN, "same"))


def test_a_list_among_the_parameters_reaches_it_as_one(own):
    run = own(own_functions.PLAIN, bits=2, leave="[fc.weight, fc.bias]")
    kept, rounded = (run.loaded(1).module.get_parameter(name).unique().numel() for name in ("fc.weight", "conv.weight"))
    assert (kept, rounded) == (24, 3)
    assert judge(run, "determinism").outcome == "PASS"


def test_the_reference_stays_as_it_was_though_the_function_writes_into_its_model(own):
    run = own(own_functions.PLAIN, bits=2)
    before = run.baseline.artifact.sha256
    assert run.candidate.artifact.sha256 != before
    assert run.baseline.artifact.sha256 == before
    assert isinstance(run.baseline.artifact.recipe, Fp32)


def test_an_edit_of_the_function_makes_the_candidate_again(own, project, capsys):
    assert own(own_functions.PLAIN).candidate.kept is None
    assert own().candidate.kept is not None
    own_functions.edit(project.root, "levels = 2 ** (bits - 1) - 1", "levels = 2 ** (bits - 2) - 1")
    assert own().candidate.kept is None
    assert own().candidate.kept is not None
    assert own(bits=3).candidate.kept is None, "another parameter"


def test_the_modules_of_function_and_structure_are_in_the_key_before_it_is_called(own):
    run = own(own_functions.PLAIN, "half", structure='"own_quantize:wrapped"')
    assert "own_quantize" in content_of(run.opened, run.experiment, run.backend)["code"]


@pytest.mark.parametrize("by", ["torch", "numpy"])
def test_a_function_that_draws_at_random_is_found(own, by):
    verdict = judge(own(own_functions.PLAIN, "drawn", by=by), "determinism")
    assert verdict.outcome == "FAIL"
    assert "the checkpoint differs in 'fc.bias'" in verdict.measured


@pytest.mark.usefixtures("real_processes")
def test_a_fresh_process_finds_the_function_and_the_structure_and_makes_the_same_bits(own):
    run = own(own_functions.EAGER, "int8", structure='"own_quantize:structure"')
    assert [judge(run, name).outcome for name in ("determinism", "reload")] == ["PASS", "PASS"]


def test_a_converted_model_is_loaded_into_the_structure_that_a_second_function_gives(own):
    run = own(own_functions.EAGER, "int8", structure='"own_quantize:structure"', gates="{int8_share: 1.0}")
    found = outcomes(run)
    assert {found[name] for name in ("int8_share", "reload", "determinism")} == {"PASS"}
    assert run.results["checkpoint"].keys["conv.weight"]["dtype"] == "qint8"


def test_a_file_is_given_and_returned_and_gated_by_the_backend_that_loads_it(of_file, project):
    run = of_file()
    found = outcomes(run)
    assert {found[name] for name in ("accuracy_drop_pp", "int8_share", "reload", "determinism")} == {"PASS"}
    assert run.experiment.backend.name == "onnxruntime"
    assert (run.artifact.path.parent.name, run.artifact.path.name) == ("made", "int8.onnx")
    assert run.artifact.path.is_relative_to(project.root / "cache")
    assert run.results["coverage"].int8_macs > 0


def test_a_function_that_is_given_a_module_may_return_a_file_of_another_runtime(own, project):
    saved(quantized(), project.root / "elsewhere.onnx")
    run = own(own_functions.PLAIN, "elsewhere", backend="onnxruntime")
    assert [judge(run, name).outcome for name in ("reload", "determinism")] == ["PASS", "PASS"]
    assert run.evaluation.accuracy > 0.8


def test_a_state_dict_as_a_file_is_loaded_as_a_returned_module_s(own):
    run = own(own_functions.PLAIN, "state")
    assert [judge(run, name).outcome for name in ("reload", "determinism")] == ["PASS", "PASS"]
    assert run.artifact.path.name == "own.pt"


def test_files_beside_it_are_copied_on_the_way_in_and_out(of_file, project):
    onnx.save_model(
        colours(), project.root / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0
    )
    run = of_file("in_place")
    assert [path.name for path in run.artifact.files] == ["net.onnx", "net.data"]
    assert all(path.is_relative_to(project.root / "cache") for path in run.artifact.files)
    assert judge(run, "reload").outcome == "PASS"


def test_a_copy_may_be_written_over(of_file, project):
    run = of_file("in_place")
    assert run.artifact.path.name == "net.onnx"
    assert run.artifact.path != project.root / "net.onnx"


WRONG = {
    "structure": (
        "half",
        {},
        r"'own_quantize:half' returned an nn\.Module that cannot be loaded from its file: the state dict of what .* "
        r"does not fit the structure of the fp32 model: 'conv\.weight' is missing; .*; give structure: ",
    ),
    "its own structure": (
        "half",
        {"structure": '"own_quantize:nothing"'},
        r"recipe\.structure: 'own_quantize:nothing' returned a NoneType; return an nn\.Module$",
    ),
    "hidden": (
        "hidden",
        {},
        r"returned an nn\.Module that computes what its state dict does not hold: .* other outputs",
    ),
    "unsafe": ("unsafe", {}, r"cannot be loaded from its file: refused: opening it could run code"),
    "no model": ("strange", {}, r"returned a dict; return the quantized nn\.Module, or the path of its file$"),
    "no file": ("absent", {}, r"returned the path \S+nowhere\.onnx, and there is no such file$"),
    "a file of another backend": (
        "other",
        {},
        r"returned own\.onnx, which backend 'onnxruntime' loads and 'torch' does not; set backend: onnxruntime$",
    ),
    "another backend": (
        "rounded",
        {"backend": "onnxruntime"},
        r"returned an nn\.Module, which backend 'onnxruntime' does not load; set backend: torch$",
    ),
}


@pytest.mark.parametrize(("function", "given", "line"), WRONG.values(), ids=WRONG)
def test_what_is_no_model_of_the_backend_is_one_line(own, function, given, line):
    run = own(own_functions.PLAIN, function, **given)
    with pytest.raises(QuantizationError, match=line) as error:
        run.candidate  # noqa: B018 — made now
    assert "\n" not in str(error.value)


def test_a_structure_that_fits_takes_what_the_fp32_model_s_does_not(own):
    run = own(own_functions.PLAIN, "half", structure='"own_quantize:wrapped"')
    assert judge(run, "reload").outcome == "PASS"


def test_a_module_without_a_factory_is_refused(of_file):
    with pytest.raises(QuantizationError, match=r"of which net\.onnx tells no structure .* return the path of a file$"):
        of_file("module").candidate  # noqa: B018 — made now


def test_a_function_that_changes_the_reference_s_file_is_told(of_file, project):
    with pytest.raises(
        QuantizationError, match=r"'own_quantize:vandal' changed \S*net\.onnx, which it was given a copy"
    ):
        of_file("vandal").candidate  # noqa: B018 — made now


MISTAKES = {
    "unknown parameter": (
        "rounded",
        {"bit": 4},
        r"recipe: unknown parameter of 'own_quantize:rounded': 'bit'\. Did you mean 'bits'\? Known: bits, func",
    ),
    "missing parameter": (
        "needy",
        {},
        r"recipe: 'own_quantize:needy': missing a required argument: 'bits'; it is call",
    ),
    "no function": ("gone", {}, r"recipe\.function: cannot import 'own_quantize:gone': module 'own_quantize' has no"),
    "no callable": ("CONSTANT", {}, r"recipe\.function: 'own_quantize:CONSTANT' is not callable"),
    "no structure": (
        "half",
        {"structure": '"own_quantize:gone"'},
        r"recipe\.structure: cannot import 'own_quantize:gon",
    ),
}


@pytest.mark.parametrize(("function", "given", "line"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_recipe_is_one_line_when_it_runs(own, function, given, line):
    run = own(own_functions.PLAIN, function, **given)
    with pytest.raises(ConfigError, match=line) as error:
        run.candidate  # noqa: B018 — made now
    assert "\n" not in str(error.value)


def test_whatever_it_raises_is_one_line(own):
    with pytest.raises(ForeignError, match=r"^tiny/own: 'own_quantize:raising' raised KeyError: 'width', at own_quant"):
        own(own_functions.PLAIN, "raising").candidate  # noqa: B018 — made now


def test_it_leaves_random_states_settings_and_folder_of_the_process(own):
    run = own(own_functions.PLAIN, "leaving")
    run.baseline.artifact  # noqa: B018 — made before
    before = surroundings()
    run.candidate  # noqa: B018 — made now
    os.environ.pop("CI", None)
    assert surroundings() == before


def test_a_run_goes_on_with_the_other_experiments_and_with_its_environment(own, project, quantbench, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    own(own_functions.PLAIN, "leaving")
    text = project.config.read_text()
    other = text.partition("experiments:\n")[2].replace("own:\n", "raising:\n", 1).replace(":leaving", ":raising")
    project.config.write_text(text + other)
    status, out, err = quantbench("run", "tiny/*")
    assert (status, "CI" in os.environ) == (2, False)
    assert "tiny/own " in out
    assert "tiny/raising: 'own_quantize:raising' raised KeyError: 'width'" in err


def surroundings():
    """What decides the results of others; the environment is put back by the session."""
    return (
        torch.get_num_threads(), Path.cwd(), random.getstate(), np.random.get_state()[1].tolist(),
    )  # fmt: skip


def test_batches_are_drawn_when_asked_for_and_again_each_time_as_copies():
    drawn, held = [], np.zeros((2, 3), np.float32)

    def draw():
        drawn.append(1)
        yield {"input": held}

    arrays = CalibrationBatches(draw, as_tensors=False)
    assert drawn == []
    for _ in range(2):
        (batch,) = arrays
        assert isinstance(batch, np.ndarray)
        batch += 1
    (batch,) = CalibrationBatches(draw, as_tensors=True)
    assert batch.tolist() == [[0, 0, 0]] * 2
    assert len(drawn) == 3


def test_batches_of_several_inputs_come_by_name():
    batch = {"ids": np.zeros((2, 3), np.int64), "mask": np.ones((2, 3), np.int64)}
    (found,) = CalibrationBatches(lambda: [batch], as_tensors=True)
    assert {name: value.dtype for name, value in found.items()} == {"ids": torch.int64, "mask": torch.int64}
