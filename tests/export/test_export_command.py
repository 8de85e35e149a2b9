"""`quantbench export`: the files that were measured, their card, and a program that needs their runtime alone."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from files_made_elsewhere import quantized
from programs import program_in
from scored_models import FEATURES, linear, workload

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import ConfigError, QuantizationError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.export import programs, writing
from quantbench.files import sha256_of_file
from quantbench.records.export_card import ExportedTensor, read_export_card
from quantbench.upstream import silenced

READY = """\
  ready:
    recipe: {name: ready_made, path: ../made/int8.onnx}
    backend: onnxruntime
    gates: {accuracy_drop_pp: 100}
"""
# Nothing that was installed is found but the runtime and numpy.
CHILD = """
import runpy, sys
from importlib.machinery import PathFinder

class Alone(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        found = PathFinder.find_spec(name, path, target)
        installed = found is not None and "site-packages" in str(found.origin or found.submodule_search_locations)
        return None if installed and name.partition(".")[0] not in ("numpy", "onnxruntime") else found

sys.meta_path[sys.meta_path.index(PathFinder)] = Alone
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(sorted({"torch", "onnx", "quantbench", "scipy", "pydantic"} & set(sys.modules)))
"""


@pytest.fixture
def ready(project):
    """The project with an experiment that is a file made elsewhere, its values in a folder beside it."""
    (project.root / "made").mkdir()
    project.config.write_text(project.config.read_text() + READY)
    given = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save_model(quantized(), project.root / "made" / "int8.onnx", **given)
    return project


def run_of(project, name):
    return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), f"tiny/{name}")[0])


def test_a_file_made_elsewhere_runs_with_its_runtime_alone_and_answers_bit_by_bit(quantbench, ready, tmp_path):
    status, out, err = quantbench("export", "tiny/ready", "--out", "handed/on")
    assert status == 0, err
    folder = ready.root / "handed" / "on"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "card.json", "int8.onnx", "run.py", "weights.bin",
    ]  # fmt: skip
    assert f"  weights.bin: artifact, {(folder / 'weights.bin').stat().st_size:,} bytes" in out
    run = run_of(ready, "ready")
    samples = next(run.opened.splits.test.batches(32, 32))["input"]
    np.savez(tmp_path / "batch.npz", x=samples)
    told = subprocess.run(
        [sys.executable, "-I", "-c", CHILD, folder / "run.py", tmp_path / "batch.npz", tmp_path / "answers.npz"],
        check=True, capture_output=True, text=True, cwd=tmp_path,
    ).stdout.splitlines()  # fmt: skip
    assert told[0].startswith("logits (32, 3) ")
    assert told[-1] == "[]"
    answers = np.load(tmp_path / "answers.npz")["logits"]
    assert answers.tobytes() == run.loaded(1)({"input": samples})["logits"].tobytes()


def test_without_a_batch_a_program_that_takes_indices_is_given_zeros(tmp_path, monkeypatch, capsys):
    program_in(tmp_path / "m.pt", torch.nn.Embedding(1, 2), torch.zeros(4, 3, dtype=torch.int64))
    ids = ExportedTensor(name="ids", dtype="int64", shape=[None, 3])
    (tmp_path / "run.py").write_text(programs.program("torchscript", "m.pt", "a", [ids]))
    monkeypatch.setattr(sys, "argv", ["run.py"])
    with silenced():
        runpy.run_path(str(tmp_path / "run.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith("output (4, 3, 2) ")


def test_its_card_says_what_it_is_and_how_accurate(quantbench, ready):
    ready.edit("  baseline: tiny", "  baseline: tiny\n  licence: CC0-1.0")
    assert quantbench("export", "tiny/ready", "--out", "out")[0] == 0
    card, run = read_export_card(ready.root / "out" / "card.json"), run_of(ready, "ready")
    a = run.accuracy
    told = card.accuracy
    assert card.score is None
    assert (told.n, told.accuracy, told.drop_pp, told.drop_interval_pp) == (
        150, a.quantized, a.drop_pp, a.drop_interval_pp,
    )  # fmt: skip
    assert card.test_sha256 == run.opened.splits.test.sha256
    assert {each.name: each.sha256 for each in card.files if each.role == "artifact"} == {
        path.name: sha256_of_file(path) for path in run.artifact.files
    }
    assert card.command == "quantbench export tiny/ready --out out"
    assert card.licence == "CC0-1.0"
    assert card.classes == ["blue", "green", "red"]
    assert set(card.requires) == {"onnxruntime", "numpy"}
    (taken,) = card.inputs
    assert (taken.name, taken.dtype, taken.shape) == ("x", "float32", [None, 3, 8, 8])
    page = (ready.root / "out" / "README.md").read_text()
    assert f"pip install onnxruntime=={card.requires['onnxruntime']} " in page
    assert f"| accuracy | {100 * told.accuracy:.2f} % [" in page
    assert "| licence of the weights | CC0-1.0 |" in page
    assert all(each.sha256 in page for each in card.files)


def answers_of(folder, batch, monkeypatch):
    """Those of the folder's program, run in this process."""
    np.savez(folder / "batch.npz", input=batch)
    monkeypatch.setattr(sys, "argv", ["run.py", str(folder / "batch.npz"), str(folder / "answers.npz")])
    # torch announces the end of quantized tensors and of torch.jit.
    with silenced():
        runpy.run_path(str(folder / "run.py"), run_name="__main__")
    return np.load(folder / "answers.npz")["output"]


@pytest.mark.parametrize("name", ["ptq_static_int8_per_channel", "ptq_dynamic_int8", "fp32_baseline"])
def test_a_state_dict_has_its_program_beside_it_which_answers_the_same(quantbench, project, monkeypatch, name):
    status, _, err = quantbench("export", f"tiny/{name}", "--out", "out")
    assert status == 0, err
    card = read_export_card(project.root / "out" / "card.json")
    assert [each.role for each in card.files] == [
        "artifact", "the same model with its code, as a TorchScript program", "program",
    ]  # fmt: skip
    assert set(card.requires) == {"torch", "numpy"}
    assert card.licence == "not stated"
    assert card.revision is None
    run = run_of(project, name)
    for n in (7, 1):
        batch = next(run.opened.splits.test.batches(n, n))["input"]
        expected = run.loaded(1)({"input": batch})["output"]
        np.testing.assert_array_equal(answers_of(project.root / "out", batch, monkeypatch), expected)


@pytest.fixture
def numbers(project):
    """A workload of a regression: two files made elsewhere, and numbers as they are stored."""
    random = np.random.RandomState(0)
    weight, inputs = random.randn(FEATURES, 1).astype(np.float32), random.randn(300, FEATURES).astype(np.float32)
    (project.root / "configs").mkdir(exist_ok=True)
    linear(project.root / "configs" / "fp32.onnx", weight)
    linear(project.root / "configs" / "int8.onnx", weight, int8=True)
    targets = (inputs @ weight)[:, 0] + random.randn(300)
    return project, workload(project.root, "rmse", inputs, targets.astype(np.float32), "{score_drop: 0.5}")


def test_a_figure_that_is_no_accuracy_stands_on_the_card_in_its_unit(quantbench, numbers):
    status, out, err = quantbench("export", "numbers/rounded", "--out", "out")
    assert status == 0, err
    card = read_export_card(numbers[0].root / "out" / "card.json")
    assert card.accuracy is None
    assert (card.score.task, card.score.higher_is_better, card.score.n) == ("rmse", False, 300)
    low, high = card.score.interval
    assert low < card.score.value < high
    assert (
        f"numbers/rounded: {card.score.value:.4g} root mean square error [{low:.4g}, {high:.4g}] (95 %, n = 300)" in out
    )
    page = (numbers[0].root / "out" / "README.md").read_text()
    assert f"the reference has {card.score.reference:.4g} root mean square error" in page
    assert "| normalization | none: inputs are given as they are stored |" in page
    content = json.loads((numbers[0].root / "out" / "card.json").read_text())
    content["score"]["drop"] += 1.0
    (numbers[0].root / "out" / "card.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="a drop of "):
        read_export_card(numbers[0].root / "out" / "card.json")


def test_such_figures_are_not_compared_by_flips(quantbench, numbers):
    text = numbers[1].read_text()
    numbers[1].write_text(text + text[text.index("  rounded:") :].replace("rounded", "again"))
    status, _, err = quantbench("parity", "numbers", "rounded", "again", "--experiments", "--no-speed")
    assert status == 2
    assert "workload.task: parity counts answers that are right or wrong, and the scores of task 'rmse' are root" in err


def test_a_gate_of_parity_on_such_figures_names_the_one_to_set(quantbench, numbers):
    text = numbers[1].read_text()
    gates = "    parity_with: again\n    gates: {parity_pp: 1.0}\n"
    numbers[1].write_text(text + text[text.index("  rounded:") :].replace("rounded", "again")
                                    + "  held:\n    recipe: {name: ready_made, path: int8.onnx}\n" + gates)  # fmt: skip
    status, _, err = quantbench("run", "numbers/held")
    assert status == 2
    assert "the scores of task 'rmse' are not 0 and 1; gate score_drop, in root mean square error" in err


def test_a_report_shows_such_figures_and_the_front_of_what_is_lost(quantbench, numbers, machine):
    quantbench("run", "numbers/rounded", "--json", "records.json")
    status, out, err = quantbench("report", "records.json", "--out", "report")
    assert (status, out, err) == (0, "report/pareto.md\n", "")
    page = (numbers[0].root / "report" / "pareto.md").read_text()
    assert "**numbers** (n = " in page
    assert "| front | experiment | root mean square error [95 %] | lost [95 %] | bytes | time / fp32 [99 %] |" in page
    assert "| ● | rounded |" in page
    assert "root mean square error |" in page


def test_through_another_backend_it_is_the_same_recipe(quantbench, project):
    assert quantbench("export", "tiny/fp32_baseline", "--backend", "torch", "--out", "out")[0] == 0
    card = read_export_card(project.root / "out" / "card.json")
    assert (card.experiment, card.backend) == ("tiny/fp32_baseline-torch", {"name": "torch"})
    assert card.accuracy.drop_pp == 0.0


def test_a_backend_without_a_known_program_says_so(quantbench, ready, monkeypatch):
    monkeypatch.delitem(programs.RUNTIMES, "onnxruntime")
    status, out, _ = quantbench("export", "tiny/ready", "--out", "out")
    assert status == 0
    assert out.splitlines()[-1] == "  no program is known for backend 'onnxruntime'"
    assert not (ready.root / "out" / "run.py").exists()
    assert "No program is known for this backend" in (ready.root / "out" / "README.md").read_text()


REFUSED = {
    "holds something": (("tiny/fp32_baseline", "--out", "configs"), "--out configs: is there already; name a folder"),
    "a file": (("tiny/fp32_baseline", "--out", "configs/tiny.yaml"), "--out configs/tiny.yaml: is there already"),
    "below a file": (("tiny/fp32_baseline", "--out", "configs/tiny.yaml/x"), "cannot be made (File exists)"),
    "two experiments": (("tiny/ptq_*", "--out", "out"), "tiny/ptq_*: 2 experiments match; name one, such as tiny/ptq_"),
    "no experiment": (("tiny/ptq", "--out", "out"), "unknown experiment 'tiny/ptq'"),
    "no backend": (("tiny/fp32_baseline", "--backend", "onxruntime", "--out", "out"), "--backend: unknown backend"),
    "not made": (("tiny/qat_int8", "--out", "out"), "qat_int8.safetensors"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_in_one_line_and_nothing_is_written(quantbench, project, arguments, message):
    before = sorted(project.root.rglob("*"))
    status, out, err = quantbench("export", *arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert [path for path in sorted(project.root.rglob("*")) if path not in before and "cache" not in path.parts] == []


def test_an_empty_folder_is_filled(quantbench, project):
    (project.root / "out").mkdir()
    assert quantbench("export", "tiny/fp32_baseline", "--out", "out")[0] == 0
    assert (project.root / "out" / "card.json").is_file()


def test_an_error_halfway_leaves_nothing(project, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "readme", fail)
    with pytest.raises(ConfigError, match=r"/out: cannot be written \(No space left on device\)"):
        writing.export(run_of(project, "fp32_baseline"), project.root / "out", "here")
    assert not (project.root / "out").exists()
    assert not [path for path in project.root.iterdir() if path.name.startswith(".")]


def test_a_file_that_changed_after_it_was_measured_is_refused(project):
    run = run_of(project, "ptq_dynamic_int8")
    assert run.accuracy.n == 150
    path = run.artifact.path
    loaded, run.loaded = run.loaded(1), lambda _: loaded
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(Exception, match="is not the file that was measured before; export it again"):
        writing.export(run, project.root / "out", "here")
    assert not (project.root / "out").exists()


def test_a_model_whose_code_depends_on_values_is_refused_by_its_trace(project, monkeypatch):
    from quantbench.backends import tracing

    monkeypatch.setattr(tracing, "_same", lambda *_: False)
    with pytest.raises(QuantizationError, match="TinyCNN answers otherwise once it is traced"):
        writing.export(run_of(project, "fp32_baseline"), project.root / "out", "here")
    assert not (project.root / "out").exists()


@pytest.fixture(scope="session")
def exported(made_once, trained_project, made_artifacts):
    """Made once: a folder that was exported."""

    def make(root):
        with pytest.MonkeyPatch.context() as patch:
            trained_project.keep_all_within(patch)
            patch.setenv("QUANTBENCH_CACHE", str(made_artifacts))
            writing.export(run_of(trained_project, "fp32_baseline"), root, "here")

    return made_once("exported", make)


@pytest.fixture
def card(exported, tmp_path):
    """The path of a card in a copy of it."""
    return Path(shutil.copytree(exported, tmp_path / "out")) / "card.json"


WRONG = {
    "version": ({"schema_version": 1}, "schema_version 1 is not 2; export it again"),
    "drop": ({"accuracy": {"drop_pp": 3.0}}, "drop_pp 3.0, but lost 0 and gained 0 of n 150"),
    "interval": ({"accuracy": {"accuracy_interval": [0.0, 1.0]}}, "accuracy_interval [0.0, 1.0], but accuracy"),
    "loss interval": ({"accuracy": {"drop_interval_pp": [-1.0, 1.0]}}, "drop_interval_pp [-1.0, 1.0], but lost 0"),
    "counts": ({"accuracy": {"lost": 200}}, "lost 200 and gained 0"),
    "no figure": ({"accuracy": None}, "0 figures of its task; one is expected"),
    "nothing": ({"files": []}, "no artifact among its files"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_card_that_contradicts_itself_is_refused(card, change, message):
    content = json.loads(card.read_text())
    card.write_text(json.dumps(content | {
        key: content[key] | value if isinstance(value, dict) else value for key, value in change.items()
    }))  # fmt: skip
    with pytest.raises(ConfigError) as error:
        read_export_card(card)
    assert message in str(error.value)


def test_a_file_that_is_not_the_cards_is_refused(card):
    program = card.with_name("run.py")
    program.write_text(program.read_text() + "\n")
    with pytest.raises(ConfigError, match=r"run\.py: is not the file that was exported: its sha256 is "):
        read_export_card(card)
    program.unlink()
    with pytest.raises(ConfigError, match=r"run\.py: cannot be read \(No such file or directory\)"):
        read_export_card(card)
