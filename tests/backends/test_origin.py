"""What kind a checkpoint is, by its keys, and by which way it was made, by its note."""

import pytest
import torch
from artifacts import artifact_at, loaded
from tiny_model import tiny_cnn

from quantbench.backends.checkpoint import read_checkpoint, write_checkpoint
from quantbench.backends.origin import ORIGIN_KEY, Stage, kind_of, method_mismatch, note_origin, origin_of, stage_of
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.errors import CheckpointError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.models.quantizable import DeQuantStub, QuantStub
from quantbench.registry import RECIPES
from quantbench.upstream import silenced

INPUTS = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PTQ, QAT = RECIPES.create("static_int8_per_channel", "here", {}), RECIPES.create("qat_int8", "here", {})
DYNAMIC = RECIPES.create("dynamic_int8", "here", {})


def quantized(recipe):
    torch.manual_seed(0)
    backend, model = EagerBackend(default_engine()), tiny_cnn().eval()
    if recipe is not QAT:
        return backend.quantize_module(model, recipe, lambda: [INPUTS]).model
    prepared = backend.prepare_module(model, recipe)
    prepared(INPUTS)
    return backend.convert_module(prepared).model


def noted(recipe):
    state = quantized(recipe).state_dict()
    note_origin(state, recipe)
    return state


def prepared_for_training():
    return EagerBackend(default_engine()).prepare_module(tiny_cnn().eval(), QAT).state_dict()


def prepared_for_calibration():
    with silenced():
        return EagerBackend(default_engine())._prepared(tiny_cnn().eval(), PTQ).state_dict()


def test_stubs_alone_are_no_quantization():
    assert isinstance(tiny_cnn().quant, QuantStub)
    assert isinstance(tiny_cnn().dequant, DeQuantStub)
    state = tiny_cnn().state_dict()
    assert (kind_of(state), stage_of(state)) == ("floating point", Stage.FLOAT)


@pytest.mark.parametrize(
    ("make", "kind", "stage"),
    [
        (prepared_for_training, "prepared for quantization-aware training, not converted: fp32 weig", Stage.PREPARED),
        (prepared_for_calibration, "prepared for post-training quantization, not converted: fp32 weig", Stage.PREPARED),
        (lambda: noted(PTQ), "static int8, by post-training quantization", Stage.INT8),
        (lambda: noted(QAT), "static int8, by quantization-aware training", Stage.INT8),
        (lambda: noted(DYNAMIC), "dynamic int8", Stage.INT8),
        (lambda: quantized(PTQ).state_dict(), "static int8, of unknown origin (both ways end with the", Stage.INT8),
    ],
    ids=["prepared QAT", "prepared PTQ", "PTQ", "QAT", "dynamic", "no note"],
)  # fmt: skip
def test_every_kind_is_named(make, kind, stage):
    state = make()
    assert kind_of(state).startswith(kind)
    assert stage_of(state) is stage


@pytest.mark.parametrize("recipe", [PTQ, QAT], ids=["PTQ", "QAT"])
def test_the_note_survives_saving_and_does_not_hinder_loading(recipe, tmp_path):
    write_checkpoint(tmp_path / "a.pt", noted(recipe))
    state = read_checkpoint(tmp_path / "a.pt")
    assert origin_of(state) == type(recipe).__name__
    model = EagerBackend(default_engine()).skeleton(tiny_cnn().eval(), recipe)
    assert str(model.load_state_dict(state)) == "<All keys matched successfully>"
    assert not any(ORIGIN_KEY in key for key in state), "the note adds no key"


def test_kinds_whose_keys_nothing_else_has_get_no_note():
    assert origin_of(noted(DYNAMIC)) is None
    assert ORIGIN_KEY not in noted(DYNAMIC)._metadata[""]


@pytest.mark.parametrize("note", [["QatInt8"], {"a": 1}, "Surprise", None, 7], ids=str)
def test_a_foreign_note_is_no_origin(note):
    state = noted(PTQ)
    state._metadata[""][ORIGIN_KEY] = note
    assert origin_of(state) is None
    assert kind_of(state).startswith("static int8, of unknown origin")


def test_a_state_dict_without_metadata_has_no_origin():
    assert origin_of(dict(noted(PTQ))) is None
    state = noted(PTQ)
    state._metadata = {}
    assert origin_of(state) is None


def test_only_the_way_of_the_file_fits():
    assert method_mismatch(noted(PTQ), PTQ) is method_mismatch(noted(QAT), QAT) is None
    assert method_mismatch(noted(PTQ), QAT).startswith(
        "was made by post-training quantization and is loaded as if made by quantization-aware training: the keys may"
    )
    assert method_mismatch(noted(QAT), DYNAMIC).startswith(
        "was made by quantization-aware training and is loaded as if made by dynamic_int8"
    )
    assert method_mismatch(quantized(PTQ).state_dict(), QAT) is None, "without a note nobody can tell from the keys"


@pytest.mark.parametrize(
    ("made_by", "loaded_as", "words"),
    [
        (PTQ, QAT, "was made by post-training quantization and is loaded as if made by quantization-aware training"),
        (QAT, PTQ, "was made by quantization-aware training and is loaded as if made by post-training quantization"),
    ],
    ids=["PTQ as QAT", "QAT as PTQ"],
)
def test_loading_through_the_other_way_is_refused_although_every_key_fits(tmp_path, made_by, loaded_as, words):
    path = tmp_path / "a.pt"
    write_checkpoint(path, noted(made_by))
    artifact = artifact_at(path, loaded_as)
    with pytest.raises(CheckpointError, match=rf"a\.pt: {words}: .* observers .* do not\. Name the experiment that"):
        loaded(artifact)
    write_checkpoint(path, quantized(made_by).state_dict())
    loaded(artifact)


@pytest.mark.parametrize(
    ("name", "origin"), [("ptq_static_int8_per_channel", "StaticInt8"), ("ptq_dynamic_int8", None)]
)
def test_checkpoints_of_experiments_note_their_way(project, name, origin):
    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select

    run = Runs(Settings(project.golden)).run(select(load_experiments(project.configs), f"tiny/{name}")[0])
    assert origin_of(read_checkpoint(run.artifact.path)) == origin
