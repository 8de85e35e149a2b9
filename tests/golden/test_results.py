"""Accepted results as files: read as they were written, and anything else named with its key and what to do."""

import base64
import datetime
import json

import numpy as np
import pytest
from accepting import read_result, result_path, write_result

from quantbench.errors import GoldenError
from quantbench.golden.acceptance import accept_command
from quantbench.golden.accepted import Acceptance, AcceptedResult, AcceptedSpeedup
from quantbench.golden.circumstances import Inputs, MachineClass
from quantbench.golden.history import write_golden
from quantbench.golden.results import MAX_GOLDEN_BYTES, RESULTS
from quantbench.records.base import Environment, pack_bits

ID = "tiny/ptq"
ADVICE = (
    "restore it from version control, or remove it and accept again: "
    'pytest bench --experiment tiny/ptq --update-golden --reason "…"'
)
BITS = np.random.RandomState(0).rand(150) < 0.9
MACHINE = MachineClass(architecture="x86_64", isa=("avx2",), engine="x86", torch="2.14.1", threads=1)
INPUTS = Inputs(config="c" * 64, baseline="b" * 64, weights="b" * 64, calibration="k" * 64, test="t" * 64)
SPEEDUP = AcceptedSpeedup(
    machine=MACHINE,
    batch_size=32,
    rounds=40,
    level=0.99,
    speedup=2.0,
    speedup_interval=(1.9, 2.1),
    inputs=INPUTS,
)
RESULT = AcceptedResult(
    experiment=ID,
    machine=MACHINE,
    versions={"torch": "2.14.1"},
    inputs=INPUTS,
    n=150,
    correct=pack_bits(BITS),
    metrics={"accuracy": round(float(BITS.mean()), 6), "size_ratio": 3.5},
    speedups=[SPEEDUP],
    history=[Acceptance(date="2026-01-02", reason="first", changed=["accuracy: – → 0.9"])],
)


@pytest.fixture
def damaged(tmp_path):
    """Writes the result with keys replaced or removed, then gives the message that reading it ends with."""

    def message(text=None, without=(), **changed):
        path = write_result(tmp_path, RESULT)
        content = {
            key: value for key, value in {**json.loads(path.read_text()), **changed}.items() if key not in without
        }
        path.write_text(json.dumps(content) if text is None else text)
        with pytest.raises(GoldenError) as raised:
            read_result(tmp_path, ID)
        told = str(raised.value)
        assert told.startswith(f"{path}: ")
        assert told.endswith(ADVICE)
        return told.removeprefix(f"{path}: ").removesuffix(ADVICE).rstrip()

    return message


def test_a_result_is_read_as_it_was_written(tmp_path):
    path = write_result(tmp_path, RESULT)
    assert path == result_path(tmp_path, ID) == tmp_path / "results" / "tiny" / "ptq.json"
    assert read_result(tmp_path, ID) == RESULT
    np.testing.assert_array_equal(read_result(tmp_path, ID).bits, BITS)
    assert path.read_text().endswith("}\n"), "readable by a person, and by diff"


def test_a_result_that_was_never_accepted_is_none(tmp_path):
    assert read_result(tmp_path, ID) is None


@pytest.mark.parametrize("version", [0, 3, "1", "2", 1.0, 2.0, True, [1]], ids=repr)
def test_another_schema_version_is_refused_before_anything_else(damaged, version):
    told = damaged(schema_version=version, n="many")
    expected = f"schema_version: is {version!r}, but this quantbench reads 2; install the version that wrote it, or"
    assert told == expected


def test_a_result_without_a_schema_version_is_refused(damaged):
    assert damaged(without=["schema_version"]).startswith("schema_version: is missing, but this quantbench reads 2; ")


@pytest.mark.parametrize(("n", "bytes_"), [(150 + 8, 20), (150 - 16, 17), (1, 1), (10**15, 125_000_000_000_000)])
def test_bits_of_the_wrong_length_are_counted(damaged, n, bytes_):
    assert damaged(n=n) == f"correct: holds 19 bytes, but the bits of {n:,} samples take {bytes_:,};"


