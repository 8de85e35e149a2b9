"""A sound file that cannot be used is named with its reason, whatever its header claims."""

import struct

import numpy as np
import pytest
import soundfile

from quantbench.data import audio
from quantbench.data.audio import ClipFormat, decode_clip, decode_clips
from quantbench.errors import DataError

RATE = 16_000
# Places in the header of a plain WAV file.
CHANNELS, SAMPLE_RATE, DATA_BYTES, DATA = 22, 24, 40, 44


@pytest.fixture
def path(tmp_path):
    """A quiet second of noise."""
    return written(tmp_path / "a.wav", np.random.RandomState(0).randint(-99, 100, RATE).astype(np.int16))


def written(path, sound, rate=RATE, **options):
    soundfile.write(path, sound, rate, **options)
    return path


def patched(path, at, value):
    content = path.read_bytes()
    path.write_bytes(content[:at] + value + content[at + len(value) :])
    return path


def refusal(path, clip_format=None):
    with pytest.raises(DataError) as error:
        decode_clip(path, clip_format or ClipFormat())
    told = str(error.value)
    assert told.startswith(f"{path}: ")
    assert "\n" not in told
    return told.removeprefix(f"{path}: ")


def test_another_rate_than_the_data_sets_is_refused_with_both(tmp_path):
    path = written(tmp_path / "a.wav", np.zeros(100), 44_100)
    assert refusal(path, ClipFormat(source_rate=RATE)) == "is sampled at 44,100 Hz; its data set has 16,000 Hz only"
    assert len(decode_clip(path, ClipFormat())) == 8_000, "any rate will do where none is asked for"


def test_stereo_is_refused_with_what_to_do(tmp_path):
    assert refusal(written(tmp_path / "a.wav", np.zeros((100, 2)))) == "has 2 channels; mix it down to one"


def test_zero_length_is_refused(tmp_path):
    assert refusal(written(tmp_path / "a.wav", np.zeros(0))) == "holds no sound: its length is zero"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_the_first_sample_that_is_one(tmp_path, value):
    sound = np.zeros(100)
    sound[[37, 60]] = value
    path = written(tmp_path / "a.wav", sound, subtype="FLOAT")
    assert refusal(path) == "holds NaN or infinity, first at sample 37"


@pytest.mark.parametrize(("value", "shown"), [(20_000.0, "20000"), (-1e308, "1e+308")])
def test_floats_far_beyond_full_scale_are_refused_instead_of_clipped(tmp_path, value, shown):
    path = written(tmp_path / "a.wav", np.array([0.1, value]), subtype="DOUBLE")
    assert refusal(path) == f"holds values of up to {shown}; a sound of floating point stays within −1..1"


def test_floats_that_would_be_clipped_are_refused(tmp_path):
    sound = np.random.RandomState(0).uniform(-9, 9, 1_000)
    path = written(tmp_path / "a.wav", sound, subtype="FLOAT")
    share, loudest = 100 * (np.abs(sound) > 1).mean(), np.abs(sound.astype(np.float32)).max()
    assert refusal(path) == (
        f"{share:.0f} % of its samples lie beyond −1..1, up to {loudest:g}, and would be clipped; scale it"
    )
    sound[np.abs(sound) > 1] = 0.5
    sound[:10] = 1.2
    assert decode_clip(written(path, sound, subtype="FLOAT"), ClipFormat(RATE)).max() == 32_767


def test_floats_that_would_be_silence_are_refused(tmp_path):
    path = written(tmp_path / "a.wav", np.full(100, 1e-5), subtype="FLOAT")
    assert refusal(path) == "holds values of up to 1e-05 only, which is silence in 16 bits; scale it"
    assert not decode_clip(written(path, np.zeros(100), subtype="FLOAT"), ClipFormat()).any()
    assert decode_clip(written(path, np.full(100, 1 / 32_768)), ClipFormat(RATE)).max() == 1


def test_bytes_that_are_no_sound_are_refused_in_the_readers_words(tmp_path):
    path = tmp_path / "with: a colon.wav"
    path.write_bytes(b"no sound at all" * 10)
    assert refusal(path) == "not a readable sound file (Format not recognised)"


def test_an_empty_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "a.wav").touch()
    assert refusal(tmp_path / "a.wav") == "not a readable sound file (Format not recognised)"
    assert (
        refusal(tmp_path / "b.wav")
        == "cannot be read (No such file or directory); allow it, or take it out of the folder"
    )


