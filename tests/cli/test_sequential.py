"""`quantbench compare --sequential` and `quantbench run`: a verdict after a part of the samples, and all of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from scored_models import FEATURES, linear

RANDOM = np.random.default_rng(0)
N, CLASSES = 2_000, 6
X = RANDOM.normal(size=(N, FEATURES)).astype(np.float32)
WEIGHT = (RANDOM.normal(size=(FEATURES, CLASSES)) / 8).astype(np.float32)
LABELS = (X @ WEIGHT + RANDOM.normal(size=(N, CLASSES)) / 4).argmax(axis=1)


@pytest.fixture
def compare(tmp_path, monkeypatch, quantbench, machine):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    np.savez("samples.npz", x=X, targets=LABELS)
    linear(tmp_path / "fp32.onnx", WEIGHT)
    linear(tmp_path / "int8.onnx", WEIGHT, int8=True)

    def run(*options):
        told = quantbench(
            "compare", "fp32.onnx", "int8.onnx", "--data", "samples.npz", "--max-drop", 3, "--json", "record.json",
            *options,
        )  # fmt: skip
        (record,) = json.loads(Path("record.json").read_text(encoding="utf-8"))["records"]
        return told, record["accuracy"]

    return run


def test_the_table_says_of_how_many_samples_a_figure_is(compare):
    (status, out, _), a = compare("--sequential")
    assert (status, a["n"] < N / 2, a["samples"]["total"]) == (0, True, N)
    assert f"(n = {a['n']:,} of 2,000)" in " ".join(out.split())


def test_all_samples_are_used_where_nothing_else_is_said_and_where_it_is(compare):
    for options in ((), ("--full",)):
        (status, out, _), a = compare(*options)
        assert (status, a["n"], "samples" in a, "of 2,000" in out) == (0, N, False, False)


def test_what_is_saved_is_of_all_samples(compare, tmp_path):
    (status, _, _), a = compare("--sequential", "--save", "pair")
    assert (status, a["n"]) == (0, N)
    golden = json.loads((tmp_path / "golden" / "results" / "pair" / "candidate.json").read_text(encoding="utf-8"))
    assert golden["n"] == N


def test_a_saved_pair_is_held_to_what_was_accepted_by_a_part_of_the_samples(compare, quantbench):
    compare("--save", "pair")
    status, _, err = quantbench("run", "pair/candidate", "--sequential", "--json", "again.json")
    (record,) = json.loads(Path("again.json").read_text(encoding="utf-8"))["records"]
    verdicts = {each["quantity"]: each["outcome"] for each in record["verdicts"]}
    assert verdicts["accuracy_drop_pp"] == verdicts["accuracy_vs_accepted"] == "PASS", err
    assert record["accuracy"]["n"] < N
    assert record["accuracy"]["samples"]["why"] == "every gate was decided"
    assert status == 0, err
