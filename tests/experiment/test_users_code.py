"""A checkpoint that other code of the user's made is never judged, whichever module was edited."""

import json
import os
import sys

import numpy as np
import pytest

from quantbench.ablation.run import row_entry
from quantbench.cache import META
from quantbench.cli.app import app
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import TrainingError
from quantbench.experiment.artifact import build_from_files, content_of
from quantbench.experiment.repetition import Repetition, differences, staleness
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.quantities.judging import explain, judge
from quantbench.search.journal import FileJournal

STATIC = "ptq_static_int8_per_channel"
MODULES = {
    "own_factory": "from own_parts import make\n\n\ndef own_cnn(table: str = ''):\n    return make()\n",
    "own_parts": (
        "from pathlib import Path\nimport numpy as np\nfrom tiny_model import TinyCNN\n\n\nclass Net(TinyCNN):\n"
        "    def forward(self, x):\n        from own_forward import FACTOR\n"
        "        table = Path('table.npy')\n"
        "        return super().forward(x * FACTOR * (float(np.load(table)) if table.exists() else 1.0))\n\n\n"
        "def make():\n    return Net(3, 8)\n"
    ),
    "own_forward": "FACTOR = 1.0\n",
    "own_recipe": (
        "from quantbench.recipes.static_int8 import static_int8_per_channel\n\n\n"
        "def mine(calibration_n: int = 32):\n    return static_int8_per_channel(calibration_n)\n"
    ),
    "own_backend": ("from quantbench.backends.torch_ao.factory import eager\n\n\ndef mine():\n    return eager()\n"),
    "own_task": "from quantbench.tasks.top1 import Top1\n\n\nclass Mine(Top1):\n    pass\n",
    "own_data": (
        "from quantbench.data.image_folder import image_folder\n\n\n"
        "def mine():\n    return image_folder(root='images', size=8)\n"
    ),
}


LONG_AGO = 1_700_000_000 * 10**9


class OwnCode:
    """A project whose model, recipe, backend, task and data are the user's own."""

    def __init__(self, project):
        self.project = project
        for name, text in MODULES.items():
            path = project.root / f"{name}.py"
            path.write_text(text)
            # Long ago, so that no edit is later than the run that follows it, however quick the machine is.
            os.utime(path, ns=(LONG_AGO, LONG_AGO))
        project.edit('"tiny_model:tiny_cnn"', '"own_factory:own_cnn"')
        project.edit("name: image_folder, root: images, size: 8", 'name: "own_data:mine"')
        project.edit("baseline: tiny", 'baseline: tiny\n  task: {name: "own_task:Mine"}')
        project.edit(
            "recipe: {name: static_int8_per_channel, calibration_n: 32}",
            'recipe: {name: "own_recipe:mine"}\n    backend: {name: "own_backend:mine"}',
        )

    def run(self):
        """In a session of its own, and with nothing of it loaded, as a new process would have it."""
        self.forget()
        return Runs(Settings(self.project.golden)).run(
            select(load_experiments(self.project.configs), f"tiny/{STATIC}")[0]
        )

    def forget(self):
        """Nothing of it is loaded."""
        for name in MODULES:
            sys.modules.pop(name, None)

    def edit(self, name, old="", new="# another version\n"):
        """Edits a module."""
        path = self.project.root / f"{name}.py"
        time = path.stat().st_mtime_ns
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new) if old else text + new)
        # A later time, or Python would run what it compiled before.
        os.utime(path, ns=(time + 10**9, time + 10**9))


@pytest.fixture
def own(project, monkeypatch):
    monkeypatch.syspath_prepend(project.root)
    monkeypatch.chdir(project.root)
    code = OwnCode(project)
    yield code
    code.forget()


