"""The workloads of full size are the committed ones, but for what makes them full."""

from pathlib import Path

import pytest
import yaml

from quantbench.backends.checkpoint import serialize
from quantbench.config.reading import load_workload
from quantbench.data.speech_words import WORDS
from quantbench.registry import BACKENDS, MODELS

REPOSITORY = Path(__file__).parents[2]
SUBSET = REPOSITORY / "configs" / "m5_speech_commands.yaml"
FULL = REPOSITORY / "configs" / "full" / "m5_speech_commands_35.yaml"


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def bounds(file):
    return {
        (name, gate): bound
        for name, experiment in file["experiments"].items()
        for gate, bound in experiment["gates"].items()
    }


def test_it_is_the_same_file_but_for_words_name_and_bounds():
    subset, full = read(SUBSET), read(FULL)
    del subset["workload"]["data"]["words"]
    for file in (subset, full):
        for key in ("baseline", "data_note"):
            del file["workload"][key]
        for experiment in file["experiments"].values():
            experiment["gates"] = sorted(experiment["gates"])
    assert subset == full


def test_it_has_all_the_words():
    (name,) = {experiment.workload.config.data.name for experiment in load_workload(FULL)}
    assert name == "speech_commands"
    assert "words" not in read(FULL)["workload"]["data"], "the default is all 35"
    assert len(WORDS) == 35


def test_its_bounds_are_nowhere_looser():
    subset, full = bounds(read(SUBSET)), bounds(read(FULL))
    assert subset.keys() == full.keys()
    looser = [key for key in full if (full[key] > subset[key]) == key[1].endswith("_pp") and full[key] != subset[key]]
    assert looser == []


def test_resnet50_has_the_data_and_the_experiments_of_resnet20():
    small, large = (REPOSITORY / "configs" / name for name in ("resnet20_cifar10.yaml", "full/resnet50_cifar10.yaml"))
    first, second = read(small), read(large)
    assert first["workload"]["data"] == second["workload"]["data"]
    assert first["experiments"].keys() == second["experiments"].keys()
    for name, experiment in first["experiments"].items():
        gates, larger = experiment["gates"], second["experiments"][name]["gates"]
        assert gates.keys() == larger.keys()
        assert larger.get("size_ratio", 0) >= gates.get("size_ratio", 0)
        assert larger.get("accuracy_drop_pp") == gates.get("accuracy_drop_pp")


def test_resnet50_is_trained_as_it_was_published():
    (training,) = {e.workload.config.training for e in load_workload(FULL.parent / "resnet50_cifar10.yaml")}
    assert (training.epochs, training.batch_size, training.schedule) == (40, 64, "warmup_cosine")
    assert (training.lr, training.min_lr, training.momentum, training.weight_decay) == (0.1, 1e-5, 0.9, 5e-4)
    assert set(training.augment) == {"pad_crop", "horizontal_flip"}


def test_full_vgg16_has_the_data_the_widths_and_the_training_that_were_published():
    experiments = {each.name: each for each in load_workload(FULL.parent / "vgg16_cifar10_full.yaml")}
    config = experiments["low_bit_4"].workload.config
    assert config.model.params == {}, "full width"
    assert (config.data.params["mean"], config.data.params["std"]) == ([0.491, 0.482, 0.447], [0.247, 0.243, 0.262])
    assert config.training.batch_size == 128
    assert set(config.training.augment) == {"pad_crop", "horizontal_flip"}
    recipe = experiments["low_bit_4"].recipe
    assert (recipe.weight_bits, recipe.activation_bits, recipe.first_bits, recipe.last_bits) == (4, 4, None, 32)
    assert read(REPOSITORY / "configs" / "vgg16_shapes.yaml")["workload"]["model"]["name"] == config.model.name


@pytest.mark.parametrize("name", ["ptq_static_int8", "low_bit_4"])
def test_the_bounds_on_the_size_of_full_vgg16_are_reached_and_not_idle(name):
    (experiment,) = (e for e in load_workload(FULL.parent / "vgg16_cifar10_full.yaml") if e.name == name)
    model = MODELS.create("vgg16", "here", {}).eval()
    backend = BACKENDS.create(experiment.backend.name, "here", {})
    sizes = [len(serialize(each.state_dict())) for each in (model, backend.skeleton(model, experiment.recipe))]
    bound = experiment.config.gates.bounds["size_ratio"]
    assert bound <= sizes[0] / sizes[1] < 1.05 * bound
