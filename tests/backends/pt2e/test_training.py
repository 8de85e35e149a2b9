"""Quantization-aware training of exported graphs: modes, batch norms, what is converted, refusals."""

import copy
from pathlib import Path

import pytest
import torch
from artifacts import named, saved
from exported_programs import PICTURES, SOUNDS, SPEC, calibration, recipe
from foreign_residual import residual, settled, waves
from safetensors.torch import load_file, save_file
from tiny_model import tiny_cnn
from torch import nn
from torch.nn.functional import cross_entropy

from quantbench.backends.interface import BackendSpec, Calibration
from quantbench.backends.module import ModulePredictor
from quantbench.backends.pt2e.batch_norm import BatchNorm
from quantbench.backends.pt2e.compiling import read_program
from quantbench.backends.pt2e.library import torchao
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import BaselineError, QuantizationError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.golden.baselines import load_card

torchao()
LABELS = torch.arange(8) % 3


def prepared(module, batch=PICTURES, name="qat_int8", **params):
    from quantbench.backends.pt2e import training

    return training.prepared(module.eval(), recipe(name, **params), named(batch[:2]))


def trained(model, steps=4, batch=PICTURES, lr=0.05):
    """Some steps of SGD, the last of them with observers and batch norms that stand still."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for step in range(steps):
        model.train()
        if step == steps - 1:
            SPEC.create().freeze(model)
        optimizer.zero_grad()
        cross_entropy(model(batch), LABELS).backward()
        optimizer.step()
    return model


def converted(model):
    from quantbench.backends.pt2e.training import converted_trained

    return converted_trained(model)


@pytest.mark.parametrize(
    ("module", "shape", "name", "params"),
    [
        (residual, (3, 8, 8), "qat_int8", {}),
        (residual, (3, 8, 8), "qat_int8_pow2", {}),
        (waves, (1, 64), "qat_int8", {}),
        (waves, (1, 64), "qat_int8_layers", {"layers": ["first", "head"]}),
        (waves, (1, 64), "qat_int8_layers", {"layers": []}),
    ],
)
def test_what_is_converted_gives_what_was_trained_bit_for_bit(module, shape, name, params):
    batch = SOUNDS if module is waves else PICTURES
    model = trained(prepared(settled(module(), shape), batch, name, **params), batch=batch).eval()
    graph, _ = converted(model)
    with torch.no_grad():
        expected, found = model(batch), graph(batch)
    # Batch norms of layers in floating point are folded, which rounds once more.
    is_all_int8 = "layers" not in params
    assert torch.equal(expected, found) if is_all_int8 else torch.allclose(expected, found, atol=1e-5)
    assert not [node for node in graph.graph.nodes if "batch_norm" in str(node.target) or node.op == "call_module"]


def structure(graph):
    return [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize(
    ("module", "shape", "layers"), [(residual, (3, 8, 8), None), (waves, (1, 64), ["first"]), (waves, (1, 64), None)]
)
def test_the_same_operators_are_quantized_as_after_training(module, shape, layers):
    from quantbench.backends.exported.quantization import quantized
    from quantbench.backends.pt2e.quantizer import quantizer_of

    batch = SOUNDS if module is waves else PICTURES
    params, kind = ({"layers": layers}, "_layers") if layers else ({}, "")
    after, observers = quantized(
        settled(module(), shape),
        recipe(f"static_int8{kind}", **params),
        [named(batch)],
        named(batch[:2]),
        quantizer_of,
    )
    graph, own = converted(trained(prepared(settled(module(), shape), batch, f"qat_int8{kind}", **params), batch=batch))
    assert structure(graph) == structure(after)
    assert own.keys() == observers.keys()
    names = [{name for name, _ in each.named_buffers()} for each in (graph, after)]
    assert names[0] >= {name for name in names[1] if "weight" in name}


def test_a_step_with_rounded_weights_and_inputs_is_that_of_eager_mode(tmp_path):
    reference = saved(tmp_path / "reference.pt", settled(tiny_cnn(), (3, 8, 8)), backend="torch")
    gradients, buffers = {}, {}
    for name in ("eager", "pt2e"):
        model = BackendSpec(name, {}, "here").create().prepare_training(reference, recipe("qat_int8"), named(PICTURES))
        # The one rounds the logits too, the other what the pool gives.
        layers = (model.conv, model.fc) if name == "eager" else (model.graph.relu,)
        for layer in layers:
            layer.activation_post_process.disable_fake_quant()
        cross_entropy(model(PICTURES), LABELS).backward()

        def own(key):
            return key.replace("graph.", "").replace("conv.bn", "bn")

        gradients[name] = {own(key): each.grad for key, each in model.named_parameters()}
        buffers[name] = {own(key): each for key, each in model.named_buffers()}
    assert gradients["pt2e"].keys() == gradients["eager"].keys()
    for key, expected in gradients["eager"].items():
        torch.testing.assert_close(gradients["pt2e"][key], expected, rtol=1e-4, atol=1e-6)
    for key in ("bn.running_mean", "bn.running_var", "conv.weight_fake_quant.scale", "fc.weight_fake_quant.scale"):
        torch.testing.assert_close(buffers["pt2e"][key], buffers["eager"][key])


class Dropped(nn.Module):
    """Dropout, a batch norm behind no convolution, and one with an epsilon and a momentum of its own."""

    layer_groups = {"conv": ("conv", "bn"), "fc": ("fc",)}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.first = nn.BatchNorm2d(3)
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=0.1, momentum=0.5)
        self.dropout, self.fc = nn.Dropout(0.5), nn.Linear(4, 3)

    def forward(self, x):
        """See the class."""
        return self.fc(self.dropout(self.bn(self.conv(self.first(x))).relu().mean((2, 3))))


def statistics(model):
    return {name: value.clone() for name, value in model.named_buffers() if "running" in name}


def test_dropout_and_statistics_follow_the_mode_of_the_model_and_of_its_copies():
    model = prepared(settled(Dropped(), (3, 8, 8)))
    for each in (model, copy.deepcopy(model)):
        each.train()
        before = statistics(each)
        torch.manual_seed(0)
        assert not torch.equal(each(PICTURES), each(PICTURES)), "dropout draws in train mode"
        assert all(not torch.equal(value, before[name]) for name, value in statistics(each).items())
        each.eval()
        before = statistics(each)
        SPEC.create().freeze(each)
        assert torch.equal(each(PICTURES), each(PICTURES))
        assert all(torch.equal(value, before[name]) for name, value in statistics(each).items())


def test_epsilon_and_momentum_are_the_model_s_own():
    module = settled(Dropped(), (3, 8, 8))
    model = prepared(copy.deepcopy(module))
    (norm,) = (each for each in model.modules() if isinstance(each, BatchNorm))
    assert (norm.eps, norm.momentum) == (0.1, 0.5)
    # Nothing learned: 8 bits for 8 bits, the folded network is the network.
    model.eval()(PICTURES)
    graph, _ = converted(model)
    assert "aten.batch_norm.default" in structure(graph), "the one behind no convolution"
    expected, found = module(PICTURES), graph(PICTURES)
    assert (expected - found).abs().max() < 0.05 * expected.abs().max()


def test_frozen_batch_norms_and_observers_stand_still_and_those_of_fp32_layers_go_on():
    model = prepared(settled(waves(), (1, 64)), SOUNDS, "qat_int8_layers", layers=["second", "head"])
    model(SOUNDS)
    SPEC.create().freeze(model)
    model.train()
    before = statistics(model), {name: each.clone() for name, each in model.named_buffers() if "max_val" in name}
    model(10 * SOUNDS)
    assert not any(torch.equal(value, before[0][name]) for name, value in statistics(model).items())
    assert before[1]
    assert all(torch.equal(dict(model.named_buffers())[name], value) for name, value in before[1].items())

    model = prepared(settled(waves(), (1, 64)), SOUNDS, "qat_int8_layers", layers=["first"])
    model(SOUNDS)
    SPEC.create().freeze(model)
    model.train()
    before = statistics(model)
    model(10 * SOUNDS)
    assert all(torch.equal(value, before[name]) for name, value in statistics(model).items())


def test_a_training_that_is_read_from_a_file_goes_on_with_the_same_bits(tmp_path):
    model = trained(prepared(settled(residual(), (3, 8, 8))), steps=2)
    save_file(model.state_dict(), tmp_path / "state.safetensors")
    other = prepared(settled(residual(), (3, 8, 8)))
    other.load_state_dict(load_file(tmp_path / "state.safetensors"))
    SPEC.create().freeze(other)
    states = [trained(each, steps=3).state_dict() for each in (model, other)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_names_in_the_file_are_those_of_layers():
    keys = {key.rpartition(".")[0] for key in prepared(settled(residual(), (3, 8, 8))).state_dict() if "scale" in key}
    assert {key.removeprefix("graph.") for key in keys} == {
        "stem.weight_fake_quant", "block.conv1.weight_fake_quant", "block.conv2.weight_fake_quant",
        "fc.weight_fake_quant", "input.activation_post_process", "relu.activation_post_process",
        "block.activation_post_process", "block.activation_post_process_2", "mean.activation_post_process",
    }  # fmt: skip


class FixedBatch(nn.Module):
    """Runs batches of two alone."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 3)

    def forward(self, x):
        """See the class."""
        return self.fc(x.reshape(2, -1)) if x.shape[0] == 2 else self.fc(x.flatten(1))