def test_an_edit_of_any_module_of_the_users_makes_the_checkpoint_again(own, capsys):
    assert own.run().candidate.kept is None
    assert own.run().candidate.kept is not None
    for name in MODULES:
        capsys.readouterr()
        own.edit(name)
        assert own.run().candidate.kept is None, name
        assert own.run().candidate.kept is not None, name
    own.edit("own_forward", "FACTOR = 1.0", "FACTOR = 2.0")
    scales = own.run()
    assert scales.candidate.kept is None
    assert "was made by other code (own_forward.py); quantizing again" in capsys.readouterr().err
    with np.load(scales.artifact.path.with_name("probe.npz")) as probe:
        assert probe["output"].tobytes() == scales.candidate.probe["output"].tobytes()


def test_the_reference_of_other_code_is_written_again(own, capsys):
    own.run().baseline.artifact  # noqa: B018 — made for what it keeps
    own.edit("own_parts")
    own.run().baseline.artifact  # noqa: B018 — made again
    assert "was made by other code (own_parts.py); writing it again" in capsys.readouterr().err


def test_a_file_that_a_parameter_names_is_part_of_the_key(own):
    own.project.edit('"own_factory:own_cnn"', '"own_factory:own_cnn", table: weights.txt')
    (own.project.config.parent / "weights.txt").write_text("1")
    run = own.run()
    before = content_of(run.opened, run.experiment, run.backend)
    (own.project.config.parent / "weights.txt").write_text("2")
    run = own.run()
    assert content_of(run.opened, run.experiment, run.backend)["files"] != before["files"]


def again(run):
    return lambda folder: build_from_files(run.opened, run.experiment, run.backend, folder)


def repeated(run, folder):
    """What a fresh process finds, made in this one."""
    folder.mkdir()
    built = again(run)(folder)
    return Repetition(built.artifact.sha256, run.backend.describe(built.artifact).digests, built.probe, built.code)


def test_a_checkpoint_from_a_file_that_the_model_reads_by_itself_is_told_and_withdrawn(own, tmp_path, capsys):
    own.run().candidate  # noqa: B018 — made for what it keeps
    np.save(own.project.root / "table.npy", 3.0)
    run = own.run()
    assert run.candidate.kept is not None, "no key can know of it"
    fresh = repeated(run, tmp_path / "fresh")
    assert differences(run.candidate, fresh)
    found = staleness(run.candidate, fresh, again(run))
    assert found == "the cached checkpoint was made by other code, or from a file that the model reads by itself"
    assert run.artifact.path.exists(), "this session has it open"
    anew = own.run()
    assert anew.candidate.kept is None
    assert "was made by other code; quantizing again" in capsys.readouterr().err
    assert differences(anew.candidate, fresh) == []
    assert staleness(anew.candidate, fresh, again(anew)) == ""


@pytest.mark.usefixtures("real_processes")
def test_a_module_that_was_edited_during_the_run_is_named_by_the_verdict(own):
    run = own.run()
    assert run.candidate
    own.edit("own_forward", "FACTOR = 1.0", "FACTOR = 3.0")
    verdict = judge(run, "determinism")
    assert verdict.outcome == "FAIL"
    assert verdict.measured.startswith(
        "the cached checkpoint was made by other code: own_forward.py changed since; the checkpoint differs in "
    )
    assert "not needed: run again, and the code of now quantizes anew" in explain(run.experiment, verdict)
    assert own.run().candidate.kept is None, "the old code's checkpoint is not kept for the new code"


def test_quantize_writes_no_cached_weights(own, tmp_path):
    def written(name):
        assert (
            app(["quantize", "tiny", "--config", STATIC, "--out", str(tmp_path / name)], standalone_mode=False) is None
        )
        return (tmp_path / name).read_bytes()

    kept = own.run().artifact.path.read_bytes()
    own.forget()
    assert written("same.pt") == kept
    np.save(own.project.root / "table.npy", 3.0)
    own.forget()
    assert written("other.pt") != kept


