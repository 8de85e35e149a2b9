"""A golden that nothing checks ends the run before it starts, however the run was asked for; none is ever deleted."""

from pathlib import Path

import pytest

from quantbench import claims

CLAIMS = Path(claims.__path__[0])
STATIC = "tiny/ptq_static_int8_per_channel"
DYNAMIC = "tiny/ptq_dynamic_int8"
KINDS = ("checkpoints", "results")
UNMADE = "claims that no test of this run makes, because a test file is missing or a mark skips its tests: "
FILES = {"checkpoints": "test_checkpoint.py", "results": "test_regression.py"}


@pytest.fixture
def started(accepted, project, pytester, monkeypatch):
    """Starts pytest in a folder of the project: its result, after checking that no golden was changed or deleted."""

    def start(*args, folder="."):
        before = {path: path.read_bytes() for path in project.golden.rglob("*") if path.is_file()}
        monkeypatch.chdir(project.root / folder)
        result = pytester.runpytest_inprocess(*args)
        assert {path: path.read_bytes() for path in project.golden.rglob("*") if path.is_file()} == before
        return result

    return start


def errors_of(result):
    return [line for line in result.errlines if line]


def golden(kind, name, folder="golden"):
    return f"{folder}/{kind}/{name}.json"


def orphan(project, kind, name="tiny/gone"):
    """A golden of an experiment that is not configured."""
    path = project.golden / kind / f"{name}.json"
    path.write_bytes((project.golden / kind / f"{DYNAMIC}.json").read_bytes())
    return path


SELECTIONS = [
    ((), "bench", "."),
    (("-k", "dynamic"), "bench", "."),
    (("-k", "nothing of the kind"), "bench", "."),
    (("-m", "latency"), "bench", "."),
    (("-m", "not latency"), "bench", "."),
    (("--experiment", DYNAMIC), "bench", "."),
    (("--collect-only",), "bench", "."),
    ((), "bench/test_accuracy.py", "."),
    ((), None, "bench"),
    ((), ".", "bench"),
    ((), None, "."),
]