@pytest.mark.parametrize("n", [0, -150, 150.0, "150", True, None])
def test_a_number_of_samples_that_is_none_is_refused(damaged, n):
    assert damaged(n=n).startswith("n: Input should be ")


def test_bits_beyond_the_samples_are_refused(damaged):
    packed = bytearray(base64.b64decode(RESULT.correct))
    packed[-1] |= 1
    assert damaged(correct=base64.b64encode(packed).decode()) == "correct: has bits beyond the 150 samples;"


@pytest.mark.parametrize("text", ["not base64!", "äöü", RESULT.correct[:-1], f"{RESULT.correct}\n"])
def test_bits_that_are_not_base64_are_refused(damaged, text):
    assert damaged(correct=text).startswith("correct: not base64 (")


@pytest.mark.parametrize("samples", [1, -1, 150])
def test_an_accuracy_that_its_bits_do_not_have_is_told_beside_theirs(damaged, samples):
    accuracy = RESULT.metrics["accuracy"] - samples / 150
    told = damaged(metrics={"accuracy": accuracy})
    assert told == f"metrics.accuracy: is {accuracy:g}, but its bits say {BITS.mean():g};"


def test_a_flipped_bit_is_found_by_its_accuracy(damaged):
    flipped = BITS.copy()
    flipped[7] = not flipped[7]
    assert damaged(correct=pack_bits(flipped)).startswith("metrics.accuracy: is ")


def test_a_result_without_its_accuracy_is_refused(damaged):
    assert damaged(metrics={"size_ratio": 3.5}) == f"metrics.accuracy: is missing, but its bits say {BITS.mean():g};"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("key", ["accuracy", "size_ratio"])
def test_a_figure_that_is_not_finite_is_refused(damaged, key, constant):
    assert damaged(metrics={**RESULT.metrics, key: float(constant)}).startswith(
        f"metrics.{key}: {constant} is no finite number"
    )


def test_the_file_of_another_experiment_is_refused(damaged):
    assert damaged(experiment="tiny/other") == "experiment: is 'tiny/other', which does not belong here;"


def test_a_key_that_is_not_known_is_named(damaged):
    assert damaged(acuracy=1).startswith("acuracy: Extra inputs are not permitted")


@pytest.mark.parametrize("key", ["machine", "inputs", "correct", "n", "experiment", "versions"])
def test_a_key_that_is_missing_is_named(damaged, key):
    assert damaged(without=[key]).startswith(f"{key}: Field required")


def test_every_mistake_of_a_file_is_a_line_of_its_own(damaged):
    assert len(damaged(n=-1, correct=7, versions=[]).splitlines()) == 3


@pytest.mark.parametrize(
    "interval", [[2.1, 1.9], [0.0, 2.1], [-1.0, 2.1], [2.05, 2.1], [1.0, 1.9]], ids=repr
)  # fmt: skip
def test_a_speedup_outside_its_interval_or_not_positive_is_refused(damaged, interval):
    told = damaged(speedups=[{**SPEEDUP.model_dump(mode="json"), "speedup_interval": interval}])
    assert told.startswith("speedups.0: Value error, speedup 2 and its interval [")
    assert "must be positive and in order" in told


@pytest.mark.parametrize("change", [{"level": 1.0}, {"rounds": 0}, {"batch_size": -1}, {"speedup": float("nan")}])
def test_a_speedup_that_cannot_have_been_measured_is_refused(damaged, change):
    (key,) = change
    assert damaged(speedups=[{**SPEEDUP.model_dump(mode="json"), **change}]).startswith(f"speedups.0.{key}: ")


@pytest.mark.parametrize("text", ["", '{"schema_version": 1, "n', "<<<<<<< HEAD\n{}"])
def test_a_file_that_is_cut_short_or_holds_a_merge_conflict_is_refused(damaged, text):
    assert damaged(text=text).startswith("not valid JSON (")


@pytest.mark.parametrize("text", ["[]", "null", '"text"', "1"])
def test_json_that_is_no_mapping_is_refused(damaged, text):
    assert damaged(text=text).startswith("Input should be a mapping of keys to values")


