"""examples/first_gate: both projects from init to a failure that is mended, in this process."""

import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "first_gate"
# Of modules that a factory and a function name, imported anew where their source changed.
PACKAGE = "their_pkg"


@pytest.fixture
def timed(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import timed

    yield timed
    for name in [name for name in sys.modules if name.partition(".")[0] in (PACKAGE, "timed", "make_projects")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["onnx_pair", "torch_package"])
def test_a_strangers_project_is_gated_fails_once_broken_and_holds_once_mended(
    timed, name, tmp_path, monkeypatch, machine, quantbench
):
    timed.make_projects.make(tmp_path)
    folder = tmp_path / name
    monkeypatch.chdir(folder)

    def change(is_broken):
        if name == "onnx_pair":
            timed.make_projects.pair(folder, is_broken)
        else:
            timed.coarse(folder, is_broken)
            for module in [module for module in sys.modules if module.partition(".")[0] == PACKAGE]:
                del sys.modules[module]

    status, _, err = quantbench(*timed.INIT[name])
    assert status == 0, err
    told = {}
    for what, arguments, expected in timed.steps(name):
        if what is not None:
            change(what is timed.BREAK)
        status, out, err = quantbench(*arguments)
        assert status in expected, out + err
        told[arguments[0]] = out
    assert told["blame"].splitlines()[-1].startswith("conv is responsible for "), "the layer is named"
