"""Claims that a run leaves out without being asked to fail it; those that its command line leaves out are counted."""

import os

import pytest

STATIC = "tiny/ptq_static_int8_per_channel"
ONLY = ("-q", "--experiment", STATIC)
QUICK = "shrinks or within"
# Claims about the experiment: verdicts on four gates, and on what needs no bound.
PLANNED = 11


def addopts(project, more):
    path = project.root / "pytest.ini"
    path.write_text(path.read_text().replace("addopts = ", f"addopts = {more} "))


def test_what_the_command_line_leaves_out_is_counted(accepted):
    result = accepted(*ONLY, "-k", QUICK)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [f"{PLANNED - 2} of {PLANNED} claims of these experiments were not looked at (left out by -k '{QUICK}')"]
    )


def test_a_run_that_looks_at_everything_counts_nothing(accepted):
    result = accepted(*ONLY)
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*not looked at*")


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("-k 'not shrinks'", "addopts: -k 'not shrinks'"),
        ("-m 'not gate'", "addopts: -m 'not gate'"),
        ("--deselect bench/test_size.py", "addopts: --deselect bench/test_size.py"),
        ("--benchmark-skip", "addopts: --benchmark-skip"),
    ],
)
def test_what_settings_leave_out_fails_the_run(accepted, project, option, shown):
    addopts(project, option)
    result = accepted(*ONLY)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    if "benchmark" in option:
        result.stdout.fnmatch_lines(
            ["claims were skipped (Skipping benchmark*): *; a claim that is skipped is no pass"]
        )
    else:
        result.stdout.fnmatch_lines([f"settings leave claims out ({shown}): *; take that out of them"])


def test_what_the_environment_leaves_out_fails_the_run_too(accepted, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--deselect bench/test_size.py")
    result = accepted(*ONLY)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"settings leave claims out (*): size_ratio of {STATIC}; take that out of them"])


UNTIMED = (
    "settings leave claims about speed without a verdict ({}): speedup of "
    f"{STATIC}; speedup_vs_accepted of {STATIC}; take that out of them and type it, or leave these claims out with *"
)


@pytest.mark.parametrize("place", ["addopts", "PYTEST_ADDOPTS", "conftest.py"])
def test_settings_by_which_nothing_is_timed_fail_the_run(accepted, project, monkeypatch, place):
    told = "addopts: --benchmark-disable"
    if place == "addopts":
        addopts(project, "--benchmark-disable")
    elif place == "PYTEST_ADDOPTS":
        monkeypatch.setenv("PYTEST_ADDOPTS", "--benchmark-disable")
    else:
        text = "def pytest_configure(config):\n    config.option.benchmark_disable = True\n"
        (project.root / "conftest.py").write_text(text)
        told = "a conftest.py or plugin: --benchmark-disable"
    result = accepted(*ONLY, "-k", "speed or reaches")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([UNTIMED.format(told)])
    assert accepted(*ONLY, "-m", "not latency").ret == 0, "no claim about speed was made"


def test_a_command_line_that_times_after_all_fails_nothing(accepted, project):
    addopts(project, "--benchmark-disable")
    result = accepted(*ONLY, "-k", "speed or reaches", "--benchmark-enable")
    assert (result.ret, result.parseoutcomes()["passed"]) == (0, 3)


def test_a_command_line_by_which_nothing_is_timed_is_counted(accepted):
    result = accepted(*ONLY, "--benchmark-disable")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [f"2 of {PLANNED} claims of these experiments were not looked at (left out by --benchmark-disable)"]
    )


def test_tests_that_a_hook_removes_fail_the_run(accepted, project):
    (project.root / "conftest.py").write_text(
        "def pytest_collection_modifyitems(items):\n    items[:] = [i for i in items if 'shrinks_by' not in i.nodeid]\n"
    )
    result = accepted(*ONLY)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"tests of claims were removed after they were collected, *: size_ratio of {STATIC}; *"]
    )


def test_a_test_that_skips_itself_is_no_pass_however_the_run_was_asked_for(accepted, project):
    (project.root / "bench" / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture(autouse=True)\ndef busy(request):\n"
        "    if 'shrinks_by' in request.node.nodeid:\n        pytest.skip('not today')\n"
    )
    result = accepted(*ONLY, "-k", QUICK)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"claims were skipped (not today): *size_ratio of {STATIC}*; a claim that is skipped is no pass"]
    )


