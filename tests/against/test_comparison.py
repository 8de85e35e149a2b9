"""Both revisions on this machine: what is compared, what is judged, and what is only named."""

import json
from dataclasses import replace

import pytest
from made_timings import timings
from versioned import git

from quantbench.against.comparison import against
from quantbench.config.reading import load_experiments
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.measure.load import Moment
from quantbench.records.against import ACCURACY, SPEED, Base
from quantbench.records.run import RunRecord

STATIC, DYNAMIC = "tiny/ptq_static_int8_per_channel", "tiny/ptq_dynamic_int8"
FEWER = ("calibration_n: 32", "calibration_n: 8")


def compared(project, *ids, untimed=""):
    """Runs of experiments compared with the last commit, by id, and the base."""
    configured = load_experiments(project.configs)
    chosen = [each for each in configured if each.id in ids]
    runs = Runs(Settings(project.golden))
    with against("HEAD", chosen, configured, project.configs, project.golden, None) as base:
        for each in chosen:
            base.compare(runs.run(each), untimed)
        base.withdraw(list(runs.by_id.values()))
        return runs.by_id, base.base


def compared_static(project, untimed=""):
    runs, _ = compared(project, STATIC, untimed=untimed)
    return runs[STATIC]


def test_another_recipe_is_compared_on_the_same_samples_and_named(repository, machine):
    repository.edit(*FEWER)
    machine.fresh = timings(1.0)
    run = compared_static(repository)
    since, verdict = run.since_base, run.verdicts[ACCURACY]
    assert since.changed == ["recipe.calibration_n: 32 → 8"]
    assert not since.is_same
    assert since.figures.n == 150
    assert since.figures.head == run.evaluation.accuracy
    assert 100 * (since.figures.base - since.figures.head) == pytest.approx(since.figures.drop)
    assert since.figures.drop == pytest.approx(100 * (since.figures.lost - since.figures.gained) / 150)
    assert verdict.requirement == "at most 0.5 pp below HEAD"
    assert "also changed: recipe.calibration_n: 32 → 8" in verdict.measured
    assert verdict.accept == f"merge it, or widen the margin: workload.regression in {repository.config}"
    assert since.size_ratio == pytest.approx(1.0, abs=0.01)


def test_a_loss_beyond_the_margin_of_accepted_results_is_a_regression(repository, machine, monkeypatch):
    import numpy as np

    from quantbench.measure.evaluation import Evaluation

    repository.edit(*FEWER)
    machine.fresh = timings(1.0)
    configured = load_experiments(repository.configs)
    (experiment,) = [each for each in configured if each.id == STATIC]
    run = Runs(Settings(repository.golden)).run(experiment)
    with against("HEAD", [experiment], configured, repository.configs, repository.golden, None) as base:
        right = np.ones(150)
        monkeypatch.setattr(type(run.opened), "evaluated", lambda *_: Evaluation(right, None))
        run.evaluation = Evaluation(np.arange(150.0) >= 15, None)
        base.compare(run)
    verdict = run.verdicts[ACCURACY]
    assert (verdict.outcome, verdict.change) == ("FAIL", "REGRESSED")
    assert verdict.estimate == pytest.approx(10.0)
    assert "15 lost, 0 gained" in verdict.measured


def test_the_same_model_is_not_measured_again(repository, machine):
    run = compared_static(repository)
    assert run.since_base.is_same
    assert run.since_base.untimed == "both models are the same"
    assert {name: str(each.change) for name, each in run.verdicts.items()} == {ACCURACY: "SAME", SPEED: "SAME"}
    assert machine.fresh_jobs == []


def test_the_same_model_on_data_that_changed_says_what_did(repository):
    repository.edit("calibration_pool: 60", "calibration_pool: 60, cache: false")
    runs, _ = compared(repository, "tiny/fp32_baseline")
    run = runs["tiny/fp32_baseline"]
    assert run.since_base.is_same
    told = run.verdicts[ACCURACY].measured
    assert "; both models are the same; also changed: data.cache" in told


