"""People's own sounds are decoded as they are, and a folder that cannot be one is refused by its name."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from quantbench.data.audio_folder import audio_folder
from quantbench.data.cache import open_cached
from quantbench.errors import ConfigError, DataError, DataMissingError
from quantbench.registry import DATA

PLACES = (
    "train/high/1.wav",
    "train/high/2.flac",
    "train/low/1.wav",
    "train/low/2.WAV",
    "test/high/3.wav",
    "test/low/3.wav",
)


def sound(seed, n=200):
    return np.random.RandomState(seed).randint(-20_000, 20_000, n).astype(np.int16)


@pytest.fixture
def root(tmp_path):
    """Two labels with two training sounds and one test sound each, at the rate of the clips."""
    root = tmp_path / "sounds"
    for seed, place in enumerate(PLACES):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / place, sound(seed), 8_000)
    return root


def opened(root, **params):
    return open_cached("audio_folder", audio_folder(str(root), **({"clip_samples": 200} | params)))


def refusal(root, error=DataError):
    with pytest.raises(error) as caught:
        opened(root)
    told = str(caught.value)
    assert "\n" not in told
    return told


def test_sounds_are_stored_in_the_order_of_their_names_with_their_folders_as_labels(root):
    data = opened(root)
    np.testing.assert_array_equal(data.train.inputs, [[sound(seed)] for seed in range(4)])
    np.testing.assert_array_equal(data.test.inputs, [[sound(4)], [sound(5)]])
    assert data.train.inputs.dtype == np.int16
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.test.labels.tolist() == [0, 1]
    assert data.classes == ("high", "low")
    assert data.train.groups is None


def test_rates_may_differ_from_file_to_file(root):
    t = np.arange(44_100) / 44_100
    soundfile.write(root / PLACES[0], 0.5 * np.sin(2 * np.pi * 300 * t), 44_100)
    soundfile.write(root / PLACES[2], 0.5 * np.sin(2 * np.pi * 300 * t[:16_000] * 44_100 / 16_000), 16_000)
    clips = opened(root, clip_samples=8_000).train.inputs
    assert np.abs(clips[0].astype(int) - clips[2])[:, 100:-100].max() <= 40


def test_rate_and_length_of_the_clips_can_be_asked_for(root):
    assert opened(root, sample_rate=16_000, clip_samples=300).train.inputs.shape == (4, 1, 300)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"sample_rate": 0}, "sample_rate: Input should be greater than or equal to 1000 (given: 0)"),
        ({"sample_rate": 10**12}, "sample_rate: Input should be less than or equal to 192000"),
        ({"clip_samples": -1}, "clip_samples: Input should be greater than or equal to 16"),
        (
            {"rate": 8_000},
            "unknown parameter of data set 'audio_folder': 'rate'. Known: clip_samples, obtain, root, sample_rate",
        ),
    ],
)
def test_parameters_out_of_range_are_refused_before_anything_is_read(params, told):
    with pytest.raises(ConfigError) as error:
        DATA.create("audio_folder", "here", {"root": "x", **params})
    assert told in str(error.value)


def test_an_added_a_changed_a_renamed_file_and_another_format_change_the_fingerprint(root):
    seen = {
        audio_folder(str(root), **params).fingerprint() for params in ({}, {"clip_samples": 99}, {"sample_rate": 9_000})
    }
    path = root / PLACES[0]
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    seen.add(audio_folder(str(root)).fingerprint())
    path.rename(path.with_name("0.wav"))
    seen.add(audio_folder(str(root)).fingerprint())
    soundfile.write(root / "test/low/4.wav", sound(9), 8_000)
    seen.add(audio_folder(str(root)).fingerprint())
    assert len(seen) == 6


def test_a_relative_root_lies_in_the_data_folder_and_a_home_folder_is_understood(root, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_DATA", str(root.parent))
    assert len(opened("sounds").train.labels) == 4
    monkeypatch.setenv("HOME", str(root.parent))
    assert audio_folder("~/sounds").root == Path(root)


def test_a_missing_folder_is_named_with_the_command_that_gets_it_or_the_key_to_set(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_DATA", str(tmp_path))
    with pytest.raises(DataMissingError) as error:
        opened("clips", obtain='tar xf clips.tar -C "$QUANTBENCH_DATA"')
    assert str(error.value) == f'{tmp_path}/clips/train: no such folder. To get it: tar xf clips.tar -C "{tmp_path}"'
    assert refusal(tmp_path / "clips", DataMissingError).endswith("with data.root")


def test_a_missing_test_side_is_named(root):
    (root / "test").rename(root / "validation")
    assert f"{root}/test: no such folder" in refusal(root, DataMissingError)


def test_a_folder_without_a_sound_is_refused_with_where_sounds_belong(root):
    for path in (root / "test").glob("*/*"):
        path.unlink()
    assert refusal(root) == f"{root}/test: no sound file; put them into test/<label>/, as .wav or .flac"


def test_another_extension_is_refused_with_those_allowed_and_the_number_of_such_files(root):
    (root / "train/low/song.mp3").touch()
    (root / "train/high/notes.txt").touch()
    (root / "train/high/.DS_Store").touch()
    assert refusal(root) == (
        f"{root}/train/high/notes.txt (and 1 more): not a .wav or .flac file; convert it, or take it out of the folder"
    )


@pytest.mark.parametrize(("name", "form"), [("4.wave", "WAV"), ("4", "FLAC"), ("4.bin", "RF64")])
def test_a_sound_is_told_by_its_content_where_its_suffix_does_not_say_so(root, name, form):
    soundfile.write(root / "train/low" / name, sound(9), 8_000, format=form)
    np.testing.assert_array_equal(opened(root).train.inputs[4], [sound(9)])


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_sound_that_ends_early_is_refused_by_its_path(root, suffix):
    path = root / f"train/low/4.{suffix}"
    soundfile.write(path, np.random.RandomState(0).randint(-20_000, 20_000, 7_000).astype(np.int16), 8_000)
    path.write_bytes(path.read_bytes()[:-6_000])
    assert f"{path}: " in refusal(root)


@pytest.mark.parametrize("place", ["a.wav", "low/more/a.wav"])
def test_a_sound_outside_the_labels_folders_is_refused_instead_of_left_out(root, place):
    path = root / "train" / place
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, sound(9), 8_000)
    assert refusal(root) == f"{path}: is not in a label's folder; put it into {root}/train/<label>/"


def test_hidden_files_and_folders_are_not_looked_at(root):
    (root / "train/.trash").mkdir()
    (root / "train/.trash/old.wav").touch()
    (root / "test/low/._3.wav").write_bytes(b"?")
    assert len(opened(root).train.labels) == 4


def test_sides_with_different_labels_are_refused_with_the_odd_ones(root):
    (root / "test/low").rename(root / "test/bass")
    assert refusal(root) == f"{root}: train/ and test/ have different labels: bass, low; give both the same ones"


def test_a_folder_with_one_label_is_refused_before_anything_is_decoded(root):
    for side in ("train", "test"):
        for path in (root / side / "low").iterdir():
            path.unlink()
        (root / side / "low").rmdir()
    (root / PLACES[0]).write_bytes(b"?")
    assert refusal(root) == f"{root}: one label only, 'high'; a classification data set needs at least two"


def test_bad_files_are_named_nothing_is_kept_of_them_and_every_earlier_cache_stays(root, tmp_path):
    other = tmp_path / "other"
    (root.parent / "sounds").rename(other)
    opened(other)
    cache = tmp_path / "cache" / "data"
    before = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    assert before

    whole = (other / PLACES[1]).read_bytes()
    (other / PLACES[1]).write_bytes(whole[:-20])
    soundfile.write(other / PLACES[4], np.zeros((9, 2)), 8_000)
    told = refusal(other)
    assert told.startswith(f"2 of 6 sound files cannot be used: {other / PLACES[1]}: not a readable sound file (")
    assert f"{other / PLACES[4]}: has 2 channels" in told
    after = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"}
    assert after == {path: content for path, content in before.items() if path.suffix != ".lock"}
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1

    (other / PLACES[1]).write_bytes(whole)
    soundfile.write(other / PLACES[4], sound(4), 8_000)
    assert len(opened(other).train.labels) == 4


CONFIG = """\
workload:
  model: {name: m5, n_channel: 2}
  data: {name: audio_folder, root: tones, calibration_pool: 8}
  baseline: tones
  training: {epochs: 2, lr: 0.05, batch_size: 8, augment: [time_shift]}
  latency: {batch_size: 4, runtimes: [], rounds: 12}