def test_pytest_benchmark_s_options_forgive_no_skip_but_its_own(accepted, project):
    (project.root / "bench" / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture(autouse=True)\ndef flaky(request):\n"
        "    if 'shrinks_by' in request.node.nodeid:\n        pytest.skip('flaky')\n"
    )
    result = accepted(*ONLY, "--benchmark-skip", "-k", "shrinks_by or speed")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"claims were skipped (flaky): size_ratio of {STATIC}; a claim that is *"])


@pytest.mark.parametrize("selection", [("-k", "shrinks_by"), ("--deselect", "bench/test_latency.py"), ()])
def test_a_test_that_gives_no_verdict_is_no_pass_however_the_run_was_asked_for(accepted, project, selection):
    (project.root / "bench" / "test_size.py").write_text(
        "import pytest\nfrom quantbench.claims.test_size import *\n\n"
        "@pytest.fixture\ndef check_gate(experiment_run):\n    return lambda: None\n"
    )
    result = accepted(*ONLY, *selection)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"tests of claims gave no verdict: size_ratio of {STATIC}; *"])
    if selection[:1] == ("-k",):
        result.stdout.fnmatch_lines(
            [f"{PLANNED} of {PLANNED} claims of these experiments were not looked at (left out by -k shrinks_by)"]
        )


def test_code_that_ends_pytest_as_a_success_fails_the_run(accepted, project, monkeypatch):
    from tiny_model import TinyCNN

    monkeypatch.setattr(TinyCNN, "forward", lambda *_: pytest.exit("bye", returncode=0))
    project.edit("calibration_n: 32", "calibration_n: 31")
    result = accepted(*ONLY, "-k", "within")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"tests of claims gave no verdict: accuracy_drop_pp of {STATIC}; *"])


def test_the_claims_that_were_not_looked_at_are_counted_where_none_was(accepted):
    result = accepted(*ONLY, "-k", "nothing of the kind")
    result.stdout.fnmatch_lines([f"{PLANNED} of {PLANNED} claims of these experiments were not looked at (*"])


@pytest.mark.parametrize(
    "option", ["--help", "--markers", "--fixtures", "--fixtures-per-test", "-VV", "--setup-plan", "--setup-only"]
)
def test_settings_that_only_show_something_fail_the_run(accepted, project, monkeypatch, option):
    monkeypatch.setenv("PYTEST_ADDOPTS", option)
    result = accepted(*ONLY, "-k", QUICK)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: settings keep every run from running tests (addopts: *); type that instead"])


def test_what_only_shows_something_may_be_typed(accepted):
    assert accepted("--markers").ret == 0


def test_code_that_ends_the_process_fails_its_claims(accepted, project, monkeypatch):
    from tiny_model import TinyCNN

    monkeypatch.setattr(os, "_exit", lambda _: None)
    monkeypatch.setattr(TinyCNN, "forward", lambda *_: os._exit(0))
    project.edit("size_ratio: 0.2", "size_ratio: 0.21")
    result = accepted(*ONLY, "-k", "within")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*raised SystemExit: os._exit(0) would have ended the run*"])


def test_a_condition_in_quotes_that_holds_is_no_pass(accepted, project):
    path = project.root / "bench" / "test_size.py"
    path.write_text(path.read_text() + "\nimport pytest\n\npytestmark = pytest.mark.skipif('True', reason='later')\n")
    result = accepted(*ONLY, "-k", QUICK)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"claims were skipped (later): size_ratio of {STATIC}; a claim that is *"])


def test_a_mark_that_expects_a_failure_is_refused_before_anything_runs(accepted, project):
    path = project.root / "bench" / "test_size.py"
    path.write_text(path.read_text() + "\nimport pytest\n\npytestmark = pytest.mark.xfail\n")
    result = accepted("-q", "-k", "nothing of the kind")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: bench/test_size.py::*: xfail on a claim is refused, *accept that with a reason*"]
    )


