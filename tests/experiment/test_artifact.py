"""The quantized checkpoint of an experiment: kept by content, made again when damaged, refused if it would be wrong."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import quantbench
from quantbench.arrays import OUTPUT
from quantbench.backends.checkpoint import read_checkpoint
from quantbench.config.reading import load_experiments
from quantbench.config.selection import find_workload, select, with_recipe
from quantbench.errors import BaselineError, EvaluationError, QuantizationError
from quantbench.experiment import artifact as quantized
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.files import cache_dir
from quantbench.golden import baselines
from quantbench.records.card import BaselineCard

STATIC = "ptq_static_int8_per_channel"


def run_of(project, name=STATIC, **settings):
    """The experiment's run in a session of its own, as a new process would have it."""
    return Runs(Settings(project.golden, **settings)).run(select(load_experiments(project.configs), f"tiny/{name}")[0])


def change_card(project, **update):
    card = BaselineCard.model_validate_json(project.weights.with_suffix(".json").read_text())
    baselines.save_card(project.weights, card.model_copy(update=update))


def change_weights(project, key, value):
    """Sets the first number of a tensor of the baseline, whose card then fits the file."""
    state = load_file(project.weights)
    state[key].view(-1)[0] = value
    change_card(project, weights_sha256=baselines.save_weights(project.weights, state))


