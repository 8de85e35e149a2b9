"""One session over many experiments, without pytest: its order, and what one that fails costs the others."""

import sys

import pytest
from made_timings import timings

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import DataMissingError, ExtraMissingError, QuantizationError
from quantbench.experiment import run as runner
from quantbench.experiment.run import Run, Settings
from quantbench.experiment.runs import Runs
from quantbench.session.plan import Plan
from quantbench.session.result import Status, run_session
from quantbench.session.session import Options, Session

DYNAMIC, STATIC = "tiny/ptq_dynamic_int8", "tiny/ptq_static_int8_per_channel"


@pytest.fixture
def experiments(project):
    known = load_experiments(project.configs)
    return [select(known, id_)[0] for id_ in (DYNAMIC, STATIC)]


def test_timed_claims_come_last_and_the_others_stay_in_their_order(experiments):
    plan = Plan.of_experiments(experiments)
    is_timed = [claim.is_timed for claim in plan.claims]
    assert is_timed == sorted(is_timed)
    assert sum(is_timed) == 6, "over fp32 and over the fastest, and the comparison with what was accepted, of both"
    ids = [claim.experiment.id for claim in plan.claims if not claim.is_timed]
    assert ids == sorted(ids), "experiment by experiment"
    assert plan.timed == experiments
    assert plan.family.gates == 4, "two bounds on accuracy, two comparisons with accepted predictions"


def test_every_experiment_is_timed_before_the_first_verdict_on_speed(experiments, project, machine):
    machine.here = [timings(2.0), timings(3.0)]
    plan = Plan.of_experiments(experiments)
    session = Session(Runs(Settings(project.golden)), Options(), plan.timed)
    session.decide(session.open(experiments[1]), "speedup")
    found = {id_: round(run.latency.speedup, 3) for id_, run in session.runs.by_id.items()}
    assert found == {DYNAMIC: 2.0, STATIC: 3.0}, "in the order of the plan, whoever asks first"


def test_what_is_timed_is_loaded_once_to_see_that_it_can_be(experiments, project, monkeypatch):
    own, loaded = Run.forwards, []
    monkeypatch.setattr(Run, "forwards", lambda run: (loaded.append(run.experiment.id), own(run))[1])
    session = Session(Runs(Settings(project.golden)))
    for _ in range(2):
        session.load(session.open(experiments[0]))
    assert loaded == [DYNAMIC]


def test_what_cannot_be_loaded_to_be_timed_is_told_to_each_claim(experiments, project, monkeypatch):
    def broken(_):
        raise QuantizationError("no kernel")

    monkeypatch.setattr(Run, "forwards", broken)
    session = Session(Runs(Settings(project.golden)))
    for _ in range(2):
        with pytest.raises(QuantizationError, match=r"^no kernel$"):
            session.load(session.open(experiments[0]))


def test_what_cannot_be_quantized_is_tried_once_and_told_once(experiments, project, machine, monkeypatch):
    machine.here = [timings(2.0)]
    made, tried = runner.candidate, []

    def fails_for_one(opened, experiment, *args):
        if experiment.id == STATIC:
            tried.append(experiment.id)
            raise QuantizationError("no observer fits")
        return made(opened, experiment, *args)

    monkeypatch.setattr(runner, "candidate", fails_for_one)
    plan = Plan.of_experiments(experiments)
    result = run_session(Runs(Settings(project.golden)), plan, "quantbench run")
    assert tried == [STATIC]
    assert (result.status, result.broken) == (Status.BROKEN, [f"{STATIC}: no observer fits"])
    assert [record.experiment for record in result.records] == [DYNAMIC]
    assert result.records[0].latency is not None


ABSENT = "root: photographs, obtain: from the archive"
OPTIONAL = "  optional: true\n  baseline: tiny"
OFFERED = "data: {name: cifar10, calibration_pool: 60}"


def absent(project, options, data, optional):
    """A session that has met data that is not on this machine."""
    text = project.config.read_text().replace(
        "data: {name: image_folder, root: images, size: 8, calibration_pool: 60}", data
    )
    project.config.write_text(text.replace("  baseline: tiny", OPTIONAL) if optional else text)
    experiment = select(load_experiments(project.configs), STATIC)[0]
    session = Session(Runs(Settings(project.golden)), options)
    with pytest.raises(DataMissingError):
        session.open(experiment)
    assert [each.experiment for each in session.not_run_list()] == [STATIC]
    return session


