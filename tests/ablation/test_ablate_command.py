"""`quantbench ablate`: the table on the terminal and in files, and a clear end whatever happens."""

import json

import pytest

from quantbench.ablation import run as module
from quantbench.progress import Progress
from quantbench.records.ablation import AblationRecord

# No test looks into a picture; those of tests/report do.
pytestmark = pytest.mark.usefixtures("unrendered", "kept_processes")

THREE = "configs/ablations/three.yaml"


def test_it_prints_the_table_and_writes_record_document_and_picture(quantbench, done):
    status, out, err = quantbench("ablate", "three", "--jobs", "2")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("row ")
    assert [line.split()[0] for line in lines[1:4]] == ["reference", "small_rate", "no_schedule"]
    assert "Kendall's tau-b = " in out
    assert lines[-4:] == [f"out/ablation_three.{suffix}" for suffix in ("json", "md", "png", "svg")]
    record = AblationRecord.model_validate_json((done.project.root / "out/ablation_three.json").read_text())
    assert record.command == "quantbench ablate three --jobs 2"
    assert [row.trained.n_test for row in record.rows] == [150] * 3
    assert f"{100 * record.rows[0].accuracy:.2f} [" in lines[1]


def test_run_again_it_prints_the_same_and_trains_nothing(quantbench, done, forget, monkeypatch):
    forget("small_rate")
    first = quantbench("ablate", THREE, "--out", "docs")
    monkeypatch.setattr(module, "run_each", lambda *_: pytest.fail("trained again"))
    assert quantbench("ablate", THREE, "--out", "docs") == first


def test_amp_is_told_below_the_table_and_in_every_row(quantbench, two):
    _, out, _ = quantbench("ablate", "three", "--amp", "--jobs", "2")
    assert "torch.autocast: forward and backward in bfloat16" in out
    record = AblationRecord.model_validate_json((two.project.root / "out/ablation_three.json").read_text())
    assert {row.trained.training["precision"] for row in record.rows} == {"bf16"}


def test_a_row_that_fails_leaves_the_table_of_the_others_and_exit_status_2(quantbench, done):
    done.edit("lr: 0.001", "lr: 1.0e+30")
    status, out, err = quantbench("ablate", "three")
    assert status == 2
    assert err.startswith(f"quantbench: {THREE}: rows.small_rate: the loss is nan at epoch 1, step ")
    assert len(err.splitlines()) == 1
    row = next(line for line in out.splitlines() if line.startswith("small_rate"))
    assert "failed" in row
    written = json.loads((done.project.root / "out/ablation_three.json").read_text())
    assert written["rows"][1]["failed"].startswith("the loss is nan")


def test_ctrl_c_ends_it_with_what_is_kept_and_how_to_go_on(quantbench, done, forget):
    forget("no_schedule")

    class Interrupted(Progress):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def update(self, *_):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "progress", Interrupted)
        status, out, err = quantbench("ablate", "three", "--jobs", "1")
    assert (status, out) == (130, "")
    assert err.startswith(f"quantbench: {THREE}: interrupted: ")
    assert err.endswith(
        " of 3 rows are done and kept; the same command trains the others on from their last whole epoch\n"
    )
    assert not (done.project.root / "out/ablation_three.json").exists()
    assert quantbench("ablate", "three")[0] == 0


def test_a_record_is_printed_and_drawn_again_and_nothing_is_trained(quantbench, done, forget, monkeypatch):
    _, out, _ = quantbench("ablate", "three")
    written = (done.project.root / "out/ablation_three.json").read_text()
    forget("reference")
    monkeypatch.setattr(module, "run_each", lambda *_: pytest.fail("trained again"))
    status, again, err = quantbench("ablate", "out/ablation_three.json", "--out", "docs")
    assert (status, err) == (0, "")
    assert again == out.replace("out/ablation_three", "docs/ablation_three")
    assert (done.project.root / "docs/ablation_three.json").read_text() == written


DAMAGES = {
    "cut short": (lambda text: text[:-20], "not valid JSON"),
    "of another version": (lambda text: text.replace('version": 1', 'version": 9', 1), "version 9 is not 1;"),
    "something else": (lambda _: '{"schema_version": 1}', "rows: Field required"),
    "fewer bits than samples": (
        lambda text: text.replace('"n_test": 150', '"n_test": 999', 1), "rows.reference: its samples or its history",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_record_is_refused_with_the_command_that_writes_one(quantbench, done, damage, message):
    quantbench("ablate", "three")
    path = done.project.root / "out/ablation_three.json"
    path.write_text(damage(path.read_text()))
    status, out, err = quantbench("ablate", "out/ablation_three.json", "--out", "docs")
    assert (status, out) == (2, "")
    assert message in err
    assert err.endswith("write it with: quantbench ablate <ablation file>\n")
    assert not (done.project.root / "docs").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("tree",), "configs/ablations: unknown ablation 'tree'. Did you mean 'three'? Known: three"),
        (("three", "--out", "configs/tiny.yaml"), "configs/tiny.yaml: File exists; name another place"),
        (("three", "--configs", "none"), "none/ablations: unknown ablation 'three'. Known: (none)"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(quantbench, three, monkeypatch, args, message):
    monkeypatch.setattr(module, "run_each", lambda *_: pytest.fail("trained"))
    status, out, err = quantbench("ablate", *args)
    assert (status, out, err) == (2, "", f"quantbench: {message}\n")


def test_no_jobs_at_all_are_refused(quantbench, three):
    status, _, err = quantbench("ablate", "three", "--jobs", "0")
    assert status == 2
    assert "--jobs" in err