@pytest.mark.parametrize(("options", "place", "folder"), SELECTIONS, ids=str)
def test_an_orphan_of_either_kind_ends_every_run_with_its_path_and_what_to_do(started, project, options, place, folder):
    for kind in KINDS:
        orphan(project, kind)
    result = started("-q", *options, *([place] if place else []), folder=folder)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    # The root lies above the folder in which the run was started.
    where, configs = ("golden", "configs") if folder == "." else (f"{project.root}/golden", f"{project.root}/configs")
    both = ", ".join(golden(kind, "tiny/gone", where) for kind in KINDS)
    assert errors_of(result) == [f"ERROR: orphan golden, claimed by no experiment in {configs}: {both}; remove it"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_orphan_of_one_kind_is_enough(started, project, kind):
    orphan(project, kind)
    (line,) = errors_of(started("-q", "bench"))
    assert line.endswith(f": {golden(kind, 'tiny/gone')}; remove it")


def test_an_orphan_ends_a_run_of_parallel_workers_with_the_same_line(accepted, project):
    path = orphan(project, "results")
    result = accepted("-n", "2", "-k", "shrinks")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    line = f"ERROR: orphan golden, claimed by no experiment in configs: {golden('results', 'tiny/gone')}; remove it"
    assert result.outlines.count(line) == 1
    assert "passed" not in result.stdout.str()
    assert path.is_file()


def test_an_experiment_that_was_renamed_leaves_orphans_of_both_kinds(started, project):
    project.edit("ptq_static_int8_per_channel:", "ptq_renamed:")
    (line,) = errors_of(started("-q", "bench"))
    assert line.endswith(f": {golden('checkpoints', STATIC)}, {golden('results', STATIC)}; remove it")


def test_many_orphans_are_counted(started, project):
    for i in range(9):
        orphan(project, "results", f"tiny/gone{i}")
    (line,) = errors_of(started("-q", "bench"))
    assert line.endswith(f"{golden('results', 'tiny/gone3')} and 5 more; remove it")


def test_a_result_for_an_engine_is_an_orphan_since_nothing_reads_it(started, project):
    orphan(project, "results", f"{DYNAMIC}@qnnpack")
    assert started("-q", "bench").ret == pytest.ExitCode.USAGE_ERROR
    orphan(project, "results", f"{DYNAMIC}@qnnpack").unlink()
    orphan(project, "checkpoints", f"{DYNAMIC}@qnnpack")
    assert started("-q", "bench", "--collect-only").ret == 0


def deleted(path):
    path.unlink()


def skipped_by_a_mark(path):
    # The claim itself, which the file only imports.
    claim = (CLAIMS / path.name).read_text()
    path.write_text(claim.replace("\ndef test", "\n@pytest.mark.skip\ndef test"))


def skipped_as_a_module(path):
    path.write_text(
        'import pytest\n\npytest.skip("later", allow_module_level=True)\n' + path.read_text().partition("\n")[2]
    )


def skipped_by_a_mark_of_the_module(path):
    path.write_text(path.read_text() + "\nimport pytest\n\npytestmark = pytest.mark.skip\n")


def skipped_under_a_condition_that_holds(path):
    path.write_text(path.read_text() + '\nimport pytest\n\npytestmark = pytest.mark.skipif(True, reason="here")\n')


VANISHED = [
    deleted, skipped_by_a_mark, skipped_as_a_module, skipped_by_a_mark_of_the_module,
    skipped_under_a_condition_that_holds,
]  # fmt: skip


@pytest.mark.parametrize("vanish", VANISHED, ids=lambda vanish: vanish.__name__)
def test_claims_whose_tests_vanished_end_a_run_of_the_folder_and_are_named(started, project, vanish):
    for file in FILES.values():
        vanish(project.root / "bench" / file)
    for args in (("bench",), ("bench", "-k", "shrinks"), ("bench", "--collect-only")):
        result = started("-q", *args)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        (line,) = errors_of(result)
        named = ("reload", "checkpoint", "accuracy_vs_accepted", "speedup_vs_accepted")
        words = "; ".join(f"{quantity} of tiny/fp32_baseline and 3 more" for quantity in named)
        advice = (
            "bring the tests back, run those of the package beside yours (--pyargs quantbench.claims), or import all "
            "of them: from quantbench.claims import *"
        )
        assert line == f"ERROR: {UNMADE}{words}; {advice}"
        result.stdout.no_fnmatch_line("*ERROR*collecting*")


@pytest.mark.parametrize(("place", "folder"), [(None, "bench"), (".", "bench"), (".", "."), ("../bench", "data")])
def test_a_test_file_that_is_gone_is_missed_wherever_the_run_is_started(started, project, place, folder):
    (project.root / "bench" / "test_regression.py").unlink()
    result = started("-q", *([place] if place else []), folder=folder)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert errors_of(result)[0].startswith(f"ERROR: {UNMADE}")


def test_a_test_file_that_is_gone_ends_a_run_of_parallel_workers(accepted, project):
    (project.root / "bench" / "test_regression.py").unlink()
    result = accepted("-n", "2", "-k", "shrinks")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stdout.str().count(f"ERROR: {UNMADE}") == 1


def test_a_condition_that_does_not_hold_skips_nothing(started, project):
    path = project.root / "bench" / "test_regression.py"
    path.write_text(path.read_text() + '\npytestmark = pytest.mark.skipif(False, reason="elsewhere")\n')
    assert started("-q", "bench", "--collect-only").ret == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_test_file_that_was_renamed_still_checks_its_goldens(started, project, kind):
    path = project.root / "bench" / FILES[kind]
    path.rename(path.with_name("test_renamed.py"))
    assert started("-q", "bench", "-k", "shrinks and per_channel").ret == 0


@pytest.mark.parametrize(
    "args",
    [
        ("bench/test_size.py", "-k", "per_channel"),
        (f"bench/test_size.py::test_file_shrinks_by_its_bound[{STATIC}]",),
        ("bench/test_size.py", "bench/test_coverage.py", "-k", "per_channel"),
    ],
)
def test_a_part_of_the_folder_misses_no_test_file(started, project, args):
    (project.root / "bench" / "test_regression.py").unlink()
    assert started("-q", *args).ret == 0


def test_what_failed_last_can_be_run_alone(started, project):
    (project.root / "pytest.ini").write_text(
        (project.root / "pytest.ini").read_text().replace("-p no:cacheprovider", "")
    )
    project.edit("size_ratio: 0.2", "size_ratio: 9.0")
    assert started("-q", "bench", "-k", "shrinks and per_channel").ret == pytest.ExitCode.TESTS_FAILED
    result = started("-q", "bench", "--lf")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["failed"] == 1


def test_a_named_experiment_is_audited_whether_it_has_goldens_or_not(started, project):
    path = project.root / "bench" / "test_regression.py"
    path.unlink()
    (project.golden / "results" / f"{DYNAMIC}.json").unlink()
    (line,) = errors_of(started("-q", "bench", "--experiment", DYNAMIC, "-k", "shrinks or size"))
    assert line.startswith(f"ERROR: {UNMADE}accuracy_vs_accepted of {DYNAMIC}; speedup_vs_accepted of {DYNAMIC}; bring")
    (line,) = errors_of(started("-q", "bench", "--experiment", STATIC))
    assert line.startswith(f"ERROR: {UNMADE}accuracy_vs_accepted of {STATIC}; speedup_vs_accepted of {STATIC}; bring")


def test_a_test_file_that_cannot_be_imported_is_told_by_its_own_error(started, project):
    path = project.root / "bench" / "test_regression.py"
    path.write_text("import no_such_module\n" + path.read_text())
    result = started("-q", "bench")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*No module named 'no_such_module'*"])
