"""The embedded speech is the same on every run, no voice is on both sides, and a synthesizer that fails is told so."""

import hashlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason="the extra 'speech' is not installed")

from quantbench.config.schema import DataConfig
from quantbench.data import spoken_words as module
from quantbench.data.cache import open_cached
from quantbench.data.opening import open_splits
from quantbench.data.speech_words import WORDS
from quantbench.errors import DataError, DataMissingError

FRESH_RUN = """
import hashlib
from quantbench.data import spoken_words as module
module.TRAIN_CLIPS_PER_WORD, module.TEST_CLIPS_PER_WORD = 2, 1
decoded = module.spoken_words().decode(lambda *_: None)
for side in (decoded.train, decoded.test):
    print(*(hashlib.sha256(each.tobytes()).hexdigest() for each in (side.inputs, side.labels, side.groups)))
"""
ACCENT, VARIANT = "en", "m1"


@pytest.fixture(scope="module")
def variants():
    """The synthesizer's voices."""
    return sorted(path.name for path in (module._espeak()[1] / "voices" / "!v").iterdir())


@pytest.fixture
def small(monkeypatch):
    """As much speech as takes a second."""
    monkeypatch.setattr(module, "TRAIN_CLIPS_PER_WORD", 2)
    monkeypatch.setattr(module, "TEST_CLIPS_PER_WORD", 1)


def utterance(word="yes", variant=VARIANT, accent=ACCENT):
    return module._Utterance(WORDS.index(word), variant, accent, 170, 50, 50)


def spoken(*utterances, library=None, data=None):
    installed = module._espeak()
    return list(module._speak(library or installed[0], data or installed[1], list(utterances)))


def refusal(*utterances, **places):
    with pytest.raises(DataError) as error:
        spoken(*utterances, **places)
    told = str(error.value)
    assert "\n" not in told
    assert told.startswith("spoken_words: the eSpeak NG process ended early: ")
    return told.removeprefix("spoken_words: the eSpeak NG process ended early: ")


def stand_in(monkeypatch, tmp_path, program):
    """Another program in the place of the synthesizer's."""
    path = tmp_path / "program.py"
    path.write_text(program)
    monkeypatch.setattr(module, "espeak_process", SimpleNamespace(__file__=str(path)))


def test_two_fresh_runs_give_the_same_bytes_and_so_does_this_process(small):
    runs = [subprocess.run([sys.executable, "-c", FRESH_RUN], capture_output=True, text=True, check=True) for _ in "12"]
    assert runs[0].stdout == runs[1].stdout
    assert len(set(runs[0].stdout.split())) == 6
    # A process in which much was drawn and spoken before.
    np.random.seed(3)
    spoken(utterance())
    decoded = module.spoken_words().decode(lambda *_: None)
    here = [hashlib.sha256(side.inputs.tobytes()).hexdigest() for side in (decoded.train, decoded.test)]
    assert here == [line.split()[0] for line in runs[0].stdout.splitlines()]


def test_every_word_is_spoken_as_often_as_asked_and_clips_are_those_of_the_speech_sets(small):
    shown = []
    decoded = module.spoken_words().decode(lambda *at: shown.append(at))
    assert decoded.classes == WORDS
    assert np.bincount(decoded.train.labels).tolist() == [2] * 35
    assert np.bincount(decoded.test.labels).tolist() == [1] * 35
    assert decoded.train.inputs.shape == (70, 1, 8_000)
    assert decoded.train.inputs.dtype == np.int16
    assert np.abs(decoded.train.inputs.astype(int)).max(axis=2).min() > 0, "no clip is silent"
    assert shown == [(i, 105) for i in range(1, 106)]


