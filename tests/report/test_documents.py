"""Records files in, Markdown out; what is no records file is named, and no document is harmed."""

import json
from pathlib import Path

import pytest

from quantbench.errors import ConfigError
from quantbench.records.run import ExperimentError, NotRun
from quantbench.report.documents import (
    check_place,
    pareto_document,
    read_records,
    read_with_errors,
    sensitivity_document,
    with_tables,
    write_records,
)


@pytest.fixture
def file(tmp_path, two_workloads):
    path = tmp_path / "records.json"
    write_records(path, two_workloads, [NotRun(experiment="far/away", reason="no data")])
    return path


def test_records_that_were_written_are_read_again(file, two_workloads):
    assert read_records([file]) == two_workloads


def test_a_later_file_replaces_the_records_of_the_same_experiments(file, tmp_path, make_record):
    newer = make_record("cifar_cnn_shapes/qat_int8", correct=999)
    write_records(tmp_path / "newer.json", [newer], [])
    found = read_records([file, tmp_path / "newer.json"])
    assert len(found) == 12
    assert [record for record in found if record.experiment == newer.experiment] == [newer]


ERROR = ExperimentError(experiment="cifar_cnn_shapes/broken", reason="the forward raised KeyError: 'x'")


def test_errors_are_written_read_and_shown_until_a_later_file_measures_their_experiment(
    tmp_path, two_workloads, make_record
):
    path, later = tmp_path / "records.json", tmp_path / "later.json"
    write_records(path, two_workloads, [], [ERROR])
    assert read_with_errors([path]) == (two_workloads, [ERROR])
    assert read_records([path]) == two_workloads
    document = pareto_document(*read_with_errors([path]))
    assert "| cifar_cnn_shapes/broken | – |" in document
    assert "\n- cifar_cnn_shapes/broken: error: the forward raised KeyError: 'x'\n" in document
    write_records(later, [make_record(ERROR.experiment)], [])
    assert read_with_errors([path, later])[1] == []
    assert read_with_errors([later, path])[1] == [ERROR]


def test_a_file_of_errors_alone_has_no_record_and_says_why(tmp_path):
    write_records(tmp_path / "records.json", [], [], [ERROR])
    with pytest.raises(ConfigError, match=r"no record, but an error: cifar_cnn_shapes/broken: error: the forward"):
        read_records([tmp_path / "records.json"])


def test_a_file_of_before_errors_were_noted_has_none(file):
    content = json.loads(file.read_text())
    del content["errors"]
    file.write_text(json.dumps(content))
    assert read_with_errors([file])[1] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "records.json: not valid JSON .*; write it with: pytest bench --json FILE"),
        ('{"schema_version": 3, "records": [', "records.json: not valid JSON .*"),
        ("[]", "records.json: .*mapping.*"),
        ('{"benchmarks": [], "datetime": "now"}', "records.json: schema_version: Field required"),
        ('{"schema_version": 2, "records": [], "new": 1}', "schema_version 2 is not 4; measure again: pytest bench"),
        ('{"schema_version": 3, "records": [{}]}', r"records.json: records\.0\.experiment: Field required"),
        ('{"schema_version": 3, "records": []}', "records.json: no record; write some with: pytest bench --json FILE"),
    ],
)
def test_a_damaged_foreign_or_empty_file_is_named_with_what_to_do(tmp_path, content, message):
    path = tmp_path / "records.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_records([path])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.json: cannot be read \(No such file or directory\); write it with"):
        read_records([tmp_path / "none.json"])


def test_a_file_cut_short_inside_a_record_is_refused_whole(file):
    content = json.loads(file.read_text())
    del content["records"][3]["environment"]["cores"]
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"records\.3\.environment\.cores: Field required"):
        read_records([file])


