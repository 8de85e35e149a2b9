"""A low-bit experiment from `--retrain` to its record: trained from the baseline, packed, loaded and judged."""

import pytest
import torch
from accepting import checkpoint_document
from judged import measure_and_judge
from safetensors.torch import load_file

from quantbench.backends.checkpoint import read_checkpoint
from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import BaselineError, QuantizationError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.files import sha256_of_file
from quantbench.golden import baselines
from quantbench.quantities.judging import judge
from quantbench.records.card import BaselineCard

EXPERIMENT = """\
  low_bit_4:
    recipe: {name: low_bit, last_bits: 8, epochs: 2}
    backend: low_bit
    gates: {accuracy_drop_pp: 10.0, size_ratio: 0.2}
"""


def run_of(project, **settings):
    """The experiment's run in a session of its own, as a new process would have it."""
    experiments = load_experiments(project.configs)
    return Runs(Settings(project.golden, **settings)).run(select(experiments, "tiny/low_bit_4")[0])


def trained(project):
    return project.golden / "baselines" / "tiny.low_bit_4.safetensors"


def card_of(path):
    return BaselineCard.model_validate_json(path.with_suffix(".json").read_text())


@pytest.fixture
def low_bit(project):
    """The project with a low-bit experiment."""
    project.config.write_text(project.config.read_text() + EXPERIMENT)
    return project


@pytest.fixture
def retrained(low_bit):
    """The same after `--retrain`."""
    run_of(low_bit, retrain=True).candidate  # noqa: B018 — trains
    return low_bit


def test_training_starts_from_the_baseline_and_writes_weights_with_their_card(retrained):
    state, card = load_file(trained(retrained)), card_of(trained(retrained))
    assert card.parent_sha256 == sha256_of_file(retrained.weights)
    assert (card.recipe, len(card.history), card.training["lr"]) == ("low_bit", 2, 0.02)
    before = load_file(retrained.weights)["conv.weight"]
    # Two epochs away from it, and not from somewhere else.
    assert 0 < (state["conv.weight"] - before).norm() < 0.5 * before.norm()
    assert bool(state["conv.input_quantizer.is_set"])
    assert float(state["conv.input_quantizer.alpha"]) != 1.0
    updates = state["bn.num_batches_tracked"] - load_file(retrained.weights)["bn.num_batches_tracked"]
    assert updates == 6, "180 samples in batches of 32: the first of two epochs"


@pytest.mark.usefixtures("real_processes")
@pytest.mark.usefixtures("real_memory")
def test_every_claim_is_measured_on_the_packed_file(retrained):
    run = run_of(retrained)
    outcomes = {verdict.quantity: verdict.outcome for verdict in measure_and_judge(run)}
    assert outcomes["reload"] == "PASS"
    assert outcomes["size_ratio"] == "PASS"
    assert outcomes["accuracy_drop_pp"] != "FAIL"
    assert run.coverage.int8_share == 0.0
    assert run.checkpoint.keys["conv.packed_weight"] == {"dtype": "uint8", "shape": [8 * 27 // 2]}
    assert run.checkpoint.payload_bytes < 0.6 * sum(
        each.numel() * each.element_size() for each in read_checkpoint(run.baseline.artifact.path).values()
    )
    assert run.accuracy.quantized == pytest.approx(card_of(trained(retrained)).accuracy)
    assert run.memory.quantized_bytes > 0


def test_the_golden_holds_what_quantizes_each_layer(retrained):
    document = checkpoint_document(run_of(retrained))
    assert document["recipe"]["kind"] == "low_bit"
    assert document["observers"]["fc"]["activation"] == "LearnedClipping(8 bits, 0..255)"


def test_another_engine_gives_the_same_file(retrained):
    files = [run_of(retrained, engine=engine).artifact.path for engine in ("x86", "qnnpack")]
    assert files[0] != files[1]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_retraining_again_gives_the_same_weights(retrained):
    first = trained(retrained).read_bytes()
    run_of(retrained, retrain=True).candidate  # noqa: B018 — trains
    assert trained(retrained).read_bytes() == first


@pytest.mark.usefixtures("real_processes")
@pytest.mark.parametrize("threads", [1, 2])
def test_made_again_in_a_fresh_process_it_has_the_same_bits(retrained, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        verdict = judge(run_of(retrained), "determinism")
    finally:
        torch.set_num_threads(before)
    assert (verdict.outcome, verdict.measured) == ("PASS", "bit-identical")


def test_lsq_trains_as_well(low_bit):
    low_bit.edit("last_bits: 8", "quantizer: lsq")
    run = run_of(low_bit, retrain=True)
    assert run.accuracy.quantized > 0.8
    assert set(read_checkpoint(run.artifact.path)["fc.widths"].tolist()) == {4}


def test_training_in_bf16_is_noted(low_bit):
    run = run_of(low_bit, retrain=True, amp=True)
    assert run.accuracy.quantized > 0.8
    assert card_of(trained(low_bit)).amp.startswith("torch.autocast")


def test_missing_weights_are_named_with_the_command_that_trains_them(low_bit):
    command = "pytest bench --experiment tiny/low_bit_4 --retrain"
    with pytest.raises(BaselineError, match=rf"tiny\.low_bit_4\.safetensors: no such file; restore .*: {command}"):
        run_of(low_bit).candidate  # noqa: B018 — raises


def test_a_clip_that_is_nan_is_refused_by_its_name(retrained):
    path = trained(retrained)
    state = load_file(path)
    state["fc.input_quantizer.alpha"].fill_(float("nan"))
    sha256 = baselines.save_weights(path, state)
    baselines.save_card(path, card_of(path).model_copy(update={"weights_sha256": sha256}))
    with pytest.raises(BaselineError, match=r"tiny\.low_bit_4\.safetensors: 'fc\.input_quantizer\.alpha' holds NaN"):
        run_of(retrained).candidate  # noqa: B018 — raises


def test_a_clip_below_zero_is_refused_with_its_layer(retrained):
    path = trained(retrained)
    state = load_file(path)
    state["fc.input_quantizer.alpha"].fill_(-1.0)
    sha256 = baselines.save_weights(path, state)
    baselines.save_card(path, card_of(path).model_copy(update={"weights_sha256": sha256}))
    with pytest.raises(
        QuantizationError, match=r"^'fc' of TinyCNN: the range of the input ends at -1, and has to be f"
    ):
        run_of(retrained).candidate  # noqa: B018 — raises


def test_inspect_explains_the_packed_file_beside_the_baseline(retrained, quantbench):
    path = run_of(retrained).artifact.path
    status, out, _ = quantbench("inspect", retrained.weights, path)
    assert status == 0
    assert "conv: weight packed: float32 [8, 3, 3, 3] → uint8 [108]: 4-bit codes, of 4 bits for its input" in out
    assert "UNEXPLAINED" not in out
    assert "2 layers hold packed codes of 4/8 bits: low-bit training" in out
    status, out, _ = quantbench("inspect", path, "--as", "tiny/low_bit_4")
    assert status == 0
    assert "loads as tiny/low_bit_4: low-bit: weights packed as codes of 4/8 bits, inputs as 4/8, in 2 layers" in out


def test_inspect_explains_the_trained_weights_beside_the_baseline(retrained, quantbench):
    status, out, _ = quantbench("inspect", retrained.weights, trained(retrained))
    assert status == 0
    assert "conv: learned range of the input added" in out
    assert "UNEXPLAINED" not in out