def test_the_whole_set_has_enough_test_clips_and_needs_less_than_300_mb(variants):
    train, test = module.plan(variants)
    assert len(test) >= 5_000
    assert 2 * 8_000 * (len(train) + len(test)) < 300e6
    for side in (train, test):
        assert set(np.bincount([each.word for each in side])) == {len(side) // 35}


def test_no_voice_and_no_variant_of_a_voice_is_on_both_sides(variants):
    sides = [{module._family(each.variant) for each in side} for side in module.plan(variants)]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == len({module._family(variant) for variant in variants})
    assert len(sides[1]) >= 15


@pytest.mark.parametrize(
    ("one", "other"), [("klatt", "klatt6"), ("edward", "edward2"), ("Mike", "mike2"), ("RicishayMax", "RicishayMax3")]
)
def test_numbered_variants_are_one_speakers(one, other):
    assert module._family(one) == module._family(other)


def test_the_numbered_men_and_women_are_different_people():
    assert len({module._family(f"{sex}{i}") for sex in "mf" for i in range(1, 9)}) == 16


def test_every_voice_sounds_different_from_every_other(variants):
    sounds = {variant: spoken(utterance(variant=variant))[0].tobytes() for variant in variants[::8]}
    assert len(set(sounds.values())) == len(sounds)


def test_all_four_splits_are_disjoint_by_voice(small):
    splits = open_splits(DataConfig(name="spoken_words", calibration_pool=8, search_pool=4), "here")
    parts = [set(each.groups.tolist()) for each in (splits.train, splits.calibration, splits.search, splits.test)]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert splits.platform_dependent


def test_utterances_are_whole_in_order_and_at_8_khz():
    short, long, again = spoken(utterance("up"), utterance("marvin"), utterance("up"))
    assert 800 < len(short) < len(long) < 8_000
    assert len(again) == pytest.approx(len(short), rel=0.05)


def test_a_voice_that_does_not_exist_is_named():
    assert refusal(utterance(), utterance(accent="xx-nowhere")) == "eSpeak NG has no voice 'xx-nowhere+m1'"


def test_a_library_that_cannot_be_loaded_is_named(tmp_path):
    library = tmp_path / "libespeak-ng.so"
    library.write_text("no library")
    assert refusal(utterance(), library=library).startswith(f"OSError: {library}: ")


def test_voices_that_are_not_there_are_told_in_the_synthesizers_words(tmp_path):
    assert str(tmp_path) in refusal(utterance(), data=tmp_path)


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("", "exit status 0"),
        ("raise SystemExit('out of breath')", "out of breath"),
        ("import os; os.write(1, b'ab'); os._exit(3)", "exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "exit status -9"),
        ("import os, struct; os.write(1, struct.pack('<ii', 22050, 1000) + b'half'); os._exit(1)", "exit status 1"),
    ],
)
def test_a_process_that_dies_early_is_told_with_its_last_words_or_its_status(monkeypatch, tmp_path, program, told):
    stand_in(monkeypatch, tmp_path, program)
    assert refusal(utterance()) == told


def test_a_synthesizer_that_fails_leaves_nothing_half_made_and_every_other_cache(small, monkeypatch, tmp_path):
    cache = tmp_path / "cache" / "data"
    (cache / "other-1").mkdir(parents=True)
    (cache / "other-1" / "kept.npy").write_bytes(b"kept")
    with monkeypatch.context() as patch:
        stand_in(patch, tmp_path, "raise SystemExit('out of breath')")
        with pytest.raises(DataError, match="out of breath"):
            open_cached("spoken_words", module.spoken_words())
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == ["other-1"]
    assert (cache / "other-1" / "kept.npy").read_bytes() == b"kept"
    assert len(open_cached("spoken_words", module.spoken_words()).test.labels) == 35


def test_a_decoding_that_is_interrupted_ends_the_synthesizer(small, monkeypatch):
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    def interrupt(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    with pytest.raises(KeyboardInterrupt) as caught:
        module.spoken_words().decode(interrupt)
    del caught
    assert [process.returncode is not None for process in started] == [True]


def test_without_the_synthesizer_the_extra_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, module.PACKAGE, None)
    with pytest.raises(DataMissingError) as error:
        open_cached("spoken_words", module.spoken_words())
    assert str(error.value) == (
        "spoken_words: the eSpeak NG synthesizer is not installed. To get it: pip install 'quantbench-suite[speech]' "
        "(adds espeakng-loader, GPL-3.0, run as a separate program)"
    )


@pytest.mark.parametrize("part", ["__file__", "espeak_process", "spoken_words_mixing"])
def test_other_source_of_the_generator_is_another_set(monkeypatch, tmp_path, part):
    before = module.spoken_words().fingerprint()
    source = Path(module.__file__ if part == "__file__" else getattr(module, part).__file__)
    changed = tmp_path / "changed.py"
    changed.write_bytes(source.read_bytes() + b"\n")
    monkeypatch.setattr(module, part, str(changed) if part == "__file__" else SimpleNamespace(__file__=str(changed)))
    assert module.spoken_words().fingerprint() != before
    assert module.spoken_words().fingerprint().startswith("spoken_words:")


def test_the_synthesizer_is_never_loaded_into_our_own_process(small):
    program = FRESH_RUN + "\nprint('espeak' in open('/proc/self/maps').read().lower())"
    if not Path("/proc/self/maps").exists():
        pytest.skip("only where a process can list what it has loaded")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
