"""The suite beside plugins that many projects use: order, time limits, repetitions and coverage change no verdict."""

import json

import pytest

OTHERS = ("-p no:randomly", "-p no:timeout", "-p no:rerunfailures", "-p no:pytest_cov")
STATIC = ("--experiment", "tiny/ptq_static_int8_per_channel")
CLAIMS = (*STATIC, "-k", "not memory and not accepted and not worse")


def verdicts(project):
    (record,) = json.loads((project.root / "r.json").read_text())["records"]
    return {each["quantity"]: (each["outcome"], each["measured"]) for each in record["verdicts"]}


@pytest.fixture
def beside(bench, project):
    """Runs claims with the other plugins loaded, and gives the verdicts too."""
    ini = project.root / "pytest.ini"
    text = ini.read_text()

    def run(*args, plain=False):
        kept = text
        for option in () if plain else OTHERS:
            kept = kept.replace(option, "")
        ini.write_text(kept)
        return bench("--json", "r.json", *CLAIMS, *args), verdicts(project)

    return run


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_random_order_of_tests_changes_no_verdict(beside, seed):
    plain, expected = beside(plain=True)
    shuffled, found = beside(f"--randomly-seed={seed}")
    assert f"Using --randomly-seed={seed}" in shuffled.stdout.str()
    assert shuffled.ret == plain.ret == 0
    assert found == expected


def test_timed_claims_still_come_last_in_a_random_order(beside):
    result, _ = beside("--randomly-seed=3", "-v")
    claims = [line for line in result.outlines if "::test_" in line and "[tiny/" in line]
    timed = ["speedup" in line or "faster" in line or "latency" in line for line in claims]
    assert any(timed)
    assert timed == sorted(timed)


def test_a_claim_that_fails_is_repeated_and_fails_once(beside, project):
    project.edit("size_ratio: 0.2", "size_ratio: 50")
    plain, expected = beside(plain=True)
    repeated, found = beside("--reruns", "2")
    assert plain.ret == repeated.ret == pytest.ExitCode.TESTS_FAILED
    assert found == expected
    assert found["size_ratio"][0] == "FAIL"
    outcomes = repeated.parseoutcomes()
    assert (outcomes["failed"], outcomes["rerun"]) == (1, 2)


def test_a_time_limit_that_is_not_reached_changes_no_verdict(beside):
    result, found = beside("--timeout", "600")
    assert result.ret == 0
    assert {outcome for outcome, _ in found.values()} <= {"PASS", "INCONCLUSIVE"}


def test_coverage_of_the_users_code_is_measured_beside_the_claims(bench, project, monkeypatch):
    # Where Python can watch by itself, the coverage of these tests does.
    monkeypatch.setenv("COVERAGE_CORE", "ctrace")
    text = (project.root / "pytest.ini").read_text()
    (project.root / "pytest.ini").write_text(text.replace("-p no:pytest_cov", ""))
    result = bench("-q", *STATIC, "-k", "size", "--cov=tiny_model", "--cov-branch")
    assert result.ret == 0
    (covered,) = [line.split() for line in result.outlines if "tiny_model.py" in line]
    assert 0 < int(covered[2]) < int(covered[1]), "of its lines, some ran and some did not"
    assert any(line.startswith("TOTAL") for line in result.outlines)
