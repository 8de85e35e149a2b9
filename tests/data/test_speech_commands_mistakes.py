"""What is wrong with a folder of Speech Commands is named: the word, the list, the file; and nothing cached is lost."""

import hashlib
import os

import numpy as np
import pytest
import soundfile
from torchaudio.datasets import speechcommands

from quantbench.data import speech_commands as module
from quantbench.data.cache import open_cached
from quantbench.data.speech_commands import speech_commands
from quantbench.errors import ConfigError, DataError, DataMissingError
from quantbench.registry import DATA

SPEAKERS = [hashlib.sha256(bytes([i])).hexdigest()[:8] for i in range(6)]
MINE = ("no", "yes")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two words said by six speakers, two of them for the test."""
    monkeypatch.setattr(module, "LEAST_TRAIN_CLIPS", 2)
    monkeypatch.setattr(module, "LEAST_TEST_CLIPS", 1)
    folder = tmp_path / "data" / "SpeechCommands" / "speech_commands_v0.02"
    for word in MINE:
        (folder / word).mkdir(parents=True)
        for speaker in SPEAKERS:
            write(folder, word, speaker)
    (folder / "testing_list.txt").write_text("".join(f"{w}/{s}_nohash_0.wav\n" for w in MINE for s in SPEAKERS[:2]))
    (folder / "validation_list.txt").write_text(f"yes/{SPEAKERS[2]}_nohash_0.wav\n")
    return folder


def write(folder, word, speaker, rate=16_000):
    sound = np.random.RandomState(int(speaker, 16) % 99 + len(word)).uniform(-0.5, 0.5, 160)
    soundfile.write(folder / word / f"{speaker}_nohash_0.wav", sound, rate)


def opened(words=MINE, **params):
    return open_cached("speech_commands", speech_commands(words, **params))


def refusal(words=MINE, error=DataError, **params):
    with pytest.raises(error) as caught:
        opened(words, **params)
    told = str(caught.value)
    assert "\n" not in told
    return told


def created(**params):
    return DATA.create("speech_commands", "a.yaml: workload.data", params)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"words": ["yes", "marvn"]}, "unknown word 'marvn'. Did you mean 'marvin'? Known: backward, bed, bird, "),
        ({"words": ["yes", "no", "yes"]}, "words: 'yes' is given twice"),
        ({"words": ["yes"]}, "words: 1 given; a classification data set needs at least two"),
        ({"words": []}, "words: 0 given; "),
        ({"words": ["yes", False]}, "words.1: Input should be a valid string (given: False)"),
        ({"split": "random"}, "split: Input should be 'auto', 'official' or 'speaker' (given: 'random')"),
        ({"test_percent": 0}, "test_percent: Input should be greater than or equal to 1 (given: 0)"),
        ({"test_percent": 51}, "test_percent: Input should be less than or equal to 50 (given: 51)"),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_place_and_what_is_allowed(params, told):
    with pytest.raises(ConfigError) as error:
        created(**params)
    assert str(error.value).startswith("a.yaml: workload.data")
    assert told in str(error.value)


def test_without_words_all_35_are_meant():
    assert len(created().words) == 35


def test_a_missing_folder_is_told_with_the_option_that_downloads_it_and_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(speechcommands, "download_url_to_file", lambda *_, **__: pytest.fail("nobody asked for this"))
    assert refusal(error=DataMissingError) == (
        f"{tmp_path}/data/SpeechCommands/speech_commands_v0.02: no such folder. To get it: --real-data, which lets "
        "torchaudio download Speech Commands v0.02 (2.3 GB, 105,829 clips)"
    )


def test_a_download_that_was_asked_for_and_fails_is_told_as_that(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("the network is unreachable")

    monkeypatch.setenv("QUANTBENCH_DOWNLOAD", "1")
    monkeypatch.setattr(speechcommands, "download_url_to_file", unreachable)
    told = refusal()
    assert "Speech Commands cannot be read (the network is unreachable). Remove the folder and get it again" in told


@pytest.mark.parametrize("name", ["testing_list.txt", "validation_list.txt"])
def test_a_missing_list_is_named(folder, name):
    (folder / name).unlink()
    told = refusal()
    assert f"{folder}: Speech Commands cannot be read (" in told
    assert f"{name}'" in told
    assert told.endswith("Remove the folder and get it again with --real-data")


def test_a_listed_file_that_is_missing_is_named(folder):
    path = folder / f"yes/{SPEAKERS[0]}_nohash_0.wav"
    path.unlink()
    assert refusal() == (
        f"{path}: is on the official list but not there; the folder is incomplete: remove it and get Speech Commands "
        "again"
    )


@pytest.mark.parametrize(
    "line", ["yes/who_nohash_0.wav", "yes/12ab34cd.wav", "yes/12ab34cd_nohash_x.wav", "../yes/12ab34cd_nohash_0.wav"]
)
def test_a_line_of_a_list_that_is_no_clips_place_is_quoted(folder, line):
    (folder / "testing_list.txt").write_text(f"no/{SPEAKERS[0]}_nohash_0.wav\n{line}\n")
    assert refusal() == (
        f"{folder}: '{line}' is no clip's place: <word>/<speaker>_nohash_<number>.wav, the speaker in hexadecimal "
        "digits. Correct the name, or the list that has it"
    )


def test_a_file_whose_name_has_no_speaker_is_quoted(folder):
    (folder / "yes/me_nohash_0.wav").touch()
    assert f"{folder}: 'yes/me_nohash_0.wav' is no clip's place" in refusal()


def test_a_file_of_another_kind_among_the_clips_is_named_instead_of_left_out(folder):
    (folder / "yes/.hidden").touch()
    (folder / f"yes/{SPEAKERS[0]}_nohash_1.mp3").touch()
    assert refusal() == (
        f"{folder}/yes/{SPEAKERS[0]}_nohash_1.mp3: not a .wav file; convert it, or take it out of the folder"
    )


def test_too_few_clips_for_the_test_are_refused_with_the_counts_of_each_word(folder, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("QUANTBENCH_DATA", str(folder.parents[1]))
    monkeypatch.setenv("QUANTBENCH_CACHE", str(folder.parents[2] / "cache"))
    assert refusal(split="official") == (
        f"{folder}: by the official lists, 'no' has 4 training and 2 test clips; 'yes' has 4 training and 2 test clips"
        "; at least 50 and 20 are needed: leave these words out of data.words, split by speaker (data.split: speaker), "
        "or get all of Speech Commands"
    )


def test_a_changed_clip_is_decoded_anew_and_another_words_clip_is_not_looked_at(folder):
    before = np.array(opened().train.inputs)
    write(folder, "yes", SPEAKERS[5], rate=16_000)
    (folder / "up").mkdir()
    (folder / f"up/{SPEAKERS[5]}_nohash_0.wav").write_bytes(b"?")
    np.testing.assert_array_equal(opened().train.inputs, before)
    soundfile.write(folder / f"yes/{SPEAKERS[5]}_nohash_0.wav", np.full(99, 0.1), 16_000)
    assert not np.array_equal(opened().train.inputs, before)


def test_bad_clips_are_named_all_at_once_and_what_was_cached_before_stays(folder, tmp_path):
    opened()
    cache = tmp_path / "cache" / "data"
    (first,) = [path for path in cache.iterdir() if path.is_dir()]
    before = {path: path.read_bytes() for path in first.iterdir()}
    paths = [folder / f"{word}/{speaker}_nohash_0.wav" for word, speaker in zip(MINE, SPEAKERS[3:5], strict=True)]
    write(folder, "no", SPEAKERS[3], rate=22_050)
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    assert refusal() == (
        f"2 of 12 sound files cannot be used: {paths[0]}: is sampled at 22,050 Hz; its data set has 16,000 Hz only; "
        f"{paths[1]}: is cut short: 56 of 320 bytes of sound are there. Repair or remove them; nothing that was "
        "decoded before is lost"
    )
    assert [path for path in cache.iterdir() if path.suffix != ".lock"] == [first]
    assert {path: path.read_bytes() for path in first.iterdir()} == before
    for path in paths:
        path.unlink()
    assert len(opened().train.labels) == 6


@pytest.mark.parametrize("place", ["hello", "hum.wav"])
def test_what_lies_beside_the_words_and_is_none_of_them_is_refused(folder, place):
    path = folder / place
    path.write_bytes(b"?") if path.suffix else path.mkdir()
    assert refusal() == f"{path}: is no folder of one of the 35 words; take it out of the folder"


def test_documents_and_noise_beside_the_words_are_no_clips(folder):
    for name in ("LICENSE", "README.md", "MANIFEST.tsv"):
        (folder / name).touch()
    (folder / "_background_noise_").mkdir()
    assert len(opened().test.labels) == 4


def test_a_clip_that_the_lists_leave_out_for_its_name_is_named(folder):
    path = folder / "yes/mine.wav"
    path.write_bytes((folder / f"yes/{SPEAKERS[0]}_nohash_0.wav").read_bytes())
    assert refusal() == (f"{path}: has no '_nohash_' in its name, which every clip has; take it out of the folder")


def test_a_clip_that_is_a_named_pipe_is_refused_unread(folder):
    path = folder / f"yes/{SPEAKERS[0]}_nohash_1.wav"
    os.mkfifo(path)
    assert refusal() == f"{path}: is a named pipe; take it out of the folder"


def test_clips_exchanged_with_sizes_and_times_kept_are_noticed(folder):
    before = np.array(opened().test.inputs)
    first, second = (folder / f"{word}/{SPEAKERS[0]}_nohash_0.wav" for word in MINE)
    contents, times = [path.read_bytes() for path in (first, second)], [path.stat() for path in (first, second)]
    for path, content, stat in zip((first, second), contents[::-1], times, strict=True):
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not np.array_equal(opened().test.inputs, before)
