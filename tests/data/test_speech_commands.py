"""Speech Commands is split by its own lists or by speaker, and no speaker is ever heard on both sides."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from quantbench.config.schema import DataConfig
from quantbench.data import speech_commands as module
from quantbench.data.cache import open_cached
from quantbench.data.opening import open_splits
from quantbench.data.speech_commands import speech_commands
from quantbench.data.speech_words import WORDS
from quantbench.errors import DataError
from quantbench.registry import DATA

CONFIG = Path(__file__).parents[2] / "configs" / "m5_speech_commands.yaml"
SPEAKERS = [hashlib.sha256(bytes([i])).hexdigest()[:8] for i in range(12)]
TESTING, VALIDATION = SPEAKERS[:3], SPEAKERS[3:5]
MINE = ("yes", "no")


def clip_of(word, speaker, number=0):
    """A tone whose place in the alphabet of words, speakers and numbers can be heard."""
    seed = int(speaker, 16) % 1_000 + 1_000 * WORDS.index(word) + number
    return np.random.RandomState(seed).randint(-9_000, 9_000, 1_600).astype(np.int16)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three words said by twelve speakers, of whom the lists have three for the test and two for validation."""
    monkeypatch.setattr(module, "LEAST_TRAIN_CLIPS", 4)
    monkeypatch.setattr(module, "LEAST_TEST_CLIPS", 2)
    folder = tmp_path / "data" / "SpeechCommands" / "speech_commands_v0.02"
    for word in ("no", "up", "yes"):
        (folder / word).mkdir(parents=True)
        for speaker in SPEAKERS:
            soundfile.write(folder / word / f"{speaker}_nohash_0.wav", clip_of(word, speaker), 16_000)
    (folder / "_background_noise_").mkdir()
    soundfile.write(folder / "_background_noise_/hum.wav", np.zeros(100), 16_000)
    for name, speakers in (("testing", TESTING), ("validation", VALIDATION)):
        lines = [f"{word}/{speaker}_nohash_0.wav\n" for word in ("no", "up", "yes") for speaker in speakers]
        (folder / f"{name}_list.txt").write_text("".join(lines))
    return folder


def opened(words=MINE, **params):
    return open_cached("speech_commands", speech_commands(words, **params))


def refusal(words=MINE, error=DataError, **params):
    with pytest.raises(error) as caught:
        opened(words, **params)
    told = str(caught.value)
    assert "\n" not in told
    return told


def speakers_of(side):
    return {f"{group:08x}" for group in side.groups}


def only_up_in_the_test_list(folder):
    lines = [f"up/{speaker}_nohash_0.wav\n" for speaker in SPEAKERS]
    lines += [f"{word}/{speaker}_nohash_0.wav\n" for word in MINE for speaker in TESTING]
    (folder / "testing_list.txt").write_text("".join(lines))
    (folder / "validation_list.txt").write_text("")


def test_the_official_lists_are_followed_and_the_validation_list_belongs_to_the_training_side(folder):
    data = opened()
    assert data.classes == ("no", "yes"), "in alphabetical order"
    assert speakers_of(data.test) == set(TESTING)
    assert speakers_of(data.train) == set(SPEAKERS) - set(TESTING)
    assert set(VALIDATION) <= speakers_of(data.train)
    assert (len(data.train.labels), len(data.test.labels)) == (18, 6)


def test_every_clip_is_stored_once_at_8_khz_with_its_word_and_speaker(folder):
    data = opened()
    for side, speakers in ((data.train, sorted(set(SPEAKERS) - set(TESTING))), (data.test, sorted(TESTING))):
        expected = [(word, speaker) for word in sorted(MINE) for speaker in speakers]
        assert [data.classes[label] for label in side.labels] == [word for word, _ in expected]
        assert side.groups.tolist() == [int(speaker, 16) for _, speaker in expected]
        assert side.inputs.shape == (len(expected), 1, 8_000)
        for clip, (word, speaker) in zip(side.inputs, expected, strict=True):
            half = module.decode_clips(
                [folder / word / f"{speaker}_nohash_0.wav"], module.ClipFormat(), lambda *_: None
            )
            np.testing.assert_array_equal(clip, half[0])
            assert np.abs(clip[0, 810:]).max() == 0, "0.1 s of sound, then silence"