def identity(path):
    """What changes when a file is written again, even with the same bytes."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def checkpoints():
    return sorted((cache_dir() / "quantized").rglob("checkpoint.pt"))


def test_a_second_session_takes_the_checkpoint_of_the_first(project, capsys):
    first = run_of(project).candidate
    before = identity(first.artifact.path)
    second = run_of(project).candidate
    assert identity(second.artifact.path) == before
    assert second.artifact == first.artifact
    assert second.artifact.observers
    assert second.probe[OUTPUT].tobytes() == first.probe[OUTPUT].tobytes()
    assert "quantizing again" not in capsys.readouterr().err


def test_one_session_quantizes_once(project):
    run = run_of(project)
    assert run.candidate is run.candidate
    assert run.artifact.path == checkpoints()[0]
    assert len(checkpoints()) == 1


@pytest.mark.parametrize("file", ["checkpoint.pt", "probe.npz", "meta.json"])
def test_a_cached_file_cut_short_is_made_again_with_a_notice(project, capsys, file):
    whole = run_of(project).artifact.path.read_bytes()
    damaged = checkpoints()[0].parent / file
    damaged.write_bytes(damaged.read_bytes()[:40])
    again = run_of(project).artifact
    error = capsys.readouterr().err
    assert str(damaged.parent) in error
    assert "quantizing again" in error
    assert again.path.read_bytes() == whole
    run_of(project).candidate  # noqa: B018 — opened for what it prints
    assert "quantizing again" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"sha256": 3}',
        '{"sha256": {"absent.pt": "0"}}',
        '{"sha256": {}}',
        '{"sha256": {}, "files": ["checkpoint.pt"], "observers": {}}',
    ],
)
def test_a_cached_description_of_something_else_is_made_again(project, capsys, content):
    path = run_of(project).artifact.path
    (path.parent / "meta.json").write_text(content)
    assert run_of(project).artifact.path == path
    assert "unreadable meta.json" in capsys.readouterr().err


def test_a_run_killed_before_the_end_leaves_nothing_that_counts(project, capsys):
    path = run_of(project).artifact.path
    (path.parent / "meta.json").unlink()
    run_of(project).candidate  # noqa: B018 — opened for what it prints
    assert "unreadable meta.json" in capsys.readouterr().err


def test_two_sessions_at_once_end_with_one_whole_checkpoint(project):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        artifacts = list(pool.map(lambda _: run_of(project).artifact, range(2)))
    assert artifacts[0].path == artifacts[1].path
    assert read_checkpoint(artifacts[0].path)


def change_recipe(project):
    project.edit("calibration_n: 32", "calibration_n: 31")


def change_calibration_data(project):
    opened = run_of(project).opened
    position, test = int(opened.splits.calibration.indices[0]), opened.splits.test.sha256
    image = sorted((project.images / "train").rglob("*.png"))[position]
    project.replace_image(image, np.full((8, 8, 3), 255, np.uint8))
    accept_data(project)
    assert run_of(project).opened.splits.test.sha256 == test


def accept_data(project):
    splits = run_of(project).opened.splits
    change_card(
        project, data_sha256={split.name: split.sha256 for split in (splits.train, splits.calibration, splits.test)}
    )


def change_baseline(project):
    change_weights(project, "fc.bias", 1.0)


@pytest.mark.parametrize("change", [change_recipe, change_baseline, change_calibration_data], ids=lambda f: f.__name__)
def test_whatever_decides_the_checkpoint_decides_its_place(project, change):
    first = run_of(project).artifact.path
    change(project)
    second = run_of(project).artifact.path
    assert second != first
    assert first.is_file()


@pytest.mark.skipif("qnnpack" not in torch.backends.quantized.supported_engines, reason="torch has no qnnpack here")
def test_each_engine_has_a_checkpoint_of_its_own(project):
    before = torch.backends.quantized.engine
    try:
        assert run_of(project).artifact.path != run_of(project, engine="qnnpack").artifact.path
    finally:
        torch.backends.quantized.engine = before


def test_an_edit_of_a_user_s_own_model_never_meets_a_stale_checkpoint(project, monkeypatch):
    source = project.root / "my_model.py"
    monkeypatch.syspath_prepend(project.root)
    source.write_text("from tiny_model import TinyCNN\n\n\ndef my_cnn():\n    return TinyCNN(3, 8)\n")
    project.edit('"tiny_model:tiny_cnn"', '"my_model:my_cnn"')
    first = run_of(project).artifact.path
    source.write_text(source.read_text() + "\n# another version\n")
    # As a new process would have it.
    monkeypatch.delitem(sys.modules, "my_model")
    assert run_of(project).artifact.path != first


def test_a_calibration_beyond_the_pool_names_key_and_pool(project):
    project.edit("calibration_n: 32", "calibration_n: 61")
    message = (
        rf"tiny\.yaml: experiments\.{STATIC}\.recipe\.calibration_n: 61 samples asked for, but the calibration pool "
        r"has 60; lower it, or raise workload\.data\.calibration_pool"
    )
    with pytest.raises(QuantizationError, match=message):
        run_of(project).candidate  # noqa: B018 — raises
    assert checkpoints() == []


@pytest.mark.parametrize("name", ["fp32_baseline", "ptq_dynamic_int8", STATIC])
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_a_baseline_that_holds_nan_or_infinity_is_refused_by_every_recipe(project, name, value):
    change_weights(project, "conv.weight", value)
    message = r"tiny\.safetensors: 'conv\.weight' holds NaN or infinity; .*: quantbench train .*tiny"
    with pytest.raises(BaselineError, match=message):
        run_of(project, name).candidate  # noqa: B018 — raises
    assert checkpoints() == []


@pytest.mark.parametrize("name", ["fp32_baseline", "ptq_dynamic_int8", STATIC])
def test_a_baseline_that_overflows_is_refused_by_every_recipe(project, name):
    change_weights(project, "bn.weight", 3e38)
    with pytest.raises(EvaluationError, match=r"tiny\.safetensors: the baseline gives NaN or infinity for"):
        run_of(project, name).candidate  # noqa: B018 — raises
    assert checkpoints() == []


def test_a_calibration_beyond_the_pool_asked_for_at_the_shell_names_the_option(project):
    experiment = with_recipe(find_workload("tiny", project.configs), "static_int8_per_tensor", {"calibration_n": 61})
    with pytest.raises(QuantizationError, match=r"^--config static_int8_per_tensor: recipe\.calibration_n: 61 samples"):
        Runs(Settings(project.golden)).run(experiment).candidate  # noqa: B018 — raises


@pytest.mark.parametrize("edited", ["quantized.py", "backends/eager.py", "measure/checkpoint.py"])
def test_an_edit_of_our_own_code_changes_the_key(tmp_path, monkeypatch, edited):
    shutil.copytree(Path(quantbench.__file__).parent, tmp_path / "quantbench")
    monkeypatch.setattr(quantbench, "__file__", str(tmp_path / "quantbench" / "__init__.py"))
    before = quantized.source_digest.__wrapped__()
    assert before == quantized.source_digest.__wrapped__()
    with (tmp_path / "quantbench" / edited).open("a") as file:
        file.write("# edited\n")
    assert quantized.source_digest.__wrapped__() != before
