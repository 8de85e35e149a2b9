"""Sound files become clips of one rate and length, in order, and a file that cannot is named with its reason."""

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from quantbench.data import audio
from quantbench.data.audio import AUDIO_NORMALIZATION, ClipFormat, decode_clip, decode_clips, resample

AS_IS = ClipFormat(sample_rate=16_000, clip_samples=400)


def sine(frequency_hz, rate, n, level=0.5):
    return level * np.sin(2 * np.pi * frequency_hz * np.arange(n) / rate)


def integers(n, seed=0):
    return np.random.RandomState(seed).randint(-32_768, 32_768, n).astype(np.int16)


def written(path, sound, rate=16_000, **options):
    soundfile.write(path, sound, rate, **options)
    return path


def no_progress(done, total):
    pass


def spectrum_peak(clip, rate):
    """Frequency, Hz, and amplitude, 1.0 at full scale, of the strongest tone in the middle of a clip."""
    middle = clip[len(clip) // 4 : 3 * len(clip) // 4].astype(float) / 32_768
    window = np.hanning(len(middle))
    spectrum = np.abs(np.fft.rfft(middle * window, 16 * len(middle)))
    at = int(spectrum.argmax())
    return at * rate / (16 * len(middle)), 2 * spectrum[at] / window.sum()


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_file_of_the_right_rate_and_length_comes_out_bit_for_bit(tmp_path, suffix):
    sound = integers(400)
    clip = decode_clip(written(tmp_path / f"a.{suffix}", sound), AS_IS)
    np.testing.assert_array_equal(clip, sound)
    assert clip.dtype == np.int16


def test_a_shorter_sound_is_padded_with_silence_at_its_end_and_a_longer_one_cut(tmp_path):
    sound = integers(1_000)
    short = decode_clip(written(tmp_path / "short.wav", sound[:100]), AS_IS)
    np.testing.assert_array_equal(short, np.r_[sound[:100], np.zeros(300, np.int16)])
    np.testing.assert_array_equal(decode_clip(written(tmp_path / "long.wav", sound), AS_IS), sound[:400])


def test_24_bits_are_rounded_to_16_and_full_scale_does_not_wrap_around(tmp_path):
    # Enough that is within full scale, beyond which one sample in a hundred may lie.
    floats = np.r_[1.0, -1.0, 1.5, -1.5, 0.25, 1.6 / 32_768, np.zeros(394)]
    clip = decode_clip(written(tmp_path / "a.wav", floats, subtype="DOUBLE"), AS_IS)
    assert clip[:6].tolist() == [32_767, -32_768, 32_767, -32_768, 8_192, 2]
    values = np.array([0x7FFFFF, 0x000100, 0x000180], np.int32) << 8
    assert decode_clip(written(tmp_path / "b.wav", values, subtype="PCM_24"), AS_IS)[:3].tolist() == [32_767, 1, 2]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("frequency_hz", [440, 2_500])
def test_a_sine_keeps_its_frequency_and_its_level_at_every_rate(tmp_path, rate, frequency_hz):
    path = written(tmp_path / "a.wav", sine(frequency_hz, rate, rate), rate)
    frequency, level = spectrum_peak(decode_clip(path, ClipFormat()), 8_000)
    assert frequency == pytest.approx(frequency_hz, abs=0.5)
    assert level == pytest.approx(0.5, rel=0.01)


def test_what_lies_above_half_the_new_rate_does_not_fold_back_into_the_clip(tmp_path):
    clip = decode_clip(written(tmp_path / "a.wav", sine(6_000, 16_000, 16_000)), ClipFormat())
    assert np.abs(clip[500:-500]).max() < 0.01 * 16_384


@pytest.mark.parametrize(("rate", "up", "down"), [(16_000, 1, 2), (44_100, 80, 441), (6_000, 4, 3)])
def test_resampling_agrees_with_another_implementation(rate, up, down):
    t = np.arange(rate) / rate
    chirp = np.sin(2 * np.pi * (200 + 800 * t) * t)
    ours, theirs = resample(chirp, rate, 8_000), resample_poly(chirp, up, down)
    assert len(ours) == len(theirs) == 8_000
    # The filters differ near their cut-off and at the ends; this sound stays below 2 kHz.
    assert np.abs(ours - theirs)[200:-200].max() < 0.01


def test_a_long_file_is_cut_without_an_edge_that_would_change_the_end_of_the_clip(tmp_path):
    whole = sine(1_000, 16_000, 64_000)
    clip = decode_clip(written(tmp_path / "a.wav", whole, subtype="DOUBLE"), ClipFormat())
    np.testing.assert_array_equal(clip, np.rint(resample(whole, 16_000, 8_000)[:8_000] * 32_768))


def test_clips_become_waveforms_between_minus_one_and_one():
    import torch

    stored = torch.tensor([[[-32_768, 0, 16_384]]], dtype=torch.int16)
    assert AUDIO_NORMALIZATION(stored).tolist() == [[[-1.0, 0.0, 0.5]]]


def test_decoding_in_parallel_keeps_the_order(tmp_path, monkeypatch):
    # The first files take far longer than the last, and every thread has several chunks.
    monkeypatch.setattr(audio, "CHUNK_FILES", 2)
    paths, first = [], []
    for i in range(24):
        n = 300_000 if i < 6 else 50
        sound = integers(n, seed=i)
        paths.append(written(tmp_path / f"{23 - i:02}.{'flac' if i % 2 else 'wav'}", sound))
        first.append(sound[:50])
    done = []
    clips = decode_clips(paths, ClipFormat(16_000, 200_000), lambda *at: done.append(at))
    assert clips.shape == (24, 1, 200_000)
    np.testing.assert_array_equal(clips[:, 0, :50], first)
    assert done == [(n, 24) for n in range(2, 25, 2)]


def test_no_file_gives_no_clip():
    assert decode_clips([], ClipFormat(), no_progress).shape == (0, 1, 8_000)


def test_an_interrupted_decoding_does_not_go_on_with_the_files_that_wait(tmp_path, monkeypatch):
    started = []
    decode_chunk = audio._decode_chunk

    def counted(chunk):
        started.append(chunk)
        return decode_chunk(chunk)

    def interrupt(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr(audio, "CHUNK_FILES", 1)
    monkeypatch.setattr(audio, "_decode_chunk", counted)
    with pytest.raises(KeyboardInterrupt):
        decode_clips([written(tmp_path / "a.wav", integers(20_000))] * 2_000, ClipFormat(), interrupt)
    assert len(started) < 1_000
