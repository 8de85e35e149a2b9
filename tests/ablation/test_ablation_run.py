"""Rows are trained in processes of their own, kept by what decides them, and go on where a killed run stopped."""

import json
import os
from pathlib import Path

import pytest
import torch

from quantbench.ablation import run as module
from quantbench.ablation.run import ROW, row_entry
from quantbench.backends.module import ModulePredictor
from quantbench.config.selection import find_workload
from quantbench.experiment.workload import OpenWorkload
from quantbench.files import cache_dir
from quantbench.jobs.worker import Ended
from quantbench.measure.evaluation import evaluate
from quantbench.progress import Progress
from quantbench.records.ablation import read_trained
from quantbench.temporary import temporary_name
from quantbench.training.state import state_path

pytestmark = pytest.mark.usefixtures("kept_processes")
# No system counts so far.
NO_PROCESS = 999_999_999


def test_every_row_is_trained_and_evaluated_as_the_workload_itself_would_be(run, done):
    row = loaded(run).trained["reference"]
    assert (row.n_train, row.n_validation, row.n_test, len(row.history)) == (140, 40, 150, 2)
    done.project.edit("epochs: 3", "epochs: 2")
    opened = OpenWorkload(find_workload("tiny", Path("configs")), done.project.golden)
    threads = torch.get_num_threads()
    torch.set_num_threads(row.threads)
    card = opened.train_baseline()
    assert evaluate(ModulePredictor(opened.load_baseline()), opened.splits.test).correct.tolist() == row.bits.tolist()
    torch.set_num_threads(threads)
    assert [{**epoch, "seconds": 0} for epoch in card.history] == [{**epoch, "seconds": 0} for epoch in row.history]


def loaded(run):
    """A run whose rows are all kept."""
    found = run()
    found.train()
    return found


def test_finished_rows_leave_a_result_each_and_no_unfinished_training(run, done, trained_cache):
    assert list((trained_cache / "training").iterdir()) == []
    assert {path.stem for path in (trained_cache / "ablations").iterdir()} == set(run().keys.values())


def test_a_second_run_trains_nothing(run, done, monkeypatch):
    monkeypatch.setattr(module, "run_each", lambda *_: pytest.fail("trained again"))
    assert set(loaded(run).trained) == {"reference", "small_rate", "no_schedule"}


def test_what_a_kill_left_of_the_training_of_a_finished_row_is_removed(run, done):
    path = state_path(f"ablation-{run().keys['reference']}")
    path.parent.mkdir(exist_ok=True)
    half = path.with_name(temporary_name(path.name).replace(f"-{os.getpid()}-", f"-{NO_PROCESS}-"))
    path.touch()
    half.touch()
    loaded(run)
    assert list(path.parent.iterdir()) == []


def test_a_change_of_one_row_trains_that_row_alone(run, done):
    first = loaded(run)
    done.edit("lr: 0.001", "lr: 0.002")
    second = run()
    assert [name for name in first.keys if first.keys[name] != second.keys[name]] == ["small_rate"]
    second.train()
    assert second.trained["reference"] == first.trained["reference"]
    assert second.trained["small_rate"].training["lr"] == 0.002
    done.edit("lr: 0.002", "lr: 0.001")
    assert loaded(run).trained == first.trained, "the former result is there again when the change is undone"


