"""What `quantbench init` wrote, held by pytest without copied files, beside claims of the user's own."""

import pytest
from files_made_elsewhere import COLOURS, colours, quantized, saved

CLAIMS = ("--pyargs", "quantbench.claims")
OWN = """\
import pytest


def test_hardly_any_sample_is_lost(experiment_run):
    assert experiment_run.accuracy.lost <= 20


@pytest.mark.gate("accuracy_drop_pp")
def test_the_gate_on_accuracy_holds(check_gate):
    check_gate()


def test_the_reference_is_worth_comparing_with(experiment_run, check_verdict):
    from quantbench.stats.verdicts import at_least

    n, fp32 = experiment_run.accuracy.n, 100 * experiment_run.accuracy.fp32
    check_verdict(at_least("fp32_accuracy", fp32, None, 80.0, n, f"{fp32:.2f} % (n={n})", " %"))
"""


@pytest.fixture
def folder(bench, project, quantbench):
    """The project's folder as a newcomer has it, gated by `init`; `bench` has written pytest's settings."""
    for name in ("configs", "golden", "bench"):
        (project.root / name).rename(project.root.parent / f"{name}_of_others")
    saved(colours(), project.root / "fp32.onnx")
    saved(quantized(), project.root / "int8.onnx")
    assert quantbench("init", "fp32.onnx", "int8.onnx", "--name", "mine")[0] == 0
    return project.root


def test_the_claims_of_the_package_hold_it(folder, pytester):
    result = pytester.runpytest_inprocess(*CLAIMS)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*mine/candidate*PASS*"])
    saved(quantized(COLOURS[[1, 0, 2]]), folder / "int8.onnx")
    result = pytester.runpytest_inprocess(*CLAIMS)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*mine/candidate: accuracy_drop_pp: FAIL*"])


def test_claims_of_the_users_own_take_the_fixtures_beside_those_of_the_package(folder, pytester):
    (folder / "tests").mkdir()
    own = folder / "tests" / "test_own.py"
    own.write_text(OWN)
    result = pytester.runpytest_inprocess("tests", *CLAIMS, "-v")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_hardly_any_sample_is_lost?mine/candidate? PASSED*"])
    own.write_text(OWN.replace("80.0", "95.0"))
    result = pytester.runpytest_inprocess("tests", *CLAIMS)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["mine/candidate: fp32_accuracy: FAIL", "*95*"])
    result = pytester.runpytest_inprocess("tests")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*run those of the package beside yours (--pyargs quantbench.claims)*"])


def test_one_import_brings_every_claim_into_a_folder_of_ones_own(folder, pytester):
    (folder / "tests").mkdir()
    (folder / "tests" / "test_claims.py").write_text("from quantbench.claims import *\n")
    in_package = pytester.runpytest_inprocess(*CLAIMS).parseoutcomes()
    result = pytester.runpytest_inprocess("tests")
    assert (result.ret, result.parseoutcomes()) == (0, in_package)
