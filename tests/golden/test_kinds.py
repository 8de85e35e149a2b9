"""Every kind of golden keeps the same promises, and a fifth is one file and its line in the table."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from quantbench.config.reading import load_experiments
from quantbench.errors import CheckpointError, GoldenError, QuantbenchError
from quantbench.files import write_json
from quantbench.golden.acceptance import accept
from quantbench.golden.audit import orphans
from quantbench.golden.documents import DocumentKind
from quantbench.golden.history import read_history
from quantbench.golden.interface import OnRequest
from quantbench.golden.kinds import KINDS, kind_checked_by

REPOSITORY = Path(__file__).parents[2]
COMMITTED = [
    pytest.param(kind, path, id=str(path.relative_to(REPOSITORY / "golden")))
    for kind in KINDS.values()
    if isinstance(kind, OnRequest)
    for _, path in kind.files(REPOSITORY / "golden")
]


def name_of(kind, golden, path):
    return str(path.relative_to(golden / kind.folder).with_suffix(""))


@pytest.mark.parametrize(("kind", "path"), COMMITTED)
def test_a_committed_golden_accepted_again_has_the_same_bytes(kind, path, tmp_path):
    fact = kind.read(REPOSITORY / "golden", name_of(kind, REPOSITORY / "golden", path))
    history = read_history(path)
    write_json(tmp_path / "again.json", {**kind.content(fact), **({"history": history} if history else {})})
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("text", ["", '{"a": ', "<<<<<<< HEAD\n{}", "[1]", " " * ((1 << 24) + 1)], ids=lambda t: t[:8])
def test_a_damaged_golden_of_any_kind_is_named_with_what_to_do(kind, text, tmp_path):
    path = kind.path(tmp_path, "small/qat")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(QuantbenchError, match=re.escape(str(path.with_suffix(""))) + r"\.\w+: ") as raised:
        kind.read(tmp_path, "small/qat")
    assert "restore it from version control" in str(raised.value)
    assert path.read_text() == text


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_fact_of_any_kind_that_was_never_accepted_is_none(kind, tmp_path):
    assert kind.read(tmp_path, "small/qat") is None


def test_each_claim_about_a_golden_leads_to_its_kind():
    claims = ("checkpoint", "accuracy_vs_accepted", "speedup_vs_accepted", "search", "reload")
    folders = ["checkpoints", "results", "results", "searches", None]
    assert [(kind.folder if (kind := kind_checked_by(claim)) else None) for claim in claims] == folders


class Largest(DocumentKind):
    """A toy: how many bytes an experiment's quantized file has."""

    folder = "largest"
    claims = ("largest",)
    by_engine = True
    parts = ("size",)
    noun = "a number of bytes"

    def document(self, run, claims, before):
        return {"quantized_bytes": run.measured("size").quantized_bytes}

    def outline(self, fact):
        return f", {fact['quantized_bytes']:,} bytes"


@pytest.fixture
def largest(monkeypatch):
    """The toy in the table."""
    monkeypatch.setitem(KINDS, "largest", Largest())
    return KINDS["largest"]


def run_of(golden, quantized_bytes, engine="x86"):
    """A run as kinds see it, with one measurement."""
    measured = {"size": SimpleNamespace(quantized_bytes=quantized_bytes)}
    return SimpleNamespace(
        golden=golden, engine=engine, experiment=SimpleNamespace(id="small/qat"), measured=measured.__getitem__
    )


def test_a_fact_of_a_fifth_kind_is_accepted_told_and_kept_with_its_history(largest, tmp_path):
    path = tmp_path / "largest/small/qat.json"
    assert accept(largest, run_of(tmp_path, 1200), ["largest"], "first").lines == [
        f"{path}: accepted for the first time, 1,200 bytes"
    ]
    written = path.read_bytes()
    assert accept(largest, run_of(tmp_path, 1200), ["largest"], "again").lines == []
    assert path.read_bytes() == written
    assert accept(largest, run_of(tmp_path, 900), ["largest"], "smaller").lines == [
        f"{path}: updated, old → new:\n    quantized_bytes: 1200 → 900"
    ]
    assert [entry["reason"] for entry in read_history(path)] == ["first", "smaller"]
    assert json.loads(path.read_text())["quantized_bytes"] == 900
    accept(largest, run_of(tmp_path, 7, "qnnpack"), ["largest"], "another engine")
    assert (tmp_path / "largest/small/qat@qnnpack.json").is_file()


def test_a_damaged_fact_of_a_fifth_kind_is_never_overwritten(largest, tmp_path):
    path = tmp_path / "largest/small/qat.json"
    path.parent.mkdir(parents=True)
    path.write_text("[]")
    with pytest.raises(CheckpointError, match=r"qat\.json: holds a list, not a number of bytes; restore"):
        accept(largest, run_of(tmp_path, 1), ["largest"], "first")
    assert path.read_text() == "[]"


def test_a_fact_that_cannot_be_written_leaves_what_was_there(largest, tmp_path):
    (tmp_path / "largest").write_text("in the way")
    with pytest.raises(GoldenError, match="cannot be written"):
        accept(largest, run_of(tmp_path, 1), ["largest"], "first")


def test_a_fifth_kind_is_audited_like_any_other(largest, project):
    experiments = load_experiments(project.configs)
    for name in ("tiny/qat_int8", "tiny/gone", "tiny/qat_int8@qnnpack"):
        write_json(largest.path(project.golden, name), {"quantized_bytes": 1})
    assert orphans(project.golden, experiments) == [project.golden / "largest/tiny/gone.json"]


def test_weights_are_checked_by_each_load_and_are_never_orphans(project):
    (project.golden / "baselines/elsewhere.json").write_text("{}")
    assert orphans(project.golden, load_experiments(project.configs)) == []
