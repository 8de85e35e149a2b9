"""A model whose bits change by themselves fails the run, in the words a user reads; a steady one is recorded."""

import pytest

from quantbench.records.run import RecordFile

STATIC = "tiny/ptq_static_int8_per_channel"
AGAIN = ("-q", "--experiment", STATIC, "-k", "quantized_again")

MODEL = """\
import torch
from tiny_model import TinyCNN

class Dropping(TinyCNN):
    def forward(self, x):
        return super().forward(torch.nn.functional.dropout(x, 0.5, training=True))

def dropping():
    return Dropping(3, 8)
"""


def test_a_model_that_draws_fails_with_the_keys_that_differ_and_what_to_do(bench, project, monkeypatch):
    (project.root / "dropping_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(project.root)
    project.edit("tiny_model:tiny_cnn", "dropping_model:dropping")
    result = bench(*AGAIN)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"{STATIC}: determinism: FAIL",
            "  measured:     the checkpoint differs in '*'*; logits differ by up to *",
            "  required:     the same bits, quantized again",
            f"  look further: quantbench run {STATIC} --json record.json",
            "  accept:       not possible: * seed whatever the model or its data draws at random (docs/determinism.md)",
        ]
    )


def test_the_claim_alone_is_recorded(bench, project):
    assert bench(*AGAIN, "--json", "records.json").ret == 0
    [record] = RecordFile.model_validate_json((project.root / "records.json").read_text()).records
    assert [(verdict.quantity, verdict.outcome) for verdict in record.verdicts] == [("determinism", "PASS")]
