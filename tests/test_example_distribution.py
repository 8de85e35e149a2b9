"""A distribution of somebody else, installed: its data set, task, recipe, backend and quantity are used as ours are."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"
# Unpacked, as an installer does with a wheel of plain Python; a virtual environment of uv's has no pip.
BUILD = "from setuptools import build_meta; build_meta.build_wheel('.')"
CLAIMS = [
    "pytest",
    "--pyargs",
    "quantbench.claims",
    "--rootdir",
    ".",
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",
]
RECORDS = "records.json"
UPDATE = ["--update-golden", "--reason", "First results", "-k", "accepted_one or predictions"]
CHOSEN = "accepted_one or predictions or quantity_holds or accuracy or shrinks or int8_share"
# Name and command of each step, in order.
STEPS = [
    ["train", ["quantbench", "train", "stripes"]],
    ["list", ["quantbench", "list"]],
    ["accept", [*CLAIMS, "--experiment", "stripes/*", *UPDATE]],
    ["gated", [*CLAIMS, "-k", CHOSEN, "-vv", "--json", RECORDS]],
    ["report", ["quantbench", "report", RECORDS, "--out", "report"]],
    ["tighten", ["edit", "300000", "200000"]],
    ["missed", [*CLAIMS, "-k", "test_quantity_holds and half"]],
]
# Runs them, each as a process of its own would, and tells what each ended with.
DRIVER = """
import json, pathlib, sys, pytest
from quantbench.cli import main

def taken(program, *arguments):
    if program == "pytest":
        return int(pytest.main(list(arguments)))
    if program == "edit":
        path = pathlib.Path("configs/stripes.yaml")
        before = path.read_text()
        path.write_text(before.replace(*arguments))
        return int(path.read_text() == before)
    sys.argv = [program, *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code or 0
    return 0

sys.stderr = sys.stdout
for name, command in json.loads(sys.argv[1]):
    print(f"\\n=== step {name}")
    status = taken(*command)
    print(f"\\n=== status {status}", flush=True)
"""
NAMES = {
    "data": "stripes",
    "tasks": "top2",
    "recipes": "half",
    "backends": "npz",
    "quantities": "largest_tensor_bytes",
}


class Installed(NamedTuple):
    """Steps that one interpreter took in a folder with the example's configuration alone, the example being installed.

    Attributes:
        folder: where it wrote.
        status: exit status of each step, by its name.
        output: of each step: both streams.
    """

    folder: Path
    status: dict[str, int]
    output: dict[str, str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """All steps, in one interpreter, since an import of torch takes longer than most of them."""
    root = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, root / "source")
    project, site = root / "project", root / "site"
    shutil.copytree(EXAMPLE / "configs", project / "configs")
    surroundings = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (site, Path(__file__).parents[1]))),
        "QUANTBENCH_CACHE": str(root / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    for name in ("CI", "GITHUB_STEP_SUMMARY", "PYTEST_XDIST_WORKER"):
        surroundings.pop(name, None)

    built = subprocess.run([sys.executable, "-c", BUILD], cwd=root / "source", capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = (root / "source").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    command = [sys.executable, "-c", DRIVER, json.dumps(STEPS)]
    done = subprocess.run(command, cwd=project, env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    status, output = {}, {}
    for step in done.stdout.split("\n=== step ")[1:]:
        head, _, rest = step.partition("\n")
        text, _, last = rest.rstrip().rpartition("\n=== status ")
        status[head], output[head] = int(last), text
    return Installed(project, status, output)


def test_its_workload_is_trained(installed):
    assert installed.status["train"] == 0, installed.output["train"]


def test_its_entries_are_listed_beside_ours(installed):
    listed, kind = {}, ""
    for line in installed.output["list"].splitlines():
        kind = kind if line.startswith(" ") else line.removesuffix(":")
        listed.setdefault(kind, []).append(line.strip())
    assert all(name in listed[kind] for kind, name in NAMES.items())


def test_its_entries_go_through_claims_goldens_records_and_table(installed):
    assert installed.status["accept"] == 0, installed.output["accept"]
    told = "golden/checkpoints/stripes/half.json: accepted for the first time, 38 keys"
    assert told in installed.output["accept"]

    assert installed.status["gated"] == 0, installed.output["gated"]
    assert "test_quantity_holds[stripes/half-largest_tensor_bytes] PASSED" in installed.output["gated"]
    assert "largest tensor B" in installed.output["gated"]
    records = json.loads((installed.folder / RECORDS).read_text())["records"]
    record = next(each for each in records if each["experiment"] == "stripes/half")
    assert record["largest_tensor"] == {"key": "conv6.weight", "size_bytes": 2 * 128 * 128 * 9}
    assert (record["backend"], record["recipe"]) == ("npz", {"kind": "half"})
    assert record["accuracy"]["n"] == 150

    assert installed.status["report"] == 0, installed.output["report"]
    assert "| largest tensor B |" in (installed.folder / "report" / "pareto.md").read_text()


def test_its_quantity_fails_beyond_its_bound(installed):
    assert installed.status["missed"] == 1, installed.output["missed"]
    assert "largest_tensor_bytes: FAIL" in installed.output["missed"]
    assert "294,912 bytes ('conv6.weight')" in installed.output["missed"]
