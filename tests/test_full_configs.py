"""The workloads of full size are the committed ones, but for what makes them full."""

from pathlib import Path

import yaml

from quantbench.config import load_workload
from quantbench.data.speech_words import WORDS

REPOSITORY = Path(__file__).parents[1]
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
