"""One comparison of two backends, measured once for all tests."""

import pytest

from quantbench.records.parity import read_parity

COMMAND = ("parity", "tiny", "--recipe", "static_int8_per_channel", "--backends", "onnxruntime,eager", "--no-speed")


@pytest.fixture(scope="session")
def recorded(made_once, trained_project):
    """The file of `quantbench parity tiny` through both backends, and what was printed."""
    return made_once("parity", lambda root: _compare(root, trained_project))


def _compare(root, project):
    import contextlib
    import io
    import sys

    from quantbench.cli.app import main

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        project.keep_all_within(patch)
        patch.setenv("QUANTBENCH_CACHE", str(root / "cache"))
        patch.chdir(project.root)
        root.mkdir()
        patch.setattr(sys, "argv", ["quantbench", *COMMAND, "--out", str(root / "parity.json")])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    (root / "printed.txt").write_text(out.getvalue())


@pytest.fixture
def record(recorded):
    """The comparison."""
    (found,) = read_parity(recorded / "parity.json")
    return found
