"""`quantbench inspect` from the shell: what it prints of every kind of file, and its exit status."""

import pickle

import pytest
import torch
from tiny_model import tiny_cnn

from quantbench.backends.checkpoint import write_checkpoint
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.registry import MODELS, RECIPES
from quantbench.upstream import silenced

BACKEND = EagerBackend(default_engine())
IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
CLIPS = torch.randn(2, 1, 8000, generator=torch.Generator().manual_seed(0))


def recipe(name, **params):
    return RECIPES.create(name, "here", params)


def model():
    torch.manual_seed(0)
    return tiny_cnn().eval()


def quantized(name, made=None, inputs=IMAGES, **params):
    return BACKEND.quantize_module(made or model(), recipe(name, **params), lambda: [inputs]).model.state_dict()


def prepared(name):
    with silenced():
        if name == "qat_int8":
            return BACKEND.prepare_module(model(), recipe(name)).state_dict()
        return BACKEND._prepared(model(), recipe(name)).state_dict()


def one_layer():
    torch.manual_seed(0)
    return quantized("static_int8_layers", MODELS.create("m5", "here", {}).eval(), CLIPS, layers=["block2"])


UNKNOWN = "static int8, of unknown origin (both ways end with the same keys)"
KINDS = {
    "floating": (lambda: model().state_dict(), "floating point; 8 keys", "conv.weight float32 [8, 3, 3, 3]"),
    "prepared PTQ": (
        lambda: prepared("static_int8_per_channel"),
        "prepared for post-training quantization, not converted: fp32 weights with observers; ",
        "conv.activation_post_process.min_val float32 []",
    ),
    "prepared QAT": (
        lambda: prepared("qat_int8"),
        "prepared for quantization-aware training, not converted: fp32 weights with fake quantizers; ",
        "conv.weight_fake_quant.scale",
    ),
    "per channel": (
        lambda: quantized("static_int8_per_channel"),
        f"{UNKNOWN}; 10 keys",
        "per_channel_affine axis 0 0.",
    ),
    "per tensor": (lambda: quantized("static_int8_per_tensor"), f"{UNKNOWN}; 10 keys", "per_tensor_affine 0."),
    "dynamic": (lambda: quantized("dynamic_int8"), "dynamic int8; 10 keys", "packed, 2 members"),
    "layer by layer": (one_layer, f"{UNKNOWN}; 29 keys", "boundary1.zero_point int64 [1] 0"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_checkpoint_is_named_and_listed(quantbench, tmp_path, kind):
    make, title, row = KINDS[kind]
    path = tmp_path / "a.pt"
    write_checkpoint(path, make())
    code, out, err = quantbench("inspect", path)
    assert (code, err) == (0, "")
    first, heading, *_ = out.splitlines()
    assert first.startswith(f"{path}: {title}")
    assert first.endswith(" of them tensors")
    assert f"{path.stat().st_size:,} bytes" in first
    assert heading.split() == ["key", "what", "scale", "zero", "point"]
    assert row in " ".join(out.split())


def test_safetensors_are_listed(quantbench, project):
    code, out, err = quantbench("inspect", project.weights)
    assert (code, err) == (0, "")
    assert out.startswith(f"{project.weights}: floating point; 8 keys, {project.weights.stat().st_size:,} bytes, ")


def test_the_difference_between_the_baseline_and_its_checkpoint_is_explained(quantbench, project):
    experiment = select(load_experiments(project.configs), "tiny/ptq_static_int8_per_channel")[0]
    path = Runs(Settings(project.golden)).run(experiment).artifact.path
    code, out, err = quantbench("inspect", project.weights, path)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"{project.weights}: floating point; ")
    assert lines[1].startswith(f"{path}: static int8, by post-training quantization; 10 keys")
    assert lines[2] == "explained (6):"
    assert "  conv: batch norm bn folded into its weight and bias" in lines
    assert lines[-2:] == [
        "equal in form and values: 0 keys",
        "2 of 2 int8 layers are the float weights, rounded: post-training quantization",
    ]
    assert "UNEXPLAINED" not in out


@pytest.mark.parametrize("kind", ["prepared PTQ", "prepared QAT", "per channel", "dynamic"])
def test_two_files_named_in_reverse_are_explained_from_the_one_nearer_to_floating_point(quantbench, tmp_path, kind):
    write_checkpoint(tmp_path / "float.pt", model().state_dict())
    write_checkpoint(tmp_path / "other.pt", KINDS[kind][0]())
    code, forward, _ = quantbench("inspect", tmp_path / "float.pt", tmp_path / "other.pt")
    assert code == 0
    code, backward, err = quantbench("inspect", tmp_path / "other.pt", tmp_path / "float.pt")
    assert (code, err) == (0, "")
    first, second, said, *rest = backward.splitlines()
    assert [second, first, *rest] == forward.splitlines()
    assert said == "explained from the second to the first, which is further from floating point"


def test_in_reverse_too_what_is_unexplained_names_the_right_file(quantbench, tmp_path):
    write_checkpoint(tmp_path / "float.pt", {**model().state_dict(), "extra": torch.ones(1)})
    write_checkpoint(tmp_path / "int8.pt", quantized("static_int8_per_channel"))
    code, out, _ = quantbench("inspect", tmp_path / "int8.pt", tmp_path / "float.pt")
    assert code == 1
    assert "UNEXPLAINED (1):\n  extra: only in the second file: float32 [1]\n" in out


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_against_itself_is_equal(quantbench, tmp_path, kind):
    state = KINDS[kind][0]()
    write_checkpoint(tmp_path / "a.pt", state)
    code, out, err = quantbench("inspect", tmp_path / "a.pt", tmp_path / "a.pt")
    assert (code, err) == (0, "")
    assert out.splitlines()[2:] == [f"equal in form and values: {len(state)} keys"]


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda state: {**state, "foreign": torch.ones(2)}, "foreign: only in the second file: float32 [2]"),
        (lambda state: {k: v for k, v in state.items() if k != "conv.scale"}, "conv.zero_point: only in the second"),
        (lambda state: {k.replace("fc", "head"): v for k, v in state.items()}, "fc.weight: only in the first file: "),
        (lambda state: {**state, "conv.bias": state["conv.bias"] + 1}, "conv.bias: differs by up to 1 from"),
    ],
    ids=["a foreign key", "a lost key", "renamed keys", "a wrong bias"],
)
def test_what_cannot_be_explained_is_listed_and_sets_the_exit_status(quantbench, tmp_path, damage, line):
    write_checkpoint(tmp_path / "a.pt", model().state_dict())
    write_checkpoint(tmp_path / "b.pt", damage(quantized("static_int8_per_channel")))
    code, out, err = quantbench("inspect", tmp_path / "a.pt", tmp_path / "b.pt")
    assert (code, err) == (1, "")
    assert f"\n  {line}" in out.partition("UNEXPLAINED (")[2]