@pytest.mark.parametrize(
    ("speed", "change", "jobs"),
    [(1.0, "SAME", 1), (1.3, "IMPROVED", 1), (0.7, "REGRESSED", 2), (0.9, "INCONCLUSIVE", 1)],
)
def test_speed_is_judged_by_the_margin_of_accepted_speed_ups(repository, machine, speed, change, jobs):
    repository.edit(*FEWER)
    machine.fresh = timings(speed)
    run = compared_static(repository)
    verdict = run.verdicts[SPEED]
    assert str(verdict.change) == change
    assert verdict.requirement == "at most 10 % of the speed of HEAD lost"
    assert run.since_base.speed.ratio == pytest.approx(speed, rel=0.01)
    assert len(machine.fresh_jobs) == jobs, "a FAIL is confirmed by a second process"
    job = machine.fresh_jobs[0]
    assert job.candidate == run.artifact
    assert job.reference.path != run.artifact.path
    assert len({each.seed for each in machine.fresh_jobs}) == jobs


def test_a_control_that_strays_leaves_no_verdict_on_speed(repository, machine):
    repository.edit(*FEWER)
    machine.fresh = timings(0.5, control=1.2)
    run = compared_static(repository)
    verdict = run.verdicts[SPEED]
    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.measured.startswith("no verdict: the machine is too noisy: a model against itself was 1.2")
    assert run.failed_controls


def test_a_control_that_strays_later_takes_the_verdict_back(repository, machine):
    repository.edit(*FEWER)
    machine.fresh = timings(1.0)
    configured = load_experiments(repository.configs)
    chosen = [each for each in configured if each.id == STATIC]
    run = Runs(Settings(repository.golden)).run(chosen[0])
    with against("HEAD", chosen, configured, repository.configs, repository.golden, None) as base:
        base.compare(run)
        assert run.verdicts[SPEED].outcome == "PASS"
        run.note_failed_control("1.100× [1.090, 1.110]")
        base.withdraw([run])
    assert run.verdicts[SPEED].outcome == "INCONCLUSIVE"


def test_where_nothing_may_be_timed_the_speed_is_undecided(repository, machine):
    repository.edit(*FEWER)
    run = compared_static(repository, untimed="parallel workers cannot time")
    assert run.verdicts[SPEED].outcome == "INCONCLUSIVE"
    assert run.verdicts[SPEED].measured == "parallel workers cannot time"
    assert run.since_base.untimed == "parallel workers cannot time"


def test_experiments_of_one_revision_alone_are_named(repository):
    repository.edit("  ptq_dynamic_int8:", "  ptq_renamed:")
    runs, base = compared(repository, "tiny/ptq_renamed")
    assert base.head_only == ["tiny/ptq_renamed"]
    assert base.base_only == [DYNAMIC]
    assert runs["tiny/ptq_renamed"].since_base is None
    assert runs["tiny/ptq_renamed"].verdicts == {}


def test_other_samples_and_weights_are_named_and_both_answer_this_runs(repository, machine):
    repository.edit(*FEWER)
    machine.fresh = timings(1.0)
    configured = load_experiments(repository.configs)
    chosen = [each for each in configured if each.id == STATIC]
    run = Runs(Settings(repository.golden)).run(chosen[0])
    with against("HEAD", chosen, configured, repository.configs, repository.golden, None) as base:
        made = base.whole.made[STATIC]
        inputs = made.inputs.model_copy(update={"test": "f" * 64, "weights": "e" * 64})
        facts = {**made.facts, "data": {**made.facts["data"], "size": 16}}
        base = replace(base, whole=replace(base.whole, made={STATIC: replace(made, inputs=inputs, facts=facts)}))
        base.compare(run)
    told = ["data.size: 16 → 8", "recipe.calibration_n: 32 → 8", "the weights", "the test samples"]
    assert run.since_base.changed == told
    assert run.since_base.figures.n == 150


def test_a_base_that_cannot_be_made_is_undecided_with_its_first_line(repository):
    repository.edit("calibration_n: 32", "calibration_n: 61")
    git(repository.root, "commit", "-qam", "broken")
    repository.edit("calibration_n: 61", "calibration_n: 32")
    run = compared_static(repository)
    problem = run.since_base.problem
    assert problem.startswith("HEAD gives nothing to compare with: HEAD:configs/tiny.yaml: experiments.ptq_static_int8")
    assert "61 samples asked for, but the calibration pool has 60" in problem
    assert {each.outcome for each in run.verdicts.values()} == {"INCONCLUSIVE"}
    assert set(run.verdicts) == {ACCURACY, SPEED}


