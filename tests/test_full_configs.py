"""The workload for all of Speech Commands is the committed one, but for its words and bounds."""

from pathlib import Path

import yaml

from quantbench.config import load_experiments
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
    (name,) = {experiment.workload.config.data.name for experiment in load_experiments(FULL.parent)}
    assert name == "speech_commands"
    assert "words" not in read(FULL)["workload"]["data"], "the default is all 35"
    assert len(WORDS) == 35


def test_its_bounds_are_nowhere_looser():
    subset, full = bounds(read(SUBSET)), bounds(read(FULL))
    assert subset.keys() == full.keys()
    looser = [key for key in full if (full[key] > subset[key]) == key[1].endswith("_pp") and full[key] != subset[key]]
    assert looser == []