@pytest.mark.parametrize("call", ["request.node.add_marker(pytest.mark.xfail)", "pytest.xfail('known')"])
def test_a_failure_that_is_expected_while_it_runs_is_a_failure(accepted, project, call):
    project.edit("size_ratio: 0.2", "size_ratio: 9.0")
    (project.root / "bench" / "conftest.py").write_text(
        f"import pytest\n\n@pytest.fixture(autouse=True)\ndef excused(request):\n    {call}\n"
    )
    result = accepted(*ONLY, "-k", "shrinks_by")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "xfailed" not in result.parseoutcomes()
    result.stdout.fnmatch_lines([f"*{STATIC}: size_ratio: xfail on a claim is refused; loosen the gate instead"])


def test_a_gate_that_was_taken_out_fails_the_run_until_that_is_accepted(accepted, project, quantbench):
    project.edit("accuracy_drop_pp: 10.0, size_ratio", "size_ratio")
    result = accepted(*ONLY, "-k", QUICK)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    line = f"{STATIC}: gate accuracy_drop_pp: 10.0 → gone"
    result.stdout.fnmatch_lines([f'{line}; accept it: quantbench gates {STATIC} --accept --reason "…"'])
    status, out, _ = quantbench("gates", STATIC)
    assert (status, out.splitlines()[-1]) == (1, f'{line}; accept it: quantbench gates {STATIC} --accept --reason "…"')
    assert quantbench("gates", STATIC, "--accept", "--reason", "measured elsewhere") == (0, f"{line}\n", "")
    assert accepted(*ONLY, "-k", QUICK).ret == 0


def test_a_gate_that_was_loosened_fails_a_run_of_the_shell(accepted, project, quantbench):
    project.edit("size_ratio: 0.2", "size_ratio: 0.1")
    status, _, err = quantbench("run", STATIC)
    assert status == 1
    assert f"{STATIC}: gate size_ratio: 0.2 → 0.1; accept it: quantbench gates {STATIC} --accept" in err


def test_a_gate_that_was_loosened_in_both_files_by_hand_fails_the_run(accepted, project, quantbench):
    project.edit("size_ratio: 0.2", "size_ratio: 0.1")
    gates = project.golden / "gates.json"
    text = gates.read_text()
    assert text.count('"size_ratio": 0.2') == 1
    gates.write_text(text.replace('"size_ratio": 0.2', '"size_ratio": 0.1'))
    result = accepted(*ONLY, "-k", QUICK)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    line = f"golden/gates.json: {STATIC}: gate size_ratio: 0.2 → 0.1: written without an acceptance and its reason; *"
    result.stdout.fnmatch_lines([line])
    assert quantbench("gates", STATIC, "--accept", "--reason", "smaller files are not the point")[0] == 0
    assert quantbench("gates")[0] == 0


def test_an_update_accepts_the_gates_of_what_it_accepts(accepted, project):
    project.edit("size_ratio: 0.2", "size_ratio: 0.1")
    result = accepted(*ONLY, "-k", "checkpoint_is", "--update-golden", "--reason", "smaller files are not the point")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"{STATIC}: gate size_ratio: 0.2 → 0.1"])
    assert accepted(*ONLY, "-k", "shrinks_by").ret == 0


def test_an_experiment_that_was_taken_out_with_its_goldens_is_missed(accepted, project, quantbench):
    text = project.config.read_text()
    first, _, rest = text.partition("  ptq_dynamic_int8:")
    project.config.write_text(first + "  ptq_static" + rest.partition("  ptq_static")[2])
    for path in project.golden.rglob("ptq_dynamic_int8*"):
        path.unlink()
    result = accepted("-q", "-k", "shrinks_by")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["tiny/ptq_dynamic_int8: was accepted with the gates *, and is configured no more; *"])
    status, _, err = quantbench("run", STATIC)
    assert (status, "tiny/ptq_dynamic_int8: was accepted with the gates" in err) == (1, True)
    assert quantbench("gates", "tiny/ptq_dynamic_int8", "--accept", "--reason", "not shipped")[0] == 0
    assert accepted("-q", "-k", "shrinks_by").ret == 0