def test_a_base_that_crashes_is_undecided(repository, monkeypatch):
    from quantbench.against import made
    from quantbench.errors import CheckpointError

    def dies(work, *args, died):
        if work is made.make:
            raise CheckpointError(died)
        return work(*args)

    monkeypatch.setattr(made, "in_fresh_process", dies)
    run = compared_static(repository)
    assert run.since_base.problem.endswith("the process that made it died in native code")


def test_a_base_without_workload_files_has_nothing(repository):
    git(repository.root, "rm", "-rq", "--cached", "configs")
    git(repository.root, "commit", "-qm", "none")
    _, base = compared(repository, STATIC)
    assert base.head_only == [STATIC]


@pytest.mark.usefixtures("real_processes")
def test_a_model_of_the_users_own_that_changed_answers_in_its_own_process(repository, machine):
    own = repository.root / "own_net.py"
    own.write_text("from tiny_model import tiny_cnn as net\n")
    repository.edit("tiny_model:tiny_cnn", "own_net:net")
    git(repository.root, "add", "-A")
    git(repository.root, "commit", "-qm", "own")
    own.write_text("from tiny_model import tiny_cnn\n\ndef net(n_classes: int):\n    return tiny_cnn(n_classes)\n")
    run = compared_static(repository)
    since = run.since_base
    assert since.problem == ""
    assert "the module own_net" in since.changed
    assert since.figures.n == 150
    assert run.verdicts[SPEED].outcome == "INCONCLUSIVE"
    assert since.untimed.startswith("the base needs its own modules (own_net), so that one process cannot load both")


def test_data_that_is_not_under_version_control_is_that_of_the_working_tree(repository, monkeypatch):
    monkeypatch.delenv("QUANTBENCH_DATA")
    repository.edit("root: images", "root: ../data/images")
    git(repository.root, "commit", "-qam", "beside")
    _, base = compared(repository, STATIC)
    assert base.notes[-1] == "data/images is not under version control at HEAD: both use the one here"


def test_a_run_shows_and_records_the_base(repository, machine, quantbench):
    repository.edit(*FEWER)
    machine.fresh = timings(0.7)
    machine.moments = [Moment(0.0, 0.0)]
    status, out, err = quantbench("run", STATIC, "--against", "HEAD", "--no-blame", "--json", "r.json")
    assert status == 1
    assert f"{STATIC}: {SPEED}: REGRESSED" in err
    assert "since the base" in out
    assert f"{STATIC}: changed: recipe.calibration_n: 32 → 8" in out
    content = json.loads((repository.root / "r.json").read_text())
    base = Base.model_validate(content["base"])
    assert base.commit == git(repository.root, "rev-parse", "HEAD").strip()
    (record,) = [RunRecord.model_validate(each) for each in content["records"]]
    assert record.since_base.speed.ratio == pytest.approx(0.7, rel=0.01)
    status, out, _ = quantbench("comment", "r.json")
    assert f"**Since `{base.name}`**" in out
    assert f"- `{STATIC}` REGRESSED: " in out
    status, _, err = quantbench("report", "r.json", "--html", "r.html", "--no-samples")
    assert status == 0, err
    page = (repository.root / "r.html").read_text()
    assert f"Since {base.name}" in page
    assert "recipe.calibration_n: 32 → 8" in page


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--against", "nowhere"), "--against nowhere: no such revision; name one that git rev-parse knows"),
        (("--against", "HEAD", "--sequential"), "--against compares all test samples; leave --sequential out"),
    ],
)
def test_what_cannot_be_compared_is_one_line(repository, quantbench, options, line):
    status, out, err = quantbench("run", STATIC, *options)
    assert (status, out, err) == (2, "", f"quantbench: {line}\n")


def test_workload_files_of_a_base_that_cannot_be_read_are_one_line(repository, quantbench):
    repository.edit("experiments:", "experimentss:")
    git(repository.root, "commit", "-qam", "broken")
    repository.edit("experimentss:", "experiments:")
    status, out, err = quantbench("run", STATIC, "--against", "HEAD")
    assert (status, out) == (2, "")
    assert err.startswith("quantbench: --against HEAD: its workload files cannot be read: HEAD:configs/tiny.yaml: ")
    assert err.count("\n") == 1
