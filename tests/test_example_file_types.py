"""The example with a model out of a wheel of PyPI, on fewer files; not run where that wheel is not installed."""

import importlib.util
import shutil
from importlib import metadata
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "file_types"


def is_installed(name):
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


@pytest.fixture
def example(tmp_path, monkeypatch, machine):
    """A copy with its script, which makes ten files of each type."""
    root = tmp_path / "example"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("made"))
    monkeypatch.chdir(root)
    spec = importlib.util.spec_from_file_location("make_data", root / "make_data.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "COUNTS", {"test": 10, "train": 7})
    return script


@pytest.fixture
def few_files(example, monkeypatch):
    """Fewer still, since the network takes longer than all else: 20 milliseconds for each file."""
    monkeypatch.setattr(example, "COUNTS", {"test": 4, "train": 3})
    path = Path("configs/file_types.yaml")
    path.write_text(
        path.read_text().replace("128", "40").replace("latency:", "evaluation: {batch_size: 8}\n  latency:")
    )


@pytest.mark.skipif(not is_installed("magika"), reason="not run: pip install magika")
def test_its_gates_hold(example, few_files, quantbench):
    example.main()
    _, out, err = quantbench("run", "file_types/*")
    rows = [line.split() for line in out.splitlines() if line.startswith("file_types/")]
    assert [float(row[1]) > 95 for row in rows] == [True] * 4, out
    assert "accuracy_drop_pp: FAIL" not in err


def test_files_are_made_the_same_each_time_and_none_twice(example):
    labels = sorted([*example.TEXTS, *example.BINARIES, "json"])
    first, again = (example.side("test", labels) for _ in range(2))
    assert first["bytes"].tobytes() == again["bytes"].tobytes()
    assert first["bytes"].shape == (10 * 20, 2048)
    rows = {row.tobytes() for name in ("test", "train") for row in example.side(name, labels)["bytes"]}
    assert len(rows) == 17 * 20


def test_without_the_wheel_the_script_says_how_to_get_it(example, monkeypatch):
    def missing(_):
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(example.metadata, "files", missing)
    with pytest.raises(SystemExit, match="magika is not installed: pip install magika"):
        example.main()
