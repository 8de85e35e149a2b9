"""What is wrong is said in a line of its own: which file or experiment, what, and what to do; never a traceback."""

import pytest

STATIC = "tiny/ptq_static_int8_per_channel"


def error_lines(result):
    return [line for line in result.errlines if line]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "name: dynamic_int8",
            "name: dynamic_int9",
            "configs/tiny.yaml: experiments.ptq_dynamic_int8.recipe*: unknown recipe 'dynamic_int9'. Did you mean "
            "'dynamic_int8'? *",
        ),
        (
            "epochs: 3",
            "epochs: 3, epoch: 4",
            "configs/tiny.yaml: workload.training: unknown key 'epoch'. Did you mean *",
        ),
        ("epochs: 3", "epochs: none", "configs/tiny.yaml: workload.training.epochs: *integer*"),
        ("{card_drift_pp: 0.2}", "{card_drift_pp: 0.2", "configs/tiny.yaml: line *: not valid YAML: *"),
    ],
)
def test_a_mistake_in_a_configuration_ends_collection_with_its_line(bench, project, old, new, message):
    project.edit(old, new)
    result = bench()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert len(error_lines(result)) == 1
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*ERROR collecting*")


def test_a_folder_without_workloads_is_named_with_the_option_that_names_another(bench, project):
    project.config.unlink()
    result = bench()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert error_lines(result) == [
        "ERROR: configs: no workload file (*.yaml) here; name the folder with --configs, or write my_model.yaml into "
        "it (docs/your-model.md shows one) and bring its weights: quantbench adopt my_model weights.pt"
    ]


def test_an_error_inside_a_test_is_one_line_that_names_the_experiment(bench, project):
    project.weights.write_bytes(project.weights.read_bytes()[:-100])
    result = bench("-q", "--experiment", "tiny/ptq_dynamic_int8", "-k", "accuracy")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    failure = result.outlines[result.outlines.index(next(line for line in result.outlines if "= FAILURES =" in line)) :]
    assert failure[2].startswith("tiny/ptq_dynamic_int8: golden/baselines/tiny.safetensors: sha256 is ")
    assert failure[2].endswith("or make it again: quantbench train configs/tiny.yaml")
    assert failure[3].startswith("7 of 8 claims of these experiments were not looked at")
    assert failure[4].startswith("====")


def test_missing_trained_weights_are_named_with_the_command_that_trains_them(bench):
    result = bench("-q", "-k", "qat and accuracy")
    (line,) = {line for line in result.outlines if line.startswith("tiny/qat_int8: ")}
    assert "golden/baselines/tiny.qat_int8.safetensors: no such file" in line
    assert line.endswith(": pytest bench --experiment tiny/qat_int8 --retrain")


def test_retrain_writes_the_weights_that_were_missing(bench, project):
    assert bench("-q", "-k", "qat and accuracy", "--retrain").ret == 0
    assert (project.golden / "baselines" / "tiny.qat_int8.safetensors").is_file()
    assert bench("-q", "-k", "qat and accuracy").ret == 0


def test_more_calibration_samples_than_the_pool_has_is_one_line_with_the_key(bench, project):
    project.edit("calibration_n: 32", "calibration_n: 61")
    result = bench("-q", "--experiment", STATIC, "-k", "size or shrinks")
    result.stdout.fnmatch_lines([f"{STATIC}: configs/tiny.yaml: experiments.*.calibration_n: 61 samples asked for*60*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_an_engine_that_does_not_exist_is_named(bench):
    result = bench("-q", "--experiment", STATIC, "-k", "shrinks", "--engine", "x87")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{STATIC}: *x87*"])
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(("place", "reason"), [("bench", "is a folder; name a file in it"), ("pytest.ini/a.json", "*")])
def test_records_that_could_not_be_written_are_refused_before_measuring(bench, place, reason):
    result = bench("-q", "--json", place)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --json {place}: {reason}"])


def test_a_mistake_keeps_the_records_of_an_earlier_run(bench, project):
    records = project.root / "records.json"
    records.write_text("{}")
    assert bench("-q", "--json", records, "--experiment", "tiny/none").ret == pytest.ExitCode.USAGE_ERROR
    assert bench("-q", "--json", records, "--collect-only").ret == 0
    assert bench("-q", "--json", records, "-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert records.read_text() == "{}"


def test_retraining_under_parallel_workers_is_refused(bench):
    result = bench("--retrain", "-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert error_lines(result) == ["ERROR: --retrain: two workers would train the same weights; drop -n"]


def test_amp_without_retraining_is_refused_with_what_it_belongs_to(bench):
    result = bench("--amp")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert error_lines(result) == ["ERROR: --amp: is how --retrain trains; add --retrain, or drop --amp"]
