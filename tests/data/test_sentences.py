"""The embedded sentences are the same on every machine, and hold what a model of tokens has to learn."""

import hashlib

import numpy as np
import pytest

from quantbench.data import sentences
from quantbench.data.sentences_grammar import LENGTH, NOUNS, NUMBER, VERBS, VOCABULARY, spoken
from quantbench.errors import DataError

TEST = spoken(200, 1)


def words(sample):
    return [VOCABULARY[token] for token in sample]


def test_every_token_is_a_word_of_its_own_and_all_are_spoken():
    assert len(set(VOCABULARY)) == len(VOCABULARY) == 155
    assert set(np.unique(spoken(1_500, 2))) == set(range(len(VOCABULARY)))


def test_samples_are_decoded_with_the_next_token_as_target(monkeypatch):
    few = {"train": (0, 3), "test": (1, 2)}
    monkeypatch.setattr(sentences, "SIDES", few)
    digests = {
        side: hashlib.sha256(spoken(n, stream).astype("<i8").tobytes()).hexdigest() for side, (stream, n) in few.items()
    }
    monkeypatch.setattr(sentences, "EXPECTED_SHA256", digests)
    decoded = sentences.sentences().decode(lambda *_: None)
    np.testing.assert_array_equal(decoded.test.inputs[:, 1:], decoded.test.labels[:, :-1])
    assert decoded.train.inputs.shape == (3, LENGTH - 1)
    np.testing.assert_array_equal(decoded.test.inputs, TEST[:2, :-1])


def test_other_tokens_than_those_of_the_trained_model_are_an_error(monkeypatch):
    monkeypatch.setattr(sentences, "SIDES", {"train": (0, 1), "test": (1, 1)})
    with pytest.raises(DataError, match=r"sentences: the train side has sha256 .* please report it"):
        sentences.sentences().decode(lambda *_: None)


def test_two_streams_are_other_sentences():
    assert not (spoken(5, 0) == spoken(5, 1)).all(axis=1).any()


def test_a_verb_agrees_with_the_noun_right_before_it():
    plural = {f"{noun}s": kind for kind, nouns in NOUNS.items() for noun in nouns}
    single = {noun: kind for kind, nouns in NOUNS.items() for noun in nouns}
    verbs = {kind: [verb for verb, _ in each] for kind, each in VERBS.items()}
    every = {verb for each in verbs.values() for verb in each}
    # A noun after a preposition or a verb is no subject; here one with an article at the start of a sentence.
    seen = 0
    for sample in TEST:
        spoken_words = words(sample)
        for before, noun, verb in zip(spoken_words, spoken_words[2:], spoken_words[3:], strict=False):
            if before != "." or verb.removesuffix("s") not in every:
                continue
            seen += 1
            if noun in plural:
                assert verb in verbs[plural[noun]]
            elif noun in single:
                assert verb.removesuffix("s") in verbs[single[noun]]
                assert verb.endswith("s")
    assert seen > 300


def test_a_pronoun_is_of_the_gender_of_the_last_name():
    seen = 0
    for sample in TEST:
        last = None
        for word in words(sample):
            if word in ("anna", "clara", "emma"):
                last = "she"
            elif word in ("ben", "david", "frank"):
                last = "he"
            elif word in ("she", "he"):
                seen += 1
                assert word == last
    assert seen > 300


def test_quotation_marks_close_in_their_order():
    for sample in TEST:
        depth = 0
        for before, token in zip([-1, *sample], sample, strict=False):
            if VOCABULARY[token] == '"':
                depth += 1 if before in (NUMBER["say"], NUMBER["says"]) else -1
            assert depth >= 0