def test_an_orphan_ends_a_run_of_the_shell(accepted, project, quantbench):
    golden = project.golden / "results" / "tiny" / "gone.json"
    golden.write_bytes((project.golden / "results" / f"{STATIC}.json").read_bytes())
    status, _, err = quantbench("run", STATIC)
    assert (status, err) == (
        2, "quantbench: orphan golden, claimed by no experiment in configs: golden/results/tiny/gone.json; remove it\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("gates", "--accept", "--reason", "x"), '--accept: name the experiments ("*" is all)\n'),
        (("gates", "*", "--accept"), 'quantbench: --accept: say why: --reason "…"\n'),
        (("gates", "--accept"), '--accept: name the experiments ("*" is all) and say why: --reason "…"\n'),
        (("gates", "tiny/gone"), "unknown experiment 'tiny/gone'"),
    ],
)
def test_gates_are_accepted_by_name_and_with_a_reason(quantbench, project, args, told):
    status, _, err = quantbench(*args)
    assert (status, told in err) == (2, True)


def test_gates_of_a_new_project_are_told_as_not_accepted_yet(quantbench, project):
    assert quantbench("gates") == (
        0,
        "4 experiment(s): no gates are accepted yet; accept results and gates with: pytest bench --experiment "
        'tiny/fp32_baseline --update-golden --reason "…"\n',
        "",
    )


@pytest.mark.parametrize("command", ["list", "gates"])
def test_an_empty_folder_is_told_the_first_step(quantbench, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    status, _, err = quantbench(command)
    assert (status, err) == (
        2,
        "quantbench: configs: no workload file (*.yaml) here; name the folder with --configs, or write my_model.yaml "
        "into it (docs/your-model.md shows one) and bring its weights: quantbench adopt my_model weights.pt\n",
    )


def test_gates_are_not_accepted_in_ci(quantbench, project, monkeypatch):
    monkeypatch.setenv("CI", "true")
    status, _, err = quantbench("gates", "*", "--accept", "--reason", "x")
    assert (status, "--accept is refused because CI is set" in err) == (2, True)


NO_OP = """\
import pytest

@pytest.fixture
def check_gate(gate, experiment_run):
    return lambda: None
"""
SWALLOWED = """\
import pytest

@pytest.mark.gate("size_ratio")
def test_file_shrinks_by_its_bound(check_gate):
    with pytest.raises(BaseException):
        check_gate()
"""
HIDDEN = """\
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        report.outcome = "passed"
    return report
"""


def test_a_fixture_that_checks_nothing_makes_no_claim(accepted, project):
    (project.root / "bench" / "conftest.py").write_text(NO_OP)
    result = accepted(*ONLY)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["tests of claims gave no verdict: *size_ratio of *; let them call the *"])


@pytest.mark.parametrize(
    ("file", "text"), [("test_size.py", SWALLOWED), ("conftest.py", HIDDEN)], ids=["swallowed", "hidden by a hook"]
)
def test_a_fail_that_is_reported_as_passed_fails_the_run(accepted, project, file, text):
    project.edit("size_ratio: 0.2", "size_ratio: 9.0")
    (project.root / "bench" / file).write_text(text)
    result = accepted(*ONLY, "-k", "shrinks_by")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"claims that fail were reported as passed: size_ratio of {STATIC}; a FAIL is no pass"]
    )


def test_an_error_that_is_reported_as_passed_fails_the_run(accepted, project):
    (project.root / "bench" / "conftest.py").write_text(HIDDEN)
    project.weights.unlink()
    assert accepted(*ONLY, "-k", "shrinks_by").ret == pytest.ExitCode.TESTS_FAILED


def test_all_claims_gone_is_told_too(accepted, project):
    for path in (project.root / "bench").glob("test_*.py"):
        path.unlink()
    (project.root / "bench" / "test_mine.py").write_text("def test_mine(): pass\n")
    result = accepted("-q")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["no test of this run makes a claim, although golden/gates.json holds accepted *"])
    assert accepted("-q", "-k", "mine").ret == 0, "as it was asked for"


@pytest.fixture
def renamed(accepted, project, pytester):
    """`renamed(*args)` runs pytest where claims lie in a folder of another name, beside other tests."""
    (project.root / "bench").rename(project.root / "quality")
    for folder in ("tests", "quality"):
        (project.root / folder).mkdir(exist_ok=True)
        (project.root / folder / "test_mine_of.py").write_text("def test_mine(): pass\n")
    return lambda *args: pytester.runpytest_inprocess(*args, "-q")


def test_other_tests_of_the_project_are_left_alone(renamed):
    assert renamed("tests").ret == 0
    assert renamed("tests/test_mine_of.py").ret == 0


