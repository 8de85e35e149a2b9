"""Which claims run: parameters from `configs/`, selected by -k, -m and --experiment."""

import pytest

ALL = ("fp32_baseline", "ptq_dynamic_int8", "ptq_static_int8_per_channel", "qat_int8")
STATIC = "tiny/ptq_static_int8_per_channel"


def collected(result):
    """Pairs of test and experiment that the run would start."""
    lines = [line for line in result.outlines if "::" in line]
    return {tuple(line.partition("::")[2].rstrip("]").split("[")) for line in lines}


def experiments(result):
    return {experiment for _, experiment in collected(result)}


def test_ids_are_workload_and_experiment(bench):
    result = bench("--collect-only", "-q")
    assert result.ret == 0
    assert experiments(result) == {f"tiny/{name}" for name in ALL}


def test_each_gate_is_claimed_only_of_the_experiments_that_set_it(bench):
    by_test = {}
    for test, experiment in collected(bench("--collect-only", "-q")):
        by_test.setdefault(test, set()).add(experiment.removeprefix("tiny/"))
    assert by_test == {
        "test_accuracy_drop_is_within_its_bound": set(ALL) - {"fp32_baseline"},
        "test_accuracy_is_measured_where_no_bound_is_set": {"fp32_baseline"},
        "test_baseline_is_as_accurate_as_its_card_says": {"fp32_baseline"},
        "test_checkpoint_loads_in_a_fresh_process_to_the_same_bits": set(ALL),
        "test_checkpoint_is_the_accepted_one": set(ALL),
        "test_quantized_again_in_a_fresh_process_it_has_the_same_bits": set(ALL),
        "test_share_of_int8_kernels_reaches_its_bound": {"ptq_static_int8_per_channel"},
        "test_int8_share_is_measured_where_no_bound_is_set": set(ALL) - {"ptq_static_int8_per_channel"},
        "test_every_class_that_the_reference_answers_is_answered": set(ALL),
        "test_quantized_model_does_no_less_work_than_fp32": set(ALL),
        "test_peak_memory_is_measured_where_no_bound_is_set": set(ALL),
        "test_predictions_are_no_worse_than_accepted": set(ALL),
        "test_speedup_is_no_worse_than_accepted": set(ALL),
        "test_speedup_reaches_its_bound": {"ptq_static_int8_per_channel"},
        "test_forward_time_is_measured_where_no_bound_is_set": set(ALL) - {"ptq_static_int8_per_channel"},
        "test_file_shrinks_by_its_bound": {"ptq_static_int8_per_channel"},
        "test_size_is_measured_where_no_bound_is_set": set(ALL) - {"ptq_static_int8_per_channel"},
    }


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (("-k", "ptq"), {"ptq_dynamic_int8", "ptq_static_int8_per_channel"}),
        (("-k", "qat"), {"qat_int8"}),
        (("-k", "tiny and per_channel"), {"ptq_static_int8_per_channel"}),
        (("-m", "latency"), set(ALL)),
        (("--experiment", STATIC), {"ptq_static_int8_per_channel"}),
        (("--experiment", "tiny/ptq_*"), {"ptq_dynamic_int8", "ptq_static_int8_per_channel"}),
        (("--experiment", "*/qat*", "--experiment", "*/fp32*"), {"qat_int8", "fp32_baseline"}),
        (("--experiment", "tiny/*", "-k", "dynamic"), {"ptq_dynamic_int8"}),
    ],
)
def test_a_selection_selects_what_it_says(bench, selection, expected):
    assert experiments(bench("--collect-only", "-q", *selection)) == {f"tiny/{name}" for name in expected}


def test_latency_is_measured_once_per_experiment(bench):
    selected = collected(bench("--collect-only", "-q", "-m", "latency"))
    compared = {(test, experiment) for test, experiment in selected if test == "test_speedup_is_no_worse_than_accepted"}
    assert sorted(experiment for _, experiment in selected - compared) == [f"tiny/{name}" for name in ALL]
    assert sorted(experiment for _, experiment in compared) == [f"tiny/{name}" for name in ALL]
    assert ("test_speedup_reaches_its_bound", STATIC) in selected


def test_a_claim_about_no_selected_experiment_is_deselected_and_not_skipped(bench):
    result = bench("--collect-only", "-q", "--experiment", "tiny/ptq_dynamic_int8")
    assert len(collected(result)) == 12
    result.stdout.fnmatch_lines(["12/25 tests collected (13 deselected)*"])


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("tiny/ptq_static_int8_per_chanel", " Did you mean 'tiny/ptq_static_int8_per_channel'?"), ("huge/*", "")],
)
def test_an_unknown_experiment_ends_with_one_line_that_names_the_known_ones(bench, given, nearest):
    result = bench("--experiment", given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    known = ", ".join(f"tiny/{name}" for name in ALL)
    errors = [line for line in result.errlines if line]
    assert errors == [f"ERROR: --experiment: unknown experiment '{given}'.{nearest} Known: {known}"]


def test_another_folder_of_configurations_and_goldens_can_be_named(bench, project):
    project.configs.rename(project.root / "elsewhere")
    project.golden.rename(project.root / "accepted")
    assert len(collected(bench("--collect-only", "-q", "--configs", "elsewhere", "--golden", "accepted"))) == 49


def test_a_claim_about_a_gate_by_its_old_name_is_made_with_a_hint(bench, project):
    project.edit("size_ratio: 0.2", "size_ratio: 0.2, layer_drop_pp: 90")
    (project.root / "bench" / "test_mine.py").write_text(
        "import pytest\n\n@pytest.mark.gate('block_drop_pp')\ndef test_mine(check_gate): check_gate()\n"
    )
    result = bench("-q", "-k", "test_mine", "-W", "default")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*OldWordWarning: bench/test_mine.py::test_mine: 'block_drop_pp' is 'layer_drop_pp' now; *"]
    )


def test_a_misspelt_gate_of_a_claim_is_named_with_its_test(bench, project):
    (project.root / "bench" / "test_mine.py").write_text(
        "import pytest\n\n@pytest.mark.gate('acuracy_drop_pp')\ndef test_mine(check_gate): check_gate()\n"
    )
    result = bench("-q")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: bench/test_mine.py::test_mine: unknown gate 'acuracy_drop_pp'. Did you mean 'accuracy_drop_pp'? *"]
    )
