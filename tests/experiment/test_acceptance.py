"""A run becomes what is accepted: old → new is told, the history grows by one, other machines keep their speed-ups."""

import datetime
import json

import pytest
from accepting import accept, read_result, result_path
from flipped import flip, rewrite
from made_timings import timings

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import GoldenError
from quantbench.experiment.result import inputs_of, timing_machine
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs

NAME = "ptq_static_int8_per_channel"
ID = f"tiny/{NAME}"
DAY = datetime.date(2026, 3, 4)


@pytest.fixture
def run(project):
    """A run of the experiment in a session of its own, timed as if it were faster by that factor."""

    def make(speedup=None):
        run = Runs(Settings(project.golden)).run(select(load_experiments(project.configs), ID)[0])
        if speedup is not None:
            run.add_timings(timings(speedup))
        return run

    return make


def accept_all(run, reason="first", today=DAY):
    return accept(run, reason, predictions=True, speed=True, today=today)


def speedups_of(project):
    return {each.machine.architecture: each for each in read_result(project.golden, ID).speedups}


def on_another_machine(project, **changed):
    """Adds the speed-up of a machine of another class to the accepted result, by hand."""
    own = next(s for a, s in speedups_of(project).items() if a != "sparc64").model_dump(mode="json")
    other = {**own, "machine": {**own["machine"], "architecture": "sparc64"}, **changed}
    rewrite(project.golden, ID, speedups=[other, own])
    return speedups_of(project)["sparc64"]


def test_what_is_accepted_is_what_the_run_found(project, run):
    this = run(2.0)
    accept_all(this)
    found = read_result(project.golden, ID)
    assert found.bits.tolist() == this.evaluation.correct.tolist()
    assert found.n == 150
    assert found.metrics["accuracy"] == pytest.approx(this.accuracy.quantized, abs=1e-6)
    assert found.metrics["size_ratio"] == pytest.approx(this.size.ratio, abs=1e-6)
    assert found.inputs == inputs_of(this)
    assert found.inputs.test == this.opened.splits.test.sha256
    assert found.speedup_on(timing_machine(this)).speedup == pytest.approx(2.0)
    text = result_path(project.golden, ID).read_text()
    assert json.loads(text)["machine"].keys() == {"architecture", "isa", "engine", "torch", "threads"}


def test_the_first_acceptance_tells_every_figure_and_begins_the_history(project, run):
    told = accept_all(run(2.0)).splitlines()
    assert told[0] == f"{project.golden}/results/{ID}.json: accepted for the first time:"
    assert any(line.startswith("    accuracy: – → 0.8") for line in told)
    assert told[-1].startswith("    speed-up on ")
    assert told[-1].partition(": ")[2].startswith("– → 2.000× [")
    (entry,) = read_result(project.golden, ID).history
    assert (entry.date, entry.reason) == ("2026-03-04", "first")
    assert entry.changed == [line.strip() for line in told[1:]]


def test_an_update_tells_old_and_new_of_what_changed_only(project, run):
    accept_all(run(2.0))
    flip(project.golden, ID, lost=3, gained=1)
    rewrite(project.golden, ID, versions={"torch": "1.0"}, machine={"threads": 7})
    old = read_result(project.golden, ID).metrics["accuracy"]
    told = accept(run(), "flipped", predictions=True, speed=False).splitlines()
    assert told[0] == f"{project.golden}/results/{ID}.json: updated, old → new:"
    assert told[1] == f"    accuracy: {old:g} → {run().accuracy.quantized:g}"
    assert told[2] == "    predictions: 4 of 150 flipped"
    assert told[3].startswith("    machine: ")
    assert ", 7 thread(s) → " in told[3]
    assert told[4].startswith("    torch: 1.0 → ")
    assert len(told) == 5


def test_a_changed_input_is_told_by_its_name(project, run):
    accept_all(run(2.0))
    project.edit("calibration_n: 32", "calibration_n: 16")
    assert "    input config: changed" in accept(run(), "fewer", predictions=True, speed=False).splitlines()


def test_other_test_samples_are_told_by_their_number(project, run):
    accept_all(run(2.0))
    rewrite(project.golden, ID, n=8, correct="/w==", answers=None, metrics={"accuracy": 1.0})
    assert "    test samples: 8 → 150, others" in accept_all(run(2.0)).splitlines()