experiments:
  fp32_baseline:
    recipe: {name: fp32_baseline}
  ptq_static:
    recipe: {name: static_int8_per_tensor, calibration_n: 8}
"""


@pytest.fixture
def tones(tmp_path, monkeypatch):
    """A workload on sounds in a folder of its own; the current folder is its root."""
    random = np.random.RandomState(0)
    for side, count in (("train", 20), ("test", 10)):
        for label, frequency_hz in (("high", 1_500), ("low", 300)):
            folder = tmp_path / "data" / "tones" / side / label
            folder.mkdir(parents=True)
            for i in range(count):
                tone = np.sin(2 * np.pi * frequency_hz * np.arange(16_000) / 16_000 + random.uniform(0, 6))
                soundfile.write(folder / f"{i:02}.wav", 0.3 * tone + random.uniform(-0.1, 0.1, 16_000), 16_000)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/tones.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_workload_of_ones_own_sounds_is_trained_and_quantized_from_the_command_line(tones, quantbench):
    status, out, _ = quantbench("train", "tones")
    assert (status, out.startswith("golden/baselines/tones.safetensors: accuracy ")) == (0, True)
    card = json.loads(Path("golden/baselines/tones.json").read_text())
    assert (card["n_train"], card["n_test"]) == (32, 20)
    status, _, err = quantbench("quantize", "tones", "--config", "static_int8_per_tensor", "--out", "q.pt")
    assert (status, Path("q.pt").stat().st_size > 0) == (0, True), err


def test_an_augmentation_for_images_is_refused_for_sounds_with_those_that_fit(tones, quantbench):
    path = Path("configs/tones.yaml")
    path.write_text(path.read_text().replace(", augment: [time_shift]", ""))
    status, _, err = quantbench("train", "tones")
    assert status == 2
    assert err.splitlines()[-1].endswith(
        "workload.training.augment: 'pad_crop' is not for sounds. Allowed: time_shift; set augment: []"
    )
