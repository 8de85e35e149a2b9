"""`root:` lies beside the workload file, or in the data folder; variables and `~` are expanded, unset ones named."""

import numpy as np
import pytest
from PIL import Image

from quantbench.config.reading import load_workload
from quantbench.config.schema import DataConfig
from quantbench.data.opening import open_splits
from quantbench.data.roots import Root
from quantbench.errors import ConfigError, DataMissingError


def write(root, seed):
    random = np.random.RandomState(seed)
    for place in ("train/a/0", "train/a/1", "train/b/0", "test/a/0", "test/b/0"):
        path = root / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.randint(0, 256, (8, 8, 3)).astype(np.uint8)).save(path)


def place_of(root, folder=None):
    """Path of the first test image."""
    config = DataConfig(name="image_folder", root=root, size=8, calibration_pool=1)
    return open_splits(config, "here", folder).test.path_of(0)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders of one name beside the workload file and in the data folder."""
    monkeypatch.setenv("QUANTBENCH_DATA", str(tmp_path / "data"))
    for seed, place in enumerate(("data", "configs")):
        write(tmp_path / place / "photos", seed)
    return tmp_path


def test_a_relative_root_lies_beside_the_workload_file_first_then_in_the_data_folder(places):
    assert place_of("photos", places / "configs") == f"{places}/configs/photos/test/a/0.png"
    assert place_of("../data/photos", places / "configs").endswith("/data/photos/test/a/0.png")
    assert place_of("photos", places) == f"{places}/data/photos/test/a/0.png"
    assert place_of("photos") == f"{places}/data/photos/test/a/0.png"


def test_the_workload_files_folder_may_be_relative_itself(places, monkeypatch):
    monkeypatch.chdir(places)
    assert place_of("photos", places.joinpath("configs").relative_to(places)) == f"{places}/configs/photos/test/a/0.png"


@pytest.mark.parametrize("root", ["$PHOTOS", "${PHOTOS}", "$QUANTBENCH_DATA/photos", "~/photos"])
def test_variables_and_home_are_expanded(places, monkeypatch, root):
    monkeypatch.setenv("PHOTOS", str(places / "data/photos"))
    monkeypatch.setenv("HOME", str(places / "data"))
    assert place_of(root, places / "configs") == f"{places}/data/photos/test/a/0.png"


def test_the_data_folder_has_a_default(monkeypatch, tmp_path):
    monkeypatch.delenv("QUANTBENCH_DATA")
    assert Root("$QUANTBENCH_DATA/x").path == tmp_path / "cache/raw/x"


@pytest.mark.parametrize("root", ["$NOWHERE/x", "a/${NOWHERE}"])
def test_a_variable_that_is_not_set_is_named(places, root):
    with pytest.raises(DataMissingError) as caught:
        place_of(root, places)
    assert str(caught.value).startswith("data.root: $NOWHERE is not set; set it to its folder. To get the data: ")


def test_both_places_are_named_where_neither_has_the_folder(places):
    with pytest.raises(DataMissingError) as caught:
        place_of("nothing", places / "configs")
    assert str(caught.value) == (
        f"{places}/data/nothing/train: no such folder. To get it: name the folder that holds train/ and test/ with "
        f"data.root (there is no {places}/configs/nothing either)"
    )


OPTIONAL = """\
workload: {model: {name: cifar_cnn}, data: {name: %s}, optional: %s, baseline: b}
experiments: {e: {recipe: {name: fp32_baseline}}}
"""


@pytest.mark.parametrize(
    "data", ["image_folder, root: x, obtain: ask me", "cifar10", "speech_commands", "spoken_words"]
)
def test_a_workload_that_says_how_to_get_its_data_may_be_optional(tmp_path, data):
    (tmp_path / "w.yaml").write_text(OPTIONAL % (data, "true"))
    (experiment,) = load_workload(tmp_path / "w.yaml")
    assert experiment.workload.config.optional


@pytest.mark.parametrize("data", ["image_folder, root: x", "audio_folder, root: x", "shapes"])
def test_an_optional_workload_without_the_way_to_its_data_is_refused(tmp_path, data):
    (tmp_path / "w.yaml").write_text(OPTIONAL % (data, "true"))
    with pytest.raises(ConfigError) as caught:
        load_workload(tmp_path / "w.yaml")
    assert str(caught.value) == (
        f"{tmp_path}/w.yaml: workload.optional: whoever lacks the data must be told how to get it; set "
        "workload.data.obtain to the command or place, or leave out optional"
    )


def test_optional_is_true_or_false(tmp_path):
    (tmp_path / "w.yaml").write_text(OPTIONAL % ("cifar10", "'yes'"))
    with pytest.raises(ConfigError, match=r"workload\.optional: Input should be a valid boolean \(given: 'yes'\)"):
        load_workload(tmp_path / "w.yaml")