def test_the_history_grows_by_one_an_update_and_keeps_what_was(project, run):
    for i in range(3):
        flip_or_not = accept_all(run(2.0 + i), f"reason {i}", DAY + datetime.timedelta(days=i))
        assert flip_or_not is not None
        history = read_result(project.golden, ID).history
        assert [(e.date, e.reason) for e in history] == [(f"2026-03-0{4 + j}", f"reason {j}") for j in range(i + 1)]
    assert len(history[-1].changed) == 1, "only the speed-up changed"


def test_an_update_that_changes_nothing_writes_nothing(project, run):
    accept_all(run(2.0))
    before = result_path(project.golden, ID).read_bytes()
    assert accept_all(run(2.0), "again") is None
    assert accept(run(), "again", predictions=True, speed=False) is None
    assert result_path(project.golden, ID).read_bytes() == before


def test_a_speedup_alone_leaves_predictions_machine_and_versions_as_they_were(project, run):
    accept_all(run(2.0))
    flip(project.golden, ID, lost=3)
    rewrite(project.golden, ID, versions={"torch": "1.0"})
    before = read_result(project.golden, ID)
    told = accept(run(3.0), "faster", predictions=False, speed=True).splitlines()
    after = read_result(project.golden, ID)
    assert [line.partition(": ")[0] for line in told[1:]] == [f"    speed-up on {timing_machine(run())}"]
    assert "2.000× [" in told[1]
    assert "→ 3.000× [" in told[1]
    unchanged = {"speedups": before.speedups, "history": before.history}
    assert after.model_copy(update=unchanged) == before
    assert [each.speedup for each in after.speedups] == [pytest.approx(3.0)]


def test_a_speedup_alone_needs_a_result_to_be_added_to(project, run):
    with pytest.raises(GoldenError, match=rf"^{ID}: no accepted result to add a speed-up to; accept it whole: pytest "):
        accept(run(2.0), "faster", predictions=False, speed=True)
    assert not (project.golden / "results").exists()


def test_the_speedup_of_another_machine_is_kept_while_its_inputs_are_the_same(project, run):
    accept_all(run(2.0))
    other = on_another_machine(project)
    accept_all(run(3.0))
    found = speedups_of(project)
    assert found.pop("sparc64") == other
    assert [each.speedup for each in found.values()] == [pytest.approx(3.0)]


def test_speedups_of_a_model_that_is_no_more_are_removed_and_told(project, run):
    accept_all(run(2.0))
    on_another_machine(project)
    project.edit("calibration_n: 32", "calibration_n: 16")
    told = accept(run(), "fewer", predictions=True, speed=False).splitlines()
    assert [line for line in told if "sparc64" in line] == [told[-2]]
    assert all(line.endswith("] → removed: its inputs changed") for line in told[-2:])
    assert read_result(project.golden, ID).speedups == []


def test_a_speedup_alone_keeps_the_others_of_the_accepted_model_though_the_model_changed(project, run):
    accept_all(run(2.0))
    other = on_another_machine(project)
    project.edit("calibration_n: 32", "calibration_n: 16")
    accept(run(3.0), "fewer", predictions=False, speed=True)
    assert speedups_of(project)["sparc64"] == other
    here = inputs_of(run())
    same_model = on_another_machine(project, inputs=here.model_dump(mode="json"))
    assert same_model.inputs == here != read_result(project.golden, ID).inputs
    accept(run(4.0), "fewer", predictions=False, speed=True)
    assert speedups_of(project)["sparc64"] == same_model, "nor those that other machines added of the new one"


def test_the_own_speedup_is_kept_when_only_predictions_are_accepted(project, run):
    accept_all(run(2.0))
    flip(project.golden, ID, lost=1)
    accept(run(9.0), "flipped", predictions=True, speed=False)
    assert [each.speedup for each in read_result(project.golden, ID).speedups] == [pytest.approx(2.0)]


def test_a_damaged_result_is_not_overwritten(project, run):
    accept_all(run(2.0))
    path = result_path(project.golden, ID)
    path.write_text(path.read_text()[:200])
    with pytest.raises(GoldenError, match=r"not valid JSON .* or remove it and accept again: "):
        accept_all(run(3.0))
    assert len(path.read_text()) == 200
    path.unlink()
    assert "accepted for the first time" in accept_all(run(3.0)), "as the message says"


def test_no_other_file_is_touched(project, run):
    accept_all(run(2.0))
    neighbour = result_path(project.golden, "tiny/ptq_dynamic_int8")
    neighbour.write_text("not even JSON")
    before = {path: path.read_bytes() for path in project.golden.rglob("*") if path.is_file()}
    accept_all(run(3.0))
    after = {path: path.read_bytes() for path in project.golden.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    assert [path for path in before if before[path] != after[path]] == [result_path(project.golden, ID)]
