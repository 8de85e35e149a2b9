"""`quantbench inspect --as`: whether a checkpoint was made as the experiment that it is taken for says."""

import pytest
import torch
from tiny_model import tiny_cnn

from quantbench.backends.checkpoint import read_checkpoint, write_checkpoint
from quantbench.backends.origin import ORIGIN_KEY
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.registry import RECIPES

PTQ, QAT = "ptq_static_int8_per_channel", "qat_int8"
UNKNOWN = "static int8, of unknown origin (both ways end with the same keys)"
IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def of_another_baseline(name):
    """A checkpoint of weights that were never trained."""
    torch.manual_seed(0)
    recipe = RECIPES.create(name, "here", {})
    return (
        EagerBackend(default_engine()).quantize_module(tiny_cnn().eval(), recipe, lambda: [IMAGES]).model.state_dict()
    )


@pytest.fixture
def experiments(project):
    """The checkpoints that `quantbench` itself makes of the experiments of the project in miniature."""

    def path_of(name):
        experiment = select(load_experiments(project.configs), f"tiny/{name}")[0]
        runs = Runs(Settings(project.golden, retrain=name == QAT))
        return runs.run(experiment).artifact.path

    return path_of


def without_note(path):
    """As a checkpoint that other software wrote: the same, without our note of its origin."""
    state = read_checkpoint(path)
    state._metadata[""].pop(ORIGIN_KEY, None)
    write_checkpoint(path, state)
    return path


@pytest.mark.parametrize("name", ["fp32_baseline", "ptq_dynamic_int8", PTQ, QAT])
def test_a_checkpoint_taken_for_the_experiment_that_made_it_fits(quantbench, project, experiments, name):
    path = experiments(name)
    for _ in range(2):
        code, out, err = quantbench("inspect", path, "--as", f"tiny/{name}")
        assert (code, err) == (0, "")
        assert out.splitlines()[-1].startswith(f"{path}: loads as tiny/{name}: ")
        if name in (PTQ, QAT):
            without_note(path)


@pytest.mark.parametrize(
    ("made_by", "taken_for", "noted", "unnoted"),
    [
        (PTQ, QAT, "was made by post-training quantization and is loaded as if made by quantization-aware training: ",
         f"loads as tiny/{QAT}, which is trained, but 2 of 2 int8 layers are the float weights, rounded: "),
        (QAT, PTQ, "was made by quantization-aware training and is loaded as if made by post-training quantization: ",
         f"loads as tiny/{PTQ}, which is post-training quantization, but 2 of 2 int8 layers are further from "),
    ],
    ids=["PTQ as QAT", "QAT as PTQ"],
)  # fmt: skip
def test_the_wrong_way_is_said_by_the_note_and_without_it_by_the_weights(
    quantbench, project, experiments, made_by, taken_for, noted, unnoted
):
    experiments(QAT)
    path = experiments(made_by).rename(project.root / "checkpoint.pt")
    code, out, err = quantbench("inspect", path, "--as", f"tiny/{taken_for}")
    assert code == 1
    assert out.startswith(f"{path}: static int8, by ")
    assert err.startswith(f"{path}: {noted}")
    assert err.endswith("Name the experiment that made it\n")
    without_note(path)
    code, out, err = quantbench("inspect", path, "--as", f"tiny/{taken_for}")
    assert code == 1
    assert out.startswith(f"{path}: {UNKNOWN}")
    assert err.startswith(f"{path}: {unnoted}")
    assert len(err.splitlines()) == 1


def test_a_checkpoint_of_another_baseline_is_no_post_training_quantization_of_this_one(quantbench, project):
    write_checkpoint(project.root / "a.pt", of_another_baseline("static_int8_per_channel"))
    code, _, err = quantbench("inspect", "a.pt", "--as", f"tiny/{PTQ}")
    assert code == 1
    assert "or come from another baseline" in err


def test_a_checkpoint_that_does_not_fit_says_what_kind_it_is(quantbench, project):
    write_checkpoint(project.root / "a.pt", of_another_baseline("dynamic_int8"))
    code, _, err = quantbench("inspect", "a.pt", "--as", f"tiny/{PTQ}")
    assert code == 1
    assert err.startswith("a.pt: is dynamic int8, and does not fit the model that its recipe makes: 'quant.scale' is m")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("tiny/nothing", "unknown experiment 'tiny/nothing'"), ("tiny/*", "--as tiny/*: 4 experiments match; name one")],
)
def test_as_takes_one_experiment(quantbench, project, pattern, words):
    code, _, err = quantbench("inspect", project.weights, "--as", pattern)
    assert code == 2
    assert err.startswith(f"quantbench: {words}")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (PTQ, "post-training quantization"),
        ("ptq_dynamic_int8", "post-training quantization"),
        ("fp32_baseline", "the baseline itself"),
    ],
)
def test_weights_that_fit_beside_others_that_moved_are_not_of_this_baseline(
    quantbench, project, experiments, name, what
):
    path = without_note(experiments(name))
    state = read_checkpoint(path)
    key = "conv.bias" if name == PTQ else "conv.weight"
    state[key] = state[key] + 0.5
    write_checkpoint(path, state)
    code, _, err = quantbench("inspect", path, "--as", f"tiny/{name}")
    assert code == 1
    assert err.startswith(
        f"{path}: loads as tiny/{name}, which is {what}, but was not made from this baseline: {key}: "
    )
    assert "by up to 0.5" in err
