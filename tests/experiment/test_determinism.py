"""The same seed on the same machine gives the same bits; where it does not, that is found and named."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from all_made_again import THREADS
from judged import measure_and_judge
from tiny_layers import add_layer_experiments

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import BaselineError, DataMissingError
from quantbench.experiment.baseline import Baseline
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.quantities.judging import explain, judge
from quantbench.registry import RECIPES

pytestmark = pytest.mark.usefixtures("real_processes")

STATIC = "ptq_static_int8_per_channel"
TESTS = Path(__file__).parents[1]

MODELS = """\
import numpy as np
import torch
from tiny_model import TinyCNN


class Noisy(TinyCNN):
    '''What it computes with in eval mode was drawn when it was built.'''

    def __init__(self, drawn):
        super().__init__(3, 8)
        self.register_buffer("drawn", drawn, persistent=False)

    def forward(self, x):
        return super().forward(x) + self.drawn


class Dropping(TinyCNN):
    '''Forgot to stop dropping when it does not train.'''

    def forward(self, x):
        return super().forward(torch.nn.functional.dropout(x, 0.5, training=True))


def by_torch():
    return Noisy(torch.randn(3))


def by_numpy():
    return Noisy(torch.from_numpy(np.random.rand(3)).float())


def seeded():
    return Noisy(torch.randn(3, generator=torch.Generator().manual_seed(0)))


def threaded():
    return Noisy(torch.full((3,), float(torch.get_num_threads())))


def dropping():
    return Dropping(3, 8)
"""


def run_of(project, name=STATIC, **settings):
    """The experiment's run in a session of its own."""
    experiment = select(load_experiments(project.configs), f"tiny/{name}")[0]
    return Runs(Settings(project.golden, **settings)).run(experiment)


@pytest.fixture
def with_model(project, monkeypatch):
    """Gives the project a user's own model, from a module that only this project has."""

    def use(factory):
        (project.root / "drawing_models.py").write_text(MODELS)
        monkeypatch.syspath_prepend(project.root)
        monkeypatch.delitem(sys.modules, "drawing_models", raising=False)
        project.edit("tiny_model:tiny_cnn", f"drawing_models:{factory}")
        return project

    return use


