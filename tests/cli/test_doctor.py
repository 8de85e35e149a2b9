"""`quantbench doctor`: what is installed, kernels of this processor, what could disturb timings."""

import json
import subprocess
import sys

import pytest

from quantbench.measure import machine


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(machine, "LOOK_S", 0.0)


def test_runtimes_and_what_disturbs_timings_are_told(quantbench):
    status, out, err = quantbench("doctor")
    assert (status, err) == (0, "")
    heads = [line.split()[0] for line in out.splitlines()]
    assert {"processor", "int8", "python", *machine.RUNTIMES, "beside", "timings"} <= set(heads)


def test_the_same_is_told_as_json(quantbench):
    status, out, _ = quantbench("doctor", "--json")
    found = json.loads(out)
    assert status == 0
    assert {each["name"] for each in found["runtimes"]} == set(machine.RUNTIMES)
    assert "engines" not in found


def test_engines_are_asked_for_on_request(quantbench):
    found = json.loads(quantbench("doctor", "--json", "--engines")[1])["engines"]
    assert "CPUExecutionProvider" in found["onnxruntime"]
    assert found["torch"]


def test_no_library_is_imported_for_it():
    code = (
        "import sys; from quantbench.measure.machine import this_machine; this_machine(); "
        "print(sorted({'torch', 'onnxruntime', 'openvino', 'cpuinfo', 'scipy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == ("['cpuinfo']\n" if sys.platform != "linux" else "[]\n")