@pytest.mark.parametrize("args", [(), ("quality",), ("tests", "quality"), (".",)])
def test_claims_that_pytest_does_not_collect_are_told_by_their_file_in_any_folder(renamed, project, args):
    path = project.root / "pytest.ini"
    path.write_text(path.read_text() + "python_files = test_*_of.py\n")
    assert renamed("tests").ret == 0
    result = renamed(*args)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["no test of this run makes a claim, *and quality/test_accuracy.py imports claims; *"])


def test_a_project_without_test_files_of_claims_runs_its_own_tests(renamed, project):
    for path in (project.root / "quality").glob("test_*.py"):
        path.unlink()
    environment = project.root / "quality" / "venv"
    environment.mkdir()
    (environment / "pyvenv.cfg").touch()
    (environment / "claims.py").write_text("from quantbench.claims.test_size import *\n")
    (project.root / "quality" / "words.py").write_text('TEXT = """\nfrom quantbench.claims import *\n"""\n')
    assert renamed().ret == 0


@pytest.mark.parametrize("option", ["--strict-verdicts", f"--experiment={STATIC}", "--json=records.json"])
def test_an_option_of_the_suite_asks_for_claims_wherever_they_lay(renamed, project, option):
    for path in (project.root / "quality").glob("test_*y.py"):
        path.unlink()
    result = renamed("tests", option)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    words = option.replace("=", " ")
    result.stdout.fnmatch_lines([f"no test of this run makes a claim, which {words} asks for; bring the tests *"])


@pytest.mark.parametrize("option", [f"--experiment {STATIC}", "--co", "--collect-only"])
def test_settings_that_leave_experiments_out_end_the_run(accepted, project, option):
    addopts(project, option)
    result = accepted("-q")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: settings leave experiments or claims out of every run (addopts: {option}); *"]
    )


def test_a_missing_file_is_missed_though_a_part_of_other_tests_was_named_too(accepted, project):
    (project.root / "bench" / "test_size.py").unlink()
    (project.root / "test_mine.py").write_text("def test_mine(): pass\n")
    result = accepted("test_mine.py", "-q")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: claims that no test of this run makes*size_ratio of*"])


def test_a_hook_that_removes_tests_fails_a_run_with_a_selection_too(accepted, project):
    (project.root / "conftest.py").write_text(
        "def pytest_collection_modifyitems(items):\n    items[:] = [i for i in items if 'shrinks_by' not in i.nodeid]\n"
    )
    result = accepted(*ONLY, "-m", "not latency")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [f"tests of claims were removed after they were collected, *: size_ratio of {STATIC}; *"]
    )


def test_a_file_that_cannot_be_collected_is_told_by_its_own_error_alone(accepted, project):
    path = project.root / "bench" / "test_size.py"
    path.write_text("def broken(:\n")
    result = accepted("-q")
    assert result.ret != 0
    result.stdout.no_fnmatch_line("*were not made*")
    result.stderr.no_fnmatch_line("*claims that no test*")


def test_a_file_of_claims_that_cannot_be_collected_is_one_line_at_the_end(accepted, project):
    (project.root / "bench" / "test_size.py").write_text("from quantbench.claims import *\ndef broken(:\n")
    (project.root / "bench" / "test_mine.py").write_text("import no_such_module\n")
    result = accepted("-q")
    assert result.ret != 0
    end = result.stdout.str().partition("FAILED: what this run rests on")[2]
    result.stdout.fnmatch_lines(
        ["bench/test_size.py: cannot be collected: SyntaxError: *; none of its claims is made: mend the file"]
    )
    assert "bench/test_mine.py: cannot" not in end


@pytest.mark.parametrize("place", ["typed", "addopts"])
@pytest.mark.parametrize(("plugin", "name"), [("benchmark", "pytest-benchmark (benchmark)"), ("syrupy", "syrupy")])
def test_plugins_that_claims_need_are_missed_by_name(accepted, project, place, plugin, name):
    # pytester's runs share what is imported, but not what is registered.
    if place == "addopts":
        addopts(project, f"-p no:{plugin}")
    result = accepted("-q", *(("-p", f"no:{plugin}") if place == "typed" else ()))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: claims need {name}, which this run does not load; take -p no:* out of the *"])