def test_the_words_of_a_subset_are_the_classes_in_whatever_order_they_are_given(folder):
    assert opened(("up", "no", "yes")).classes == ("no", "up", "yes")
    assert opened(("yes", "up")).classes == opened(("up", "yes")).classes == ("up", "yes")
    assert len([path for path in (folder.parents[2] / "cache/data").iterdir() if path.is_dir()]) == 2


def test_a_split_by_speaker_puts_each_speaker_on_one_side_whatever_the_lists_say(folder):
    data = opened(split="speaker", test_percent=40)
    assert not speakers_of(data.train) & speakers_of(data.test)
    assert speakers_of(data.train) | speakers_of(data.test) == set(SPEAKERS)
    assert speakers_of(data.test) != set(TESTING)


def test_more_clips_and_other_words_move_no_speaker(folder):
    before = speakers_of(opened(split="speaker", test_percent=40).test)
    for speaker in SPEAKERS:
        soundfile.write(folder / f"yes/{speaker}_nohash_7.wav", clip_of("yes", speaker, 7), 16_000)
    assert speakers_of(opened(split="speaker", test_percent=40).test) == before
    assert speakers_of(opened(("up", "no"), split="speaker", test_percent=40).test) == before


def test_more_percent_for_the_test_keep_those_speakers_that_were_in_it(folder):
    less = speakers_of(opened(split="speaker", test_percent=30).test)
    assert less < speakers_of(opened(split="speaker", test_percent=50).test)


def test_auto_is_official_where_the_lists_carry_every_word(folder):
    assert speakers_of(opened(split="auto").test) == set(TESTING)


def test_auto_goes_by_speaker_where_the_lists_leave_one_word_without_training_clips(folder):
    only_up_in_the_test_list(folder)
    words = ("yes", "no", "up")
    auto, by_speaker = opened(words, test_percent=40), opened(words, split="speaker", test_percent=40)
    np.testing.assert_array_equal(auto.test.digests, by_speaker.test.digests)
    assert not speakers_of(auto.train) & speakers_of(auto.test)
    assert speakers_of(opened(MINE, test_percent=40).test) == set(TESTING), "without that word the lists will do"


def test_official_refuses_a_word_without_training_clips_with_its_counts_and_the_ways_out(folder):
    only_up_in_the_test_list(folder)
    assert refusal(("yes", "no", "up"), split="official") == (
        f"{folder}: by the official lists, 'up' has 0 training and 12 test clips; at least 4 and 2 are needed: leave "
        "these words out of data.words, split by speaker (data.split: speaker), or get all of Speech Commands"
    )


def test_a_word_that_this_folder_has_no_clips_of_is_refused_with_its_counts(folder):
    assert refusal(("yes", "marvin"), test_percent=40) == (
        f"{folder}: by a split by speaker, 40 % for the test, 'marvin' has 0 training and 0 test clips; at least 4 and "
        "2 are needed: leave these words out of data.words, or get all of Speech Commands"
    )


@pytest.mark.parametrize("split", ["auto", "official", "speaker"])
def test_the_four_splits_share_no_speaker(folder, split):
    config = DataConfig(
        name="speech_commands", words=list(MINE), split=split, test_percent=40, calibration_pool=3, search_pool=2
    )
    splits = open_splits(config, "here")
    parts = [set(each.groups.tolist()) for each in (splits.train, splits.calibration, splits.search, splits.test)]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(SPEAKERS)


def test_a_speaker_whom_the_lists_have_on_both_sides_is_refused(folder):
    path = folder / "testing_list.txt"
    path.write_text(path.read_text() + f"yes/{SPEAKERS[8]}_nohash_0.wav\n")
    with pytest.raises(DataError, match=r"share 1 group\(s\) of samples that belong together, such as one speaker's"):
        open_splits(DataConfig(name="speech_commands", words=list(MINE), calibration_pool=2), "here")


def test_the_committed_workload_asks_for_words_that_exist():
    data = yaml.safe_load(CONFIG.read_text())["workload"]["data"]
    params = {key: data[key] for key in ("words", "split", "test_percent") if key in data}
    source = DATA.create("speech_commands", "here", params)
    assert source.words == tuple(sorted(data["words"]))
    assert 10 <= len(source.words) <= len(WORDS) == 35