class Random(nn.Module):
    """Draws in eval mode too."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 3)

    def forward(self, x):
        """See the class."""
        return self.fc(x.flatten(1) + torch.rand(1))


class Cumulative(nn.Module):
    """Statistics that are means over all batches."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=None)

    def forward(self, x):
        """See the class."""
        return self.bn(self.conv(x)).mean((2, 3))


class Nothing(nn.Module):
    """No layer that could be quantized."""

    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x):
        """See the class."""
        return self.bn(x).mean((2, 3))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (FixedBatch, r"FixedBatch exported runs no batch of 1 \(.*\), and training needs batches of any size"),
        (Random, "Random exported computes something else: for a batch of 2 .*; does its forward draw at random"),
        (Cumulative, "'bn' averages its statistics over all batches, .*; set its momentum, or quantize with backend"),
        (Nothing, "Nothing: nothing was quantized: torchao found no 2-D convolution or linear layer"),
    ],
)
def test_what_cannot_be_trained_is_told_before_training_in_one_line(module, line, tmp_path):
    own = saved(tmp_path / "own.pt", module(), backend="torch", model=f"{__name__}:{module.__name__}")
    with pytest.raises(QuantizationError, match=line) as error:
        SPEC.create().rehearse(own, recipe("qat_int8"), named(PICTURES[:2]))
    assert "\n" not in str(error.value)