def test_a_file_nested_too_deeply_is_refused(damaged):
    assert damaged(text="[" * 100_000) == "nested too deeply;"


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = write_result(tmp_path, RESULT)
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(GoldenError, match="not valid JSON"):
        read_result(tmp_path, ID)


def test_a_file_far_larger_than_any_result_is_not_read(damaged):
    assert damaged(text=" " * (MAX_GOLDEN_BYTES + 1)) == (
        f"larger than {MAX_GOLDEN_BYTES} bytes, which no accepted result is;"
    )


def test_a_link_to_something_else_is_refused_and_tells_nothing_of_it(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the password")
    path = result_path(tmp_path, ID)
    path.parent.mkdir(parents=True)
    path.symlink_to(secret)
    with pytest.raises(GoldenError, match="not valid JSON") as raised:
        read_result(tmp_path, ID)
    assert "password" not in str(raised.value)


def test_writing_replaces_a_link_and_not_what_it_leads_to(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    path = result_path(tmp_path, ID)
    path.parent.mkdir(parents=True)
    path.symlink_to(elsewhere)
    write_golden(path, RESULTS.content(RESULT), "first", ["accuracy: – → 0.9"], datetime.date(2026, 1, 2))
    assert elsewhere.read_text() == "mine"
    assert read_result(tmp_path, ID) == RESULT


def test_a_result_that_cannot_be_written_is_one_line(tmp_path):
    path = result_path(tmp_path, ID)
    path.mkdir(parents=True)
    with pytest.raises(GoldenError, match=r"ptq\.json: cannot be written \(.+\); what was accepted stays as it was$"):
        write_golden(path, RESULTS.content(RESULT), "first")
    assert list(path.parent.iterdir()) == [path]


def test_the_command_that_accepts_quotes_what_the_shell_would_read():
    assert accept_command("a/b*") == "pytest bench --experiment 'a/b*' --update-golden --reason \"…\""
    assert (
        accept_command(ID, speed_only=True) == f'pytest bench --experiment {ID} -m latency --update-golden --reason "…"'
    )


def test_a_machine_class_never_holds_a_name_or_a_build_of_torch():
    environment = Environment(
        processor="Example 9000", architecture="aarch64", isa=("asimddp", "i8mm"), cores=2, system="Linux 6.1",
        python="3.11.7", versions={"torch": "2.14.1+cu130"},
    )  # fmt: skip
    machine = MachineClass.of(environment, "qnnpack", 2)
    assert str(machine) == "aarch64 asimddp i8mm, engine qnnpack, torch 2.14.1, 2 thread(s)"
    assert RESULT.speedup_on(MACHINE) == SPEEDUP
    assert RESULT.speedup_on(machine) is None


def test_answers_that_are_not_one_for_each_sample_are_refused(damaged):
    assert damaged(answers="AAAA").startswith("answers: 3 bytes are not ")
    assert damaged(answers="no base64").startswith("answers: ")


def test_a_result_of_before_answers_were_kept_is_read(damaged, tmp_path):
    before = RESULT.model_copy(update={"schema_version": 1})
    write_result(tmp_path, before)
    assert RESULTS.read(tmp_path, RESULT.experiment) == before
    assert "answers" not in RESULTS.content(before)


def test_runtimes_that_compute_are_part_of_the_class_of_a_machine_and_torch_only_where_it_does():
    environment = Environment(
        processor="Example 9000", architecture="aarch64", isa=("asimddp",), cores=2, system="Linux 6.1",
        python="3.11.7", versions={"torch": "2.14.1+cpu", "onnxruntime": "1.32.0"},
    )  # fmt: skip
    machine = MachineClass.of(environment, "none", 1, {"onnxruntime"})
    assert (machine.torch, machine.runtimes) == ("none", ("onnxruntime 1.32.0",))
    assert str(machine).endswith("engine none, onnxruntime 1.32.0, 1 thread(s)")
    both = MachineClass.of(environment, "none", 1, {"onnxruntime", "torch"})
    assert (both.torch, both != machine) == ("2.14.1", True)
    assert "runtimes" not in MachineClass.of(environment, "x86", 1).model_dump(), "as it was accepted before"