CHANGES = {
    "data": lambda three: three.project.edit("calibration_pool: 60", "calibration_pool: 61"),
    "normalization": lambda three: three.project.edit("size: 8", "size: 8, mean: [0.4, 0.4, 0.4]"),
    "model": lambda three: three.project.edit('tiny_cnn"}', 'tiny_cnn", channels: 4}'),
    "shared settings": lambda three: three.edit("{epochs: 2}", "{epochs: 3}"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_key_of_a_row_follows_all_that_decides_it(run, three, change):
    before = run().keys
    change(three)
    after = run().keys
    assert all(before[name] != after[name] for name in before)


def test_the_key_follows_the_source_of_the_training_loop_and_of_the_model(run, three, monkeypatch):
    before, hashed = run().keys, []
    own = module.sha256_of_file
    monkeypatch.setattr(module, "sha256_of_file", lambda path: hashed.append(path.name) or own(path))
    assert run().keys == before
    assert {"loop.py", "evaluation.py", "augmentation.py", "schedule.py", "tiny_model.py"} <= set(hashed)
    monkeypatch.setattr(module, "sha256_of_file", lambda path: "0" if path.name == "tiny_model.py" else own(path))
    assert all(before[name] != key for name, key in run().keys.items())


def test_the_key_ignores_names_and_published_figures(run, three):
    before = run().keys
    three.edit("small_rate:", "another_name:")
    three.edit("88.4", "77.7")
    assert list(run().keys.values()) == list(before.values())


def test_amp_is_another_training(run, three):
    assert not set(run().keys.values()) & set(run(amp=True).keys.values())


class InterruptedAt(Progress):
    """Ctrl-C, when so many steps of all rows are done."""

    def __init__(self, step):
        super().__init__("test")
        self.step = step

    def update(self, done, *_):
        if done >= self.step:
            raise KeyboardInterrupt


def test_an_interrupted_run_keeps_its_finished_rows_and_ends_with_the_same_bits(run, two, trained_cache):
    stopped = run()
    # Ten steps a row: in the second one.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "progress", lambda _: _Entered(InterruptedAt(11)))
        with pytest.raises(KeyboardInterrupt):
            stopped.train(jobs="1")
    # The row that was running may have ended before it was told to.
    done = len(list((cache_dir() / "ablations").glob("*/meta.json")))
    assert done >= 1
    assert stopped.interrupted() == (
        f"configs/ablations/three.yaml: interrupted: {done} of 2 rows are done and kept; the same command trains the "
        "others on from their last whole epoch"
    )
    resumed = run()
    resumed.train(jobs="1")
    for name, row in resumed.trained.items():
        whole = read_trained(trained_cache / "ablations" / row.key / ROW, row.key)
        assert (name, row.bits.tolist()) == (name, whole.bits.tolist())


class _Entered:
    def __init__(self, show):
        self.show = show

    def __enter__(self):
        return self.show

    def __exit__(self, *_):
        return False


KILLER = """\
import os, signal
from pathlib import Path
from tiny_model import TinyCNN

class Killer(TinyCNN):
    def forward(self, x):
        # In the second epoch of training, as often as the file says.
        left = Path(__file__).with_name("left")
        if self.training and (cache := Path(os.environ["QUANTBENCH_CACHE"]) / "training").is_dir():
            if list(cache.glob("*.pt")) and (n := int(left.read_text())):
                left.write_text(str(n - 1))
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)

def killer(n_classes=3):
    return Killer(n_classes, 8)
"""


def test_a_killed_row_stops_no_other_and_goes_on_from_its_last_epoch(run, two):
    (two.project.root / "killer.py").write_text(KILLER)
    (two.project.root / "left").write_text("2")
    two.project.edit("tiny_model:tiny_cnn", "killer:killer")
    first = run()
    first.train(jobs="1")
    assert list(first.failed.values()) == [
        "its process was killed by SIGKILL and left no result, when it ran once more alone too; where memory ran out, "
        "it needs more than there is"
    ]
    assert len(first.trained) == 1
    (name,) = first.failed
    (unfinished,) = (cache_dir() / "training").iterdir()
    assert unfinished.name == f"ablation-{first.keys[name]}.pt"
    state = torch.load(unfinished, weights_only=True)
    assert len(state["history"]) == 1
    second = run()
    second.train(jobs="1")
    assert second.failed == {}
    # The first epoch was not trained again: it is the very one that was saved, its seconds too.
    assert second.trained[name].history[0]["seconds"] == pytest.approx(state["history"][0]["seconds"], abs=1e-3)
    assert not unfinished.exists()


def test_a_row_that_diverges_stops_no_other_and_is_told(run, done, forget):
    done.edit("lr: 0.001", "lr: 1.0e+30")
    forget("no_schedule")
    found = loaded(run)
    assert set(found.trained) == {"reference", "no_schedule"}
    assert found.failed["small_rate"].startswith("the loss is nan at epoch 1, step ")
    record = found.record("quantbench ablate three")
    assert record.rows[1].failed == found.failed["small_rate"]


def test_a_damaged_result_is_said_aloud_and_trained_again(run, done, capsys):
    first = loaded(run)
    path = row_entry(first.keys["reference"]).folder / ROW
    path.write_text(path.read_text()[:100])
    second = loaded(run)
    assert capsys.readouterr().err == f"{path.parent}: {ROW} is cut short or changed; training it again\n"
    assert second.trained["reference"].bits.tolist() == first.trained["reference"].bits.tolist()
    assert json.loads(path.read_text())["key"] == first.keys["reference"]


@pytest.mark.parametrize(("jobs", "threads"), [(None, 1), ("2", 1), ("dask:tcp://a:1", 3)])
def test_threads_of_a_row_do_not_depend_on_how_many_run_at_once(run, three, monkeypatch, jobs, threads):
    given = []

    def recorded(work, rows, sizes, show, where, threads):
        given.append((where, {job.threads for job in rows.values()}, threads, sizes))
        return {}

    monkeypatch.setattr(module, "run_each", recorded)
    run(threads=threads).train(jobs)
    assert given == [(jobs, {threads}, threads, dict.fromkeys(("reference", "small_rate", "no_schedule"), 10))]


def test_a_row_that_was_kept_with_other_threads_is_trained_again(run, done, monkeypatch):
    monkeypatch.setattr(module, "run_each", lambda _, rows, *__: given.extend(rows) or {})
    given = []
    run().train()
    assert given == []
    run(threads=2).train()
    assert given == ["reference", "small_rate", "no_schedule"]


def test_a_row_of_a_machine_that_does_not_share_the_cache_is_kept_here_too(run, done, monkeypatch, forget):
    row = loaded(run).trained["reference"]
    forget("reference")
    monkeypatch.setattr(module, "run_each", lambda *_: {"reference": Ended(row)})
    found = run()
    found.train()
    assert found.trained["reference"] == row
    assert read_trained(row_entry(row.key).folder / ROW, row.key) == row