@pytest.mark.parametrize("speedup", [0.0, -2.0])
@pytest.mark.parametrize("place", ["speedup", "speedup_over_fastest"])
def test_a_speedup_that_no_clock_could_measure_is_named_with_its_file(file, speedup, place):
    content = json.loads(file.read_text())
    content["records"][2]["latency"][place] = speedup
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError) as refused:
        read_records([file])
    assert f"{file}: cifar_cnn_shapes/ptq_static_int8_per_tensor: its record has a speed-up of {speedup} [" in str(
        refused.value
    )
    assert str(refused.value).endswith("]; measure it again")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latency": {"speedup_interval": [0.0, 2.0]}}, r"a speed-up of 2.35 \[0.0, 2.0\]"),
        ({"latency": {"control": 0.0}}, r"a speed-up of 0.0 \[0.995, 1.006\]"),
        ({"latency": {"fp32_s": []}}, "not 3 forward times of each form, or some that are not positive"),
        ({"latency": {"fp32_again_s": [0.01]}}, "not 3 forward times of each form, or some that are not positive"),
        ({"latency": {"int8_s": [0.01, 0.0, 0.01]}}, "not 3 forward times of each form, or some that are not positive"),
        ({"accuracy": {"drop_interval_pp": [2.0, 3.0]}}, r"an accuracy drop of .* pp \[2.0, 3.0\]"),
        ({"accuracy": {"quantized_correct": "////"}}, "an accuracy of 0.896 that is not the one of its 1000 samples"),
        ({"accuracy": {"fp32_correct": "a"}}, "an accuracy of 0.91 that is not the one of its 1000 samples"),
        ({"accuracy": {"n": 0}}, "that is not the one of its 0 samples"),
        ({"size": {"quantized_bytes": 0}}, "sizes of 1126400 and 0 bytes"),
        ({"size": {"ratio": -1.0}}, "with a ratio of -1.0"),
        ({"recipe": {"layers": "block1"}}, "layers that are no list of names"),
        ({"recipe": {"layers": [1]}}, "layers that are no list of names"),
    ],
)
def test_a_figure_that_nothing_could_have_measured_is_named(file, changes, message):
    content = json.loads(file.read_text())
    for part, values in changes.items():
        content["records"][2][part] |= values
    file.write_text(json.dumps(content))
    with pytest.raises(
        ConfigError, match=rf"ptq_static_int8_per_tensor: its record has .*{message}.*; measure it again"
    ):
        read_records([file])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "place", ["latency.speedup", "latency.speedup_over_fastest", "accuracy.drop_pp", "accuracy.quantized", "size.ratio"]
)
def test_a_figure_that_is_no_number_is_named_by_its_place_in_the_file(file, place, number):
    content = json.loads(file.read_text())
    part, _, key = place.partition(".")
    content["records"][2][part][key] = number
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError) as refused:
        read_records([file])
    shown = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(number)]
    assert str(refused.value) == (
        f"{file}: records.2.{place}: {shown} is no finite number, or has more than 20 digits; write it with: "
        "pytest bench --json FILE"
    )


def test_a_recipe_without_its_kind_is_named(file):
    content = json.loads(file.read_text())
    del content["records"][0]["recipe"]["kind"]
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="fp32_baseline: its record has a recipe without its kind"):
        read_records([file])


def test_the_document_holds_both_fronts_all_results_and_where_they_come_from(two_workloads):
    text = pareto_document(two_workloads)
    assert text.count("| ● |") == 8
    assert "**cifar_cnn_shapes** (n = 1,000)" in text
    assert "| cifar_cnn_cifar10/qat_int8 | 93.30 | -2.30 [-3.43, -1.54] | 3.67 | – | 2.31 [2.19, 2.40] |" in text
    assert "Example CPU (avx2, avx512_vnni), 8 cores, engine x86, torch 2.14.1, Python 3.12.1" in text
    assert "`pytest bench --json records.json`" in text


def test_the_document_of_sensitivity_says_where_its_figures_come_from(two_layer_workloads, two_workloads):
    text = sensitivity_document([*two_workloads, *two_layer_workloads])
    assert text.startswith("# Sensitivity of layers\n\n**m5_spoken_words, layer by layer (n = 1,000)**\n\n| int8 |")
    assert "- `m5_spoken_words`: n = 1,000 test samples; speed-up" in text
    assert "cifar" not in text
    assert sensitivity_document(two_workloads) == ""


def test_a_document_far_larger_than_any_is_refused_before_it_is_taken_in(tmp_path):
    with (tmp_path / "a.md").open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(
        ConfigError, match=r"a\.md: cannot be read \(is larger than 67,108,864 bytes\); name a Markdown"
    ):
        with_tables(tmp_path / "a.md", [])


def test_a_place_for_records_is_made_or_refused_before_anything_is_measured(tmp_path):
    check_place(tmp_path / "new" / "records.json")
    assert (tmp_path / "new").is_dir()
    with pytest.raises(ConfigError, match=r"new: is a folder; name a file in it"):
        check_place(tmp_path / "new")
    with pytest.raises(ConfigError, match=r"^--json /dev/null: is a device, not a file; name another file$"):
        check_place(Path("/dev/null"))
    (tmp_path / "taken").write_text("")
    with pytest.raises(
        ConfigError, match=r"--json .*taken/a\.json: its folder cannot be made \(.*\); name another file"
    ):
        check_place(tmp_path / "taken" / "a.json")