def made_in_an_interpreter(folder, order):
    """Starts it, with a hash seed, and for each number of threads a cache and a folder of goldens of its own."""
    # Threads that spin while they wait slow each other down manyfold where there are fewer cores than threads.
    surroundings = {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONHASHSEED": "1" if order == "forwards" else "2"}
    return subprocess.Popen(
        [sys.executable, TESTS / "all_made_again.py", folder, order],
        env={**os.environ, **surroundings},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_trained_and_quantized_twice_in_new_interpreters_everything_has_the_same_bits(project, tmp_path):
    add_layer_experiments(project)
    started = []
    for order in ("forwards", "backwards"):
        for threads in THREADS:
            ignored = shutil.ignore_patterns("golden", "quantized")
            shutil.copytree(project.root, tmp_path / order / str(threads), ignore=ignored)
        started.append(made_in_an_interpreter(tmp_path / order, order))
    first, second = (json.loads(process.communicate(timeout=300)[0]) for process in started)
    assert list(first) == ["1", "2"]
    assert list(second) == ["2", "1"]
    assert first == second
    for made in first.values():
        tried = {name.rpartition(" by ")[2] for name in made}
        assert set(RECIPES.names()) - tried == {
            "function", "low_bit", "qat_int8_layers", "qat_int8_pow2", "ready_made", "weight_only_int4",
            "weight_only_int8",
        }  # fmt: skip
        assert {"training", "QAT"} <= tried


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["fp32_baseline", "ptq_dynamic_int8", STATIC])
def test_every_experiment_comes_out_the_same_in_a_fresh_process(project, name, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        verdict = judge(run_of(project, name), "determinism")
    finally:
        torch.set_num_threads(before)
    assert (verdict.outcome, verdict.measured) == ("PASS", "bit-identical")


def test_a_folder_of_goldens_may_be_named_from_the_current_one(project):
    experiment = select(load_experiments(Path("configs")), f"tiny/{STATIC}")[0]
    assert judge(Runs(Settings(Path("golden"))).run(experiment), "determinism").outcome == "PASS"


def test_a_fine_tuned_experiment_is_converted_again_from_the_weights_just_trained(project):
    run = run_of(project, "qat_int8", retrain=True)
    assert judge(run, "determinism").outcome == "PASS"
    assert run.measured("repetition").sha256


@pytest.mark.parametrize("engine", ["x86", "qnnpack"])
def test_the_fresh_process_computes_with_the_same_engine(project, engine):
    if engine not in torch.backends.quantized.supported_engines:
        pytest.skip(f"torch has no {engine} here")
    before = torch.backends.quantized.engine
    try:
        assert judge(run_of(project, engine=engine), "determinism").outcome == "PASS"
    finally:
        torch.backends.quantized.engine = before


@pytest.mark.parametrize("threads", [1, 2])
def test_the_fresh_process_has_as_many_threads(with_model, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        verdict = judge(run_of(with_model("threaded"), "ptq_dynamic_int8"), "determinism")
    finally:
        torch.set_num_threads(before)
    assert verdict.outcome == "PASS"


@pytest.mark.parametrize("factory", ["by_torch", "by_numpy"])
def test_a_model_that_computes_with_what_it_drew_is_found_by_its_logits(with_model, factory):
    verdict = judge(run_of(with_model(factory), "ptq_dynamic_int8"), "determinism")
    assert verdict.outcome == "FAIL"
    assert re.fullmatch(r"logits differ by up to \d\S*", verdict.measured), "and the checkpoint does not"


def test_a_seed_of_its_own_makes_such_a_model_repeatable(with_model):
    assert judge(run_of(with_model("seeded"), "ptq_dynamic_int8"), "determinism").outcome == "PASS"


def test_a_calibration_that_draws_is_found_by_the_scales_it_chose(with_model):
    run = run_of(with_model("dropping"))
    verdict = judge(run, "determinism")
    assert verdict.outcome == "FAIL"
    assert verdict.measured.startswith("the checkpoint differs in '")
    assert "'conv.scale'" in verdict.measured
    assert "; logits differ by up to " in verdict.measured
    assert "'conv.weight'" not in verdict.measured, "weights are not drawn"


def test_the_failure_says_what_to_do_and_that_nothing_can_be_accepted(with_model):
    run = run_of(with_model("dropping"))
    text = explain(run.experiment, judge(run, "determinism"))
    assert text.startswith(f"tiny/{STATIC}: determinism: FAIL\n  measured:     the checkpoint differs in ")
    assert "\n  required:     the same bits, quantized again\n" in text
    assert "not possible: no result can be compared with one that changes by itself; seed whatever " in text


def test_the_command_line_makes_the_same_claim(with_model, monkeypatch):
    # Of another model than the card is of.
    monkeypatch.setattr(Baseline, "checked_evaluation", property(lambda baseline: baseline.evaluation))
    verdicts = {verdict.quantity: verdict.outcome for verdict in measure_and_judge(run_of(with_model("dropping")))}
    assert verdicts["determinism"] == "FAIL"


def test_an_error_of_the_fresh_process_arrives_as_its_own_line(project):
    run = run_of(project)
    assert run.candidate
    project.weights.unlink()
    with pytest.raises(BaselineError, match=r"^\S*tiny\.safetensors: no such baseline; restore it"):
        judge(run, "determinism")


def test_the_fresh_process_looks_for_the_data_where_this_one_does(project, monkeypatch, tmp_path):
    # Starts the server that fresh processes stem from, if no test before has; it keeps its surroundings.
    assert judge(run_of(project), "determinism").outcome == "PASS"
    run = run_of(project)
    assert run.candidate
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "another cache"))
    monkeypatch.setenv("QUANTBENCH_DATA", str(tmp_path / "moved"))
    with pytest.raises(DataMissingError, match=r"moved/images/train: no such folder"):
        judge(run, "determinism")
