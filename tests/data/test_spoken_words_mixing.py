"""Speech is resampled, levelled and mixed in integers: frequencies, levels and distances are those asked for."""

import math

import numpy as np
import pytest
from scipy.signal import resample_poly

from quantbench.data import spoken_words_mixing as mixing
from quantbench.data.spoken_words_mixing import mixed, resampled

ESPEAK_RATE = 22_050


def tone(frequency_hz, rate, seconds=0.5, amplitude=12_000):
    n = int(rate * seconds)
    return np.rint(amplitude * np.cos(2 * np.pi * frequency_hz * np.arange(n) / rate)).astype(np.int16)


def rms_db(sound):
    """Root mean square, decibels relative to full scale."""
    return 20 * math.log10(math.sqrt(np.mean(np.square(sound.astype(float)))) / 32_768)


def word(n=4_000):
    return resampled(tone(500, ESPEAK_RATE, n / 8_000), ESPEAK_RATE)


def random(seed=0):
    return np.random.RandomState(seed)


def settings(patch, level_db, snr_db, noise):
    patch.setattr(mixing, "LEVELS_DB", (level_db, level_db))
    patch.setattr(mixing, "SNRS_DB", (snr_db, snr_db))
    patch.setattr(mixing, "NOISES", (noise,))


@pytest.mark.parametrize("rate", [8_000, 16_000, ESPEAK_RATE])
@pytest.mark.parametrize("frequency_hz", [200, 1_000, 2_000])
def test_a_tone_keeps_its_frequency_and_its_level(rate, frequency_hz):
    heard = resampled(tone(frequency_hz, rate), rate)
    middle = heard[1_000:3_000] * np.hanning(2_000)
    spectrum = np.abs(np.fft.rfft(middle, 80_000))
    assert spectrum.argmax() * 8_000 / 80_000 == pytest.approx(frequency_hz, abs=1)
    assert 2 * spectrum.max() / np.hanning(2_000).sum() == pytest.approx(12_000, rel=0.01)


def test_what_lies_above_half_the_new_rate_is_filtered_out():
    heard = resampled(tone(6_000, ESPEAK_RATE), ESPEAK_RATE)
    assert np.abs(heard[200:-200]).max() < 0.01 * 12_000


@pytest.mark.parametrize(("rate", "up", "down"), [(22_050, 160, 441), (16_000, 1, 2), (11_025, 320, 441)])
def test_resampling_agrees_with_another_implementation_without_a_delay(rate, up, down):
    t = np.arange(rate) / rate
    chirp = np.rint(12_000 * np.cos(2 * np.pi * (100 + 600 * t) * t)).astype(np.int16)
    ours, theirs = resampled(chirp, rate), resample_poly(chirp.astype(float), up, down)
    n = min(len(ours), len(theirs))
    assert n >= 7_900
    assert np.abs(ours[:n] - theirs[:n])[200:-200].max() < 0.01 * 12_000