def test_a_finished_row_of_an_ablation_by_other_code_is_not_kept(own):
    own.run().opened.build_model()
    entry = row_entry("0" * 32)
    with entry.locked():
        entry.write(lambda _: {})
        assert entry.read() is not None
        own.edit("own_parts")
        own.run().opened.build_model()
        assert entry.read() is None


def test_what_changes_by_itself_is_not_called_stale(own, tmp_path):
    first = own.run().candidate
    run = own.run()
    assert run.candidate.kept is not None
    fresh = repeated(run, tmp_path / "fresh")
    moved = {name: array + 1 for name, array in fresh.probe.items()}
    other = Repetition(fresh.sha256, fresh.digests, moved)
    assert staleness(run.candidate, other, again(run)) == ""
    assert staleness(first, other, again(run)) == "", "made now, it is not stale"


def test_an_entry_that_notes_no_code_is_made_again(own):
    path = own.run().artifact.path.with_name(META)
    meta = json.loads(path.read_text())
    assert {"own_factory", "own_parts", "own_forward", "own_recipe", "own_backend", "own_data"} <= meta.pop(
        "code"
    ).keys()
    path.write_text(json.dumps(meta))
    assert own.run().candidate.kept is None


def test_the_steps_of_a_search_by_other_code_are_dropped(own, tmp_path, capsys):
    assert own.run().candidate
    journal = FileJournal(tmp_path / "a.jsonl")
    for step in range(2):
        journal.append({"step": step})
    assert FileJournal(tmp_path / "a.jsonl").entries() == [{"step": 0}, {"step": 1}]
    own.edit("own_parts")
    assert own.run().candidate
    assert FileJournal(tmp_path / "a.jsonl").entries() == []
    assert "was begun by other code (own_parts.py); beginning again" in capsys.readouterr().err


def test_a_training_of_other_code_is_not_continued(own, monkeypatch):
    from quantbench.training import loop

    def stopped(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    save = loop.save
    monkeypatch.setattr(loop, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        own.run().opened.train_baseline()
    monkeypatch.setattr(loop, "save", save)
    own.edit("own_parts")
    with pytest.raises(
        TrainingError, match=r"1 epoch\(s\) done\) that was begun by other code: own_parts\.py; restore"
    ):
        own.run().opened.train_baseline()


def test_samples_that_another_helper_of_an_own_data_set_decodes_are_decoded_anew(own, capsys):
    (own.project.root / "own_pixels.py").write_text("SHIFT = 0\n")
    own.edit(
        "own_data",
        "def mine():\n    return image_folder(root='images', size=8)\n",
        "from quantbench.data.image_folder import ImageFolderSource\n\n\nclass Mine(ImageFolderSource):\n"
        "    def decode_files(self, files, progress):\n        from own_pixels import SHIFT\n"
        "        return (super().decode_files(files, progress) + SHIFT).astype('uint8')\n\n\n"
        "def mine():\n    made = image_folder(root='images', size=8)\n    made.__class__ = Mine\n    return made\n",
    )
    first = own.run().opened.splits.test.sha256
    capsys.readouterr()
    assert own.run().opened.splits.test.sha256 == first
    assert "again" not in capsys.readouterr().err
    own.edit("own_pixels", "SHIFT = 0", "SHIFT = 1")
    sys.modules.pop("own_pixels")
    assert own.run().opened.splits.test.sha256 != first
    assert "was made by other code (own_pixels.py); making it again" in capsys.readouterr().err


def test_a_checkpoint_of_otherwise_normalized_samples_is_not_kept(own, monkeypatch):
    from quantbench.experiment import workload

    monkeypatch.setattr(workload, "check_data", lambda *_: None)
    assert own.run().candidate.kept is None
    own.edit("own_data", "size=8)", "size=8, mean=(0.1, 0.1, 0.1))")
    again = own.run()
    assert again.candidate.kept is None
    assert own.run().baseline.artifact.path.parent == again.baseline.artifact.path.parent
