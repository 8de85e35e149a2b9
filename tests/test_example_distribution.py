"""A distribution of somebody else, installed: its data set, task, recipe, backend and quantity are used as ours are."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"
# Unpacked, as an installer does with a wheel of plain Python; a virtual environment of uv's has no pip.
BUILD = "from setuptools import build_meta; build_meta.build_wheel('.')"
CLAIMS = ("-m", "pytest", "--pyargs", "quantbench.claims", "--rootdir", ".", "-q", "-p", "no:cacheprovider")
NAMES = {
    "data": "stripes",
    "tasks": "top2",
    "recipes": "half",
    "backends": "npz",
    "quantities": "largest_tensor_bytes",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs a command in a folder that has the example's configuration alone, the example being installed."""
    root = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, root / "source")
    project, site = root / "project", root / "site"
    shutil.copytree(EXAMPLE / "configs", project / "configs")
    paths = [site, Path(__file__).parents[1]]
    surroundings = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "QUANTBENCH_CACHE": str(root / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    for name in ("CI", "GITHUB_STEP_SUMMARY", "PYTEST_XDIST_WORKER"):
        surroundings.pop(name, None)

    def run(*arguments):
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=project, env=surroundings, capture_output=True, text=True)

    built = subprocess.run([sys.executable, "-c", BUILD], cwd=root / "source", capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = (root / "source").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    done = run("-m", "quantbench", "train", "stripes")
    assert done.returncode == 0, done.stderr
    return run


def test_its_entries_are_listed_beside_ours(installed):
    listed, kind = {}, ""
    for line in installed("-m", "quantbench", "list").stdout.splitlines():
        kind = kind if line.startswith(" ") else line.removesuffix(":")
        listed.setdefault(kind, []).append(line.strip())
    assert all(name in listed[kind] for kind, name in NAMES.items())


def test_its_entries_go_through_claims_goldens_records_and_table(installed, tmp_path):
    facts = ("-k", "accepted_one or predictions")
    update = ("--update-golden", "--reason", "First results", *facts)
    accepted = installed(*CLAIMS, "--experiment", "stripes/*", *update)
    assert accepted.returncode == 0, accepted.stdout
    assert "golden/checkpoints/stripes/half@none.json: accepted for the first time, 38 keys" in accepted.stdout

    file = tmp_path / "records.json"
    chosen = "accepted_one or predictions or quantity_holds or accuracy or shrinks or int8_share"
    gated = installed(*CLAIMS, "-k", chosen, "-vv", "--json", file)
    assert gated.returncode == 0, gated.stdout
    assert "test_quantity_holds[stripes/half-largest_tensor_bytes] PASSED" in gated.stdout
    assert "largest tensor B" in gated.stdout
    record = next(each for each in json.loads(file.read_text())["records"] if each["experiment"] == "stripes/half")
    assert record["largest_tensor"] == {"key": "conv6.weight", "size_bytes": 2 * 128 * 128 * 9}
    assert (record["backend"], record["recipe"]) == ("npz", {"kind": "half"})
    assert record["accuracy"]["n"] == 150

    drawn = installed("-m", "quantbench", "report", file, "--out", tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert "| largest tensor B |" in (tmp_path / "pareto.md").read_text()


def test_its_quantity_fails_beyond_its_bound(installed):
    config = "import pathlib; p = pathlib.Path('configs/stripes.yaml'); p.write_text(p.read_text().replace({!r}, {!r}))"
    assert installed("-c", config.format("300000", "200000")).returncode == 0
    failed = installed(*CLAIMS, "-k", "test_quantity_holds and half")
    assert failed.returncode == 1, failed.stdout
    assert "largest_tensor_bytes: FAIL" in failed.stdout
    assert "294,912 bytes ('conv6.weight')" in failed.stdout