OWN = f"data: {{name: image_folder, {ABSENT}, size: 8, calibration_pool: 60}}"


@pytest.mark.parametrize(
    ("data", "optional", "options", "ci", "is_error"),
    [
        (OWN, False, Options(), False, True),
        (OWN, True, Options(), False, False),
        (OWN, True, Options(strict=True), True, False),
        (OWN, True, Options(real_data=True), False, True),
        (OFFERED, False, Options(), False, False),
        (OFFERED, False, Options(), True, True),
        (OFFERED, False, Options(strict=True), False, True),
        (OFFERED, True, Options(strict=True), True, False),
    ],
)
def test_absent_data_is_an_error_unless_the_workload_is_optional_or_we_offer_it_outside_ci(
    project, monkeypatch, data, optional, options, ci, is_error
):
    if ci:
        monkeypatch.setenv("CI", "true")
    session = absent(project, options, data, optional)
    assert len(session.broken) == is_error
    counted = "1 experiment of 1 optional workload did not run, for lack of data or a library"
    assert (counted in session.sentences()) == (optional and not is_error)


def test_absent_data_that_fails_a_run_is_told_with_the_key_that_lets_it_pass(project):
    (line,) = absent(project, Options(), OWN, optional=False).broken
    assert line == (
        f"{STATIC}: {project.root}/data/photographs/train: no such folder. To get it: from the archive; or set "
        "workload.optional: true, and a run goes on without it"
    )


@pytest.mark.parametrize(
    ("optional", "options", "ci", "is_error"),
    [
        (False, Options(), False, False),
        (False, Options(), True, True),
        (False, Options(strict=True), False, True),
        (False, Options(real_data=True), False, True),
        (True, Options(strict=True), True, False),
    ],
)
def test_a_missing_library_leaves_an_experiment_out_but_not_in_ci(
    project, monkeypatch, optional, options, ci, is_error
):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    if ci:
        monkeypatch.setenv("CI", "true")
    gates = "    gates: {accuracy_drop_pp: 10.0, size_ratio"
    project.edit(gates, f"    backend: onnxruntime\n{gates}")
    if optional:
        project.edit("  baseline: tiny", OPTIONAL)
        project.edit("root: images", "root: images, obtain: from the archive")
    experiments = [select(load_experiments(project.configs), id_)[0] for id_ in (DYNAMIC, STATIC)]
    result = run_session(Runs(Settings(project.golden)), Plan.of_experiments(experiments), "a test", options)
    assert [record.experiment for record in result.records] == [DYNAMIC], "the others go on"
    (not_run,) = result.not_run
    assert not_run.experiment == STATIC
    assert "backend 'onnxruntime': needs onnxruntime, which cannot be imported" in not_run.reason
    assert "pip install 'quantbench-suite[onnxruntime]'" in not_run.reason
    assert (result.status is Status.BROKEN) == is_error == bool(result.broken)


def test_a_library_that_is_missing_is_told_before_anything_is_made(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(Run, "candidate", property(lambda _: pytest.fail("something was quantized")))
    gates = "    gates: {accuracy_drop_pp: 10.0, size_ratio"
    project.edit(gates, f"    backend: onnxruntime\n{gates}")
    experiment = select(load_experiments(project.configs), STATIC)[0]
    session = Session(Runs(Settings(project.golden, retrain=True)))
    with pytest.raises(ExtraMissingError, match=r"\[onnxruntime\]"):
        session.open(experiment)


def test_a_session_that_may_not_time_says_why(experiments, project):
    session = Session(Runs(Settings(project.golden)), Options(untimed="nothing was timed: asked not to", strict=True))
    decision = session.decide(session.open(experiments[1]), "speedup")
    assert decision.verdict.measured == "nothing was timed: asked not to"
    assert decision.is_inconclusive
    assert decision.fails, "since INCONCLUSIVE fails"


def test_an_error_that_names_its_experiment_is_told_with_the_name_once(experiments, project):
    session = Session(Runs(Settings(project.golden)))
    with pytest.raises(QuantizationError), session.noting(experiments[0], "quantizing"):
        raise QuantizationError(f"{DYNAMIC}: no scale of 'conv1'")
    assert list(session.broken) == [f"{DYNAMIC}: no scale of 'conv1'"]
    assert [(each.experiment, each.reason) for each in session.errors()] == [(DYNAMIC, "no scale of 'conv1'")]