def test_a_wav_cut_short_is_refused_with_what_is_left_of_it_and_not_padded(path):
    path.write_bytes(path.read_bytes()[: DATA + 1_000])
    assert refusal(path) == "is cut short: 1,000 of 32,000 bytes of sound are there"
    path.write_bytes(path.read_bytes()[:DATA])
    assert refusal(path) == "is cut short: 0 of 32,000 bytes of sound are there"


@pytest.mark.parametrize("kept", [0, 20, 44, 60, 5_000])
def test_a_flac_cut_anywhere_is_refused(tmp_path, kept):
    path = written(tmp_path / "a.flac", np.random.RandomState(0).uniform(-0.5, 0.5, RATE))
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(path).startswith("not a readable sound file (")


def test_a_flac_changed_in_its_middle_is_refused(tmp_path):
    path = written(tmp_path / "a.flac", np.random.RandomState(0).uniform(-0.5, 0.5, RATE))
    patched(path, path.stat().st_size // 2, bytes(400))
    assert refusal(path).startswith("not a readable sound file (")


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x80000000])
def test_a_header_written_before_the_length_was_known_is_read_to_the_end_of_the_file(path, size):
    whole = decode_clip(path, ClipFormat())
    np.testing.assert_array_equal(decode_clip(patched(path, DATA_BYTES, struct.pack("<I", size)), ClipFormat()), whole)


def test_a_header_that_promises_far_more_than_the_file_holds_allocates_nothing_for_it(path):
    patched(path, DATA_BYTES, struct.pack("<I", 0x6FFF_0000))
    assert refusal(path) == "is cut short: 32,000 of 1,878,982,656 bytes of sound are there"


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2_000_000_000, 2**31 - 1])
def test_a_rate_that_no_sound_has_is_refused_with_those_allowed(path, rate):
    patched(path, SAMPLE_RATE, struct.pack("<I", rate))
    assert refusal(path) == f"is sampled at {rate:,} Hz, its header says; 1,000 to 768,000 Hz are allowed"


@pytest.mark.parametrize("rate", [0, 2**32 - 1])
def test_a_rate_of_zero_or_below_is_refused_by_the_reader(path, rate):
    assert refusal(patched(path, SAMPLE_RATE, struct.pack("<I", rate))).startswith("not a readable sound file (")


def test_a_rate_that_needs_a_filter_too_large_is_refused_with_what_to_do(path):
    assert refusal(patched(path, SAMPLE_RATE, struct.pack("<I", 44_101))) == (
        "44,101 Hz cannot be brought to 8,000 Hz by a filter of sensible size; resample it to a common rate, such as "
        "16,000 Hz"
    )


@pytest.mark.parametrize(("channels", "told"), [(0, "not a readable"), (1_024, "has 1024 channels"), (65_535, "not a")])
def test_an_impossible_number_of_channels_is_refused(path, channels, told):
    assert refusal(patched(path, CHANNELS, struct.pack("<H", channels))).startswith(told)


def test_every_bad_file_among_many_is_named_with_its_reason_after_all_were_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "CHUNK_FILES", 8)
    paths = [written(tmp_path / f"{i:03}.wav", np.full(10, i / 200)) for i in range(100)]
    written(paths[3], np.zeros(0))
    paths[50].write_bytes(b"?")
    written(paths[99], np.zeros((10, 2)))
    done = []
    with pytest.raises(DataError) as error:
        decode_clips(paths, ClipFormat(), lambda at, _: done.append(at))
    assert done[-1] == 100
    assert str(error.value) == (
        f"3 of 100 sound files cannot be used: {paths[3]}: holds no sound: its length is zero; {paths[50]}: not a "
        f"readable sound file (Format not recognised); {paths[99]}: has 2 channels; mix it down to one. Repair or "
        "remove them; nothing that was decoded before is lost"
    )


def test_of_many_bad_files_the_first_are_named_and_the_rest_counted(tmp_path):
    path = written(tmp_path / "bad.wav", np.zeros(0))
    paths = [tmp_path / f"{i}.wav" for i in range(7)]
    with pytest.raises(DataError) as error:
        decode_clips([*paths, *[path] * 1_000], ClipFormat(), lambda *_: None)
    told = str(error.value)
    assert told.startswith("1,007 of 1,007 sound files cannot be used: ")
    assert [f"{path}: " in told for path in paths] == [True] * 5 + [False] * 2
    assert "; and 1,002 more. Repair" in told