class TouchesWhenLoaded:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def cut_short(path):
    write_checkpoint(path, model().state_dict())
    path.write_bytes(path.read_bytes()[:-400])


def hostile(path):
    path.write_bytes(pickle.dumps({"a": TouchesWhenLoaded(path.with_name("proof"))}))


@pytest.mark.parametrize("second", [False, True], ids=["alone", "as the second"])
@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        ("b.pt", lambda _: None, "no such checkpoint"),
        ("b.safetensors", lambda _: None, "no such checkpoint"),
        ("b.pt", cut_short, "not a whole checkpoint ("),
        ("b.safetensors", lambda path: path.write_bytes(b"\0" * 99), "not a whole safetensors file ("),
        ("b.pt", hostile, "refused: opening it could run code"),
    ],
    ids=["missing", "missing safetensors", "damaged", "damaged safetensors", "hostile"],
)
def test_a_file_that_cannot_be_read_is_one_line_and_exit_status_2(quantbench, tmp_path, name, spoil, words, second):
    write_checkpoint(tmp_path / "a.pt", model().state_dict())
    spoil(tmp_path / name)
    code, out, err = quantbench("inspect", *([tmp_path / "a.pt"] if second else []), tmp_path / name)
    assert (code, out) == (2, "")
    assert err.startswith(f"quantbench: {tmp_path / name}: {words}")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "proof").exists()