def test_resampling_is_exact_in_integers_whatever_the_order_of_summation():
    # The same sum in Python's unlimited integers.
    speech = random().randint(-32_768, 32_768, 300).astype(np.int16)
    speech[[0, -1]] = 9_999
    up, down = 160, 441
    taps, delay = mixing._taps(up, down, ESPEAK_RATE)
    whole = [int(tap) for tap in taps]
    assert whole == taps.tolist(), "the taps are integers"
    assert sum(map(abs, whole)) * 32_768 < 2**53
    exact = []
    for at in range(-(-300 * up // down)):
        place = (at + delay) * down
        exact.append(
            sum(int(speech[i]) * whole[place - i * up] for i in range(300) if 0 <= place - i * up < len(whole)) >> 15
        )
    assert resampled(speech, ESPEAK_RATE).tolist() == exact


def test_silence_around_a_word_is_cut_off_and_nothing_but_silence_gives_nothing():
    quiet = np.full(3_000, mixing.SILENCE, np.int16)
    speech = tone(500, 8_000, 0.1)
    np.testing.assert_array_equal(resampled(np.r_[quiet, speech, quiet], 8_000), resampled(speech, 8_000))
    assert len(resampled(quiet, 8_000)) == 0
    assert len(resampled(np.zeros(0, np.int16), 8_000)) == 0


def test_the_loudest_negative_sample_is_loud():
    speech = np.zeros(100, np.int16)
    speech[50] = -32_768
    assert len(resampled(speech, 8_000)) == 1


@pytest.mark.parametrize("level_db", [-60, -36, -20, -3])
@pytest.mark.parametrize("seed", range(3))
def test_a_sound_is_brought_to_the_level_asked_for(level_db, seed):
    sound = random(seed).randint(-30_000, 30_000, 4_000) // 10**seed
    assert rms_db(mixing._at_level(sound, level_db)) == pytest.approx(level_db, abs=0.2 if level_db == -60 else 0.02)


@pytest.mark.parametrize("noise", mixing.NOISES)
@pytest.mark.parametrize(("level_db", "snr_db"), [(-14, 6), (-26, 0), (-30, 20)])
def test_speech_and_noise_of_a_mix_have_the_levels_asked_for(monkeypatch, noise, level_db, snr_db):
    settings(monkeypatch, level_db, snr_db, noise)
    speech = word()
    others = [resampled(tone(frequency, ESPEAK_RATE, 0.9), ESPEAK_RATE) for frequency in (300, 700, 1_100)]
    clip = mixed(speech, others, random(5)).astype(np.int64)
    # The same draws again, the speech left out.
    noise_only = mixed(np.zeros_like(speech), others, random(5)).astype(np.int64)
    assert rms_db(noise_only) == pytest.approx(level_db - snr_db, abs=0.1)
    spoken = np.flatnonzero(clip - noise_only)
    heard = (clip - noise_only)[spoken[0] : spoken[-1] + 1]
    assert len(heard) == pytest.approx(len(speech), abs=8)
    assert rms_db(heard) == pytest.approx(level_db, abs=0.1)


def test_a_word_may_lie_anywhere_in_its_clip(monkeypatch):
    settings(monkeypatch, -20, 60, "hiss")
    speech = word()
    starts = [int(np.flatnonzero(np.abs(mixed(speech, [], random(seed))) > 500)[0]) for seed in range(60)]
    assert min(starts) < 400
    assert max(starts) > 8_000 - len(speech) - 400


def test_a_word_longer_than_a_clip_is_cut_and_one_that_is_silent_leaves_the_noise(monkeypatch):
    settings(monkeypatch, -20, 10, "hiss")
    long = mixed(word(9_000), [], random())
    assert (long.shape, long.dtype) == ((8_000,), np.int16)
    assert rms_db(mixed(np.zeros(0, np.int64), [], random())) == pytest.approx(-30, abs=0.1)


def test_what_overshoots_full_scale_is_clipped_and_does_not_wrap_around(monkeypatch):
    settings(monkeypatch, 12, 30, "hiss")
    clip = mixed(word(8_000), [], random()).astype(int)
    assert (clip.min(), clip.max()) == (-32_768, 32_767)
    assert np.mean(np.abs(clip) >= 32_767) > 0.8, "most of it lies at one of the two ends"


def test_the_first_clip_has_no_other_words_to_babble_and_hisses_instead(monkeypatch):
    settings(monkeypatch, -20, 10, "babble")
    assert rms_db(mixed(np.zeros(0, np.int64), [], random())) == pytest.approx(-30, abs=0.1)


def test_rumble_is_deep_and_hiss_is_not(monkeypatch):
    def share_below_500_hz(kind):
        power = np.abs(np.fft.rfft(mixing._noise(kind, [], random()))) ** 2
        return power[:500].sum() / power.sum()

    assert share_below_500_hz("rumble") > 0.8
    assert share_below_500_hz("hiss") == pytest.approx(500 / 4_000, abs=0.02)


def test_equal_seeds_give_equal_clips_and_others_do_not():
    clips = [mixed(word(), [word(), word()], random(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(clips[0], clips[1])
    assert not np.array_equal(clips[0], clips[2])
