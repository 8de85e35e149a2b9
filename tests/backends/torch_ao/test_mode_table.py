"""docs/quantization-modes.md: each cell of its tables is taken at its word."""

import re
from pathlib import Path

import pytest
import torch
from stepped import QAT_QCONFIG, QCONFIG, SAMPLES
from tiny_model import tiny_cnn

from quantbench.backends.torch_ao.states import State, state_of
from quantbench.backends.torch_ao.steps import calibrate, check_trainable, convert, fuse, prepare, prepare_qat
from quantbench.errors import QuantizationError

PAGE = Path(__file__).parents[3] / "docs" / "quantization-modes.md"
# A tensor without values stands in for one on a GPU where there is none: enough for what only changes the structure.
STRUCTURAL = ("fuse", "fuse(is_qat=True)", "prepare", "prepare_qat", "convert")


def tables():
    """Each table of the page: its rows as dictionaries by column."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        head, _, *rows = ([cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in block.splitlines())
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


MODES, ORDERS = tables()


def calibrated(model):
    calibrate(model, [SAMPLES])
    return model


def trained(model):
    model.train()(SAMPLES).sum().backward()
    return model


def samples_for(model):
    """On its device; a converted model has no parameters left."""
    return SAMPLES.to(next((parameter.device for parameter in model.parameters()), "cpu"))


def training(model):
    check_trainable(model)
    model(samples_for(model)).sum().backward()
    return model


STEPS = {
    "fuse": fuse,
    "fuse(is_qat=True)": lambda model: fuse(model, is_qat=True),
    "prepare": lambda model: prepare(model, QCONFIG),
    "calibrate": lambda model: calibrate(model, [samples_for(model)]),
    "prepare_qat": lambda model: prepare_qat(model, QAT_QCONFIG),
    "train": training,
    "convert": convert,
}
# The mode that each step needs; in the table of orders no step is to fail by its mode.
TRAINING = {"fuse(is_qat=True)", "prepare_qat", "train"}
MADE = {
    "in floating point": lambda: tiny_cnn().eval(),
    "fused for inference": lambda: fuse(tiny_cnn().eval()),
    "fused for quantization-aware training": lambda: fuse(tiny_cnn().train(), is_qat=True),
    "prepared for calibration": lambda: prepare(fuse(tiny_cnn().eval()), QCONFIG),
    "prepared for calibration, and calibrated": lambda: calibrated(MADE["prepared for calibration"]()),
    "prepared for quantization-aware training": lambda: prepare_qat(fuse(tiny_cnn().train(), is_qat=True), QAT_QCONFIG),
    "prepared for quantization-aware training, and trained": lambda: trained(
        MADE["prepared for quantization-aware training"]()
    ),
    "converted to int8": lambda: convert(MADE["prepared for calibration, and calibrated"]()),
}
# What each step is meant to be given.
BEFORE = {
    "fuse": "in floating point",
    "fuse(is_qat=True)": "in floating point",
    "prepare": "fused for inference",
    "calibrate": "prepared for calibration",
    "prepare_qat": "fused for quantization-aware training",
    "train": "prepared for quantization-aware training",
    "convert": "prepared for calibration, and calibrated",
}


def take(step, model, cell):
    """Takes a step and holds it to its cell: it works, or one line of ours says why not."""
    assert cell in ("yes", "error")
    if cell == "yes":
        STEPS[step](model)
        return
    with pytest.raises(QuantizationError) as refused:
        STEPS[step](model)
    assert re.fullmatch(rf"{step.partition('(')[0]}( for (inference|training))?: .+", str(refused.value))


def test_the_tables_name_every_step_every_state_and_nothing_else():
    assert [row["step"] for row in MODES] == list(STEPS)
    assert [row["the model is"] for row in ORDERS] == list(MADE)
    assert {state.value for state in State} <= MADE.keys()
    assert list(ORDERS[0])[1:] == [step for step in STEPS if step != "fuse(is_qat=True)"]


@pytest.mark.parametrize("state", MADE)
def test_a_state_is_what_the_table_calls_it(state):
    assert state_of(MADE[state]()).value == state.partition(",")[0]


@pytest.mark.parametrize("row", MODES, ids=lambda row: row["step"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_each_step_in_each_mode_does_what_the_table_says(row, mode):
    step = row["step"]
    model = MADE[BEFORE[step]]().train(mode == "train")
    take(step, model, row[f"in {mode} mode"])


@pytest.mark.parametrize("row", MODES, ids=lambda row: row["step"])
def test_each_step_on_a_gpu_does_what_the_table_says(row):
    step = row["step"]
    if not torch.cuda.is_available() and step not in STRUCTURAL:
        pytest.skip("no GPU here, and this step needs values")
    model = MADE[BEFORE[step]]().train(step in TRAINING).to("cuda" if torch.cuda.is_available() else "meta")
    take(step, model, row["on a GPU"])


@pytest.mark.parametrize("row", ORDERS, ids=lambda row: row["the model is"].replace(" ", "-"))
@pytest.mark.parametrize("step", list(ORDERS[0])[1:])
def test_each_step_after_each_other_does_what_the_table_says(row, step):
    model = MADE[row["the model is"]]().train(step in TRAINING)
    take(step, model, row[step])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_what_was_trained_on_a_gpu_is_converted_on_the_cpu():
    model = prepare_qat(fuse(tiny_cnn().train(), is_qat=True), QAT_QCONFIG).cuda()
    model(SAMPLES.cuda()).sum().backward()
    with torch.inference_mode():
        assert convert(model.cpu().eval())(SAMPLES).shape == (8, 3)