def test_what_was_never_trained_or_never_prepared_is_not_converted():
    model = prepared(settled(residual(), (3, 8, 8)))
    with pytest.raises(QuantizationError, match=r"convert: '[\w.]+' has seen no data, and its scale would be 1\.0"):
        converted(model)
    with pytest.raises(QuantizationError, match="convert: Linear was not prepared by backend 'pt2e'"):
        SPEC.create().convert_trained(nn.Linear(1, 1))


def test_a_recipe_of_another_training_is_refused(reference):
    with pytest.raises(QuantizationError, match="'pt2e' does not run recipes of kind low_bit; set backend: low_bit"):
        SPEC.create().prepare_training(reference, recipe("low_bit"), named(PICTURES[:2]))


def test_trained_weights_that_are_missing_or_of_another_model_are_refused(reference, tmp_path, uncompiled):
    asked = recipe("qat_int8")
    with pytest.raises(QuantizationError, match="is trained: give the file of its fine-tuned weights"):
        SPEC.create().quantize(reference, asked, calibration(PICTURES), tmp_path)
    path = tmp_path / "trained.safetensors"
    save_file({"other": torch.zeros(1)}, path)
    given = Calibration(list, named(PICTURES[:2]), path, "quantbench train")
    with pytest.raises(BaselineError, match=r"trained\.safetensors: does not fit the model of this workload"):
        SPEC.create().quantize(reference, asked, given, tmp_path)


def test_equal_weights_give_equal_bytes(reference, tmp_path, uncompiled):
    model = SPEC.create().prepare_training(reference, recipe("qat_int8"), named(PICTURES[:2]))
    save_file(trained(model).state_dict(), tmp_path / "trained.safetensors")
    given = Calibration(lambda: 1 / 0, named(PICTURES[:2]), tmp_path / "trained.safetensors", "quantbench train")
    made = []
    for n in (1, 2):
        (folder := tmp_path / str(n)).mkdir()
        made.append(SPEC.create().quantize(reference, recipe("qat_int8"), given, folder).artifact)
    assert made[0].sha256 == made[1].sha256
    assert made[0].observers["fc"]["weight"].startswith("FakeQuantize(MovingAveragePerChannelMinMaxObserver, int8")


@pytest.fixture
def experiment(project, monkeypatch):
    """The experiment on this backend, whose programs are run and not compiled."""
    from quantbench.backends.pt2e.backend import Pt2eBackend

    def load(_, artifact, threads):
        return ModulePredictor(read_program(Path(artifact.path)).module(), threads)

    monkeypatch.setattr(Pt2eBackend, "load", load)

    def run():
        settings = Settings(project.golden, retrain=True)
        run = Runs(settings).run(select(load_experiments(project.configs), "tiny/qat_int8")[0])
        return run.candidate.artifact, load_card(project.golden / "baselines" / "tiny.qat_int8.safetensors", "")

    return project, run


def test_an_experiment_is_trained_for_real_as_by_eager_mode_and_the_same_seed_gives_the_same_bits(experiment):
    project, run = experiment
    _, eager = run()
    project.edit("recipe: {name: qat_int8, ", "backend: pt2e\n    recipe: {name: qat_int8, ")
    (artifact, card), (again, card_again) = run(), run()
    assert (artifact.sha256, card.weights_sha256) == (again.sha256, card_again.weights_sha256)
    assert (card.recipe, len(card.history), card.command) == ("qat_int8", card.training["epochs"], eager.command)
    assert card.accuracy == pytest.approx(eager.accuracy, abs=0.02)
    losses = [[epoch["loss"] for epoch in each.history] for each in (card, eager)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
