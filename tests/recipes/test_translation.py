"""Documents from before recipes had words of their own are read, and what was hashed in those keeps its hash."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from quantbench.config.reading import load_experiments
from quantbench.errors import OldWordWarning
from quantbench.experiment.result import DEFAULT_TASK
from quantbench.files import sha256_of_json
from quantbench.golden.checkpoints import CHECKPOINTS
from quantbench.golden.documents import differences, without_history
from quantbench.golden.translate import translate
from quantbench.recipes.spec import Recipe, describe
from quantbench.recipes.translation import KINDS, OLD_GATES, OLD_RECIPES, accepted_form, neutral, recipe_in_new_words
from quantbench.records.card import BaselineCard
from quantbench.records.run import RecordFile
from quantbench.registry import RECIPES

REPOSITORY = Path(__file__).parents[2]
MIN_MAX = {"observer": "MinMaxObserver", "dtype": "quint8", "qscheme": "per_tensor_affine"}
HISTOGRAM = {"observer": "HistogramObserver", "dtype": "quint8", "qscheme": "per_tensor_affine"}
MOVING = {"observer": "MovingAverageMinMaxObserver", "dtype": "quint8", "qscheme": "per_tensor_affine"}
PER_TENSOR = {"observer": "MinMaxObserver", "dtype": "qint8", "qscheme": "per_tensor_symmetric"}
PER_CHANNEL = {"observer": "PerChannelMinMaxObserver", "dtype": "qint8", "qscheme": "per_channel_symmetric"}
MOVING_WEIGHT = {
    "observer": "MovingAveragePerChannelMinMaxObserver", "dtype": "qint8", "qscheme": "per_channel_symmetric"
}  # fmt: skip
SHIFT = {"max_shift": 8}
TRAINED = {"epochs": 4, "lr": 0.005, "frozen_epochs": 1}
DEFAULT = {"kind": "StaticInt8", "activation": None, "weight": None, "calibration_n": 256}
# As version 0.1 described each recipe.
OLD = {
    "dynamic_int8": {"kind": "DynamicInt8", "layers": ["Linear"]},
    "fp32_baseline": {"kind": "Fp32"},
    "low_bit": {
        "kind": "LowBit", "weight_bits": 4, "activation_bits": 4, "quantizer": "clipping", "epochs": 4, "lr": 0.02,
        "frozen_epochs": 1, "first_bits": None, "last_bits": None,
    },
    "qat_int8": {"kind": "QatInt8", "activation": MOVING, "weight": MOVING_WEIGHT, **TRAINED},
    "qat_int8_layers": {
        "kind": "QatInt8", "activation": MOVING, "weight": MOVING_WEIGHT, **TRAINED, "blocks": ["block1"]
    },
    "qat_int8_pow2": {"kind": "QatInt8", "activation": MOVING | SHIFT, "weight": MOVING_WEIGHT | SHIFT, **TRAINED},
    "static_int8": DEFAULT,
    "static_int8_layers": DEFAULT | {"blocks": ["block1"]},
    "static_int8_full_range": DEFAULT | {"full_range": True},
    "static_int8_histogram": DEFAULT,
    "static_int8_per_channel": DEFAULT | {"activation": MIN_MAX, "weight": PER_CHANNEL},
    "static_int8_per_tensor": DEFAULT | {"activation": MIN_MAX, "weight": PER_TENSOR},
    "static_int8_pow2": DEFAULT | {"activation": HISTOGRAM | SHIFT, "weight": PER_CHANNEL | SHIFT},
}  # fmt: skip
EXPERIMENTS = load_experiments(REPOSITORY / "configs")


def create(name, **params):
    return RECIPES.create(name, "here", {"layers": ["block1"], **params} if name.endswith("_layers") else params)


@pytest.mark.parametrize(("name", "old"), OLD.items(), ids=OLD)
def test_a_recipe_in_the_old_words_is_read_as_the_one_of_today(name, old):
    assert neutral(old) == describe(create(name))
    assert neutral(neutral(old)) == neutral(old), "and one of today as it is"


@pytest.mark.parametrize(("name", "old"), OLD.items(), ids=OLD)
def test_what_is_hashed_is_the_form_in_which_hashes_were_accepted(name, old):
    assert accepted_form(create(name)) == old


def test_a_recipe_whose_kind_was_translated_before_its_keys_is_read_too():
    between = describe(create("qat_int8_layers"))
    between["blocks"] = between.pop("layers")
    assert neutral(between) == describe(create("qat_int8_layers"))


def test_low_bit_ends_and_quantizers_are_translated_both_ways():
    recipe = create("low_bit", quantizer="lsq", first_bits=8, last_bits=32)
    assert accepted_form(recipe) == OLD["low_bit"] | {"quantizer": "lsq", "first_bits": 8, "last_bits": 32}
    assert neutral(accepted_form(recipe)) == describe(recipe)
    with pytest.warns(OldWordWarning, match=r"^here\.quantizer: 'clipping' is 'pact' now"):
        translated = recipe_in_new_words({"name": "low_bit", "quantizer": "clipping"}, "here")
    assert create(**translated) == create("low_bit", quantizer="pact")


@pytest.mark.parametrize(
    "strange",
    [{}, {"kind": "Strange", "activation": MIN_MAX}, {"kind": ["Fp32"]}, {"kind": "StaticInt8", "layers": "block1"},
     {"kind": "own", "blocks": ["a"]},
     {"kind": "StaticInt8", "activation": {"observer": "Own"}, "weight": 3}],
    ids=str,
)  # fmt: skip
def test_what_is_not_known_is_left_as_it_is(strange):
    kept = {key: value for key, value in strange.items() if key != "kind"}
    assert {key: value for key, value in neutral(strange).items() if key != "kind"} == kept


def test_a_recipe_of_somebody_else_has_one_form_only():
    @dataclass(frozen=True)
    class Own(Recipe):
        kind = "own"

    own = Own()
    assert accepted_form(own) == describe(own) == {"kind": "own"}


@pytest.fixture
def old_golden(tmp_path):
    """A project's own golden, accepted by an earlier version."""
    path = tmp_path / "checkpoints" / "w" / "a.json"
    path.parent.mkdir(parents=True)
    content = {"engine": "x86", "recipe": OLD["static_int8_per_channel"], "keys": {}, "history": [{"reason": "é"}]}
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def test_a_golden_in_the_old_words_compares_equal(old_golden, tmp_path):
    found = {"engine": "x86", "recipe": describe(create("static_int8_per_channel")), "keys": {}}
    assert differences(CHECKPOINTS.read(tmp_path, "w/a"), found) == []
    assert without_history(json.loads(old_golden.read_text())) == found
    other = {**found, "recipe": describe(create("static_int8_per_tensor"))}
    assert differences(CHECKPOINTS.read(tmp_path, "w/a"), other) == [
        'recipe / weight / granularity: "per_channel" → "per_tensor"'
    ]


def test_a_golden_is_translated_once_and_nothing_else_of_it_changes(old_golden, tmp_path):
    before = json.loads(old_golden.read_text())
    assert translate(tmp_path) == [old_golden]
    assert json.loads(old_golden.read_text()) == before | {"recipe": describe(create("static_int8_per_channel"))}
    assert translate(tmp_path) == []


def test_cards_of_weights_are_translated_too_and_read_without(tmp_path):
    committed = REPOSITORY / "golden/baselines/m5_spoken_words.qat_block1.json"
    content = json.loads(committed.read_text())
    card = tmp_path / "baselines" / "own.json"
    card.parent.mkdir()
    card.write_text(json.dumps(content | {"recipe": "qat_int8_blocks"}))
    assert BaselineCard.model_validate_json(card.read_text()).recipe == content["recipe"] == "qat_int8_layers"
    assert translate(tmp_path) == [card]
    assert card.read_bytes() == committed.read_bytes()


def test_records_in_the_old_words_are_read_in_the_new():
    text = (REPOSITORY / "docs/results/records.json").read_text()
    written = {each["experiment"]: each["recipe"] for each in json.loads(text)["records"]}
    read = {each.experiment: each.recipe for each in RecordFile.model_validate_json(text).records}
    assert read == {name: neutral(recipe) for name, recipe in written.items()}
    assert {each["kind"] for each in read.values()} == set(KINDS.values())


def test_names_of_recipes_and_quantities_in_old_records_are_read_in_the_new():
    text = (REPOSITORY / "docs/results/records.json").read_text()
    for old, new in (OLD_RECIPES | OLD_GATES).items():
        text = text.replace(f'"{new}"', f'"{old}"')
    records = RecordFile.model_validate_json(text).records
    names = {each.experiment: each.recipe_name for each in records}
    judged = {each.experiment: [verdict.quantity for verdict in each.verdicts] for each in records}
    assert names == {each.id: each.config.recipe.name for each in EXPERIMENTS if each.id in names}
    assert "layer_drop_pp" in judged["m5_spoken_words/ptq_block1"]
    assert not {"block_drop_pp"} & {name for own in judged.values() for name in own}


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.id)
def test_committed_goldens_are_in_the_words_of_today_and_of_the_same_configuration(experiment):
    engines = ["", "@qnnpack"] if experiment.backend.name in ("eager", "low_bit") else [""]
    for name in (f"{experiment.id}{engine}" for engine in engines):
        golden = json.loads((REPOSITORY / "golden/checkpoints" / f"{name}.json").read_text())
        assert golden["recipe"] == describe(experiment.recipe)
    config = experiment.workload.config
    configured = {
        "data": config.data.model_dump(mode="json"),
        "recipe": accepted_form(experiment.recipe),
        "backend": experiment.backend.described,
    }
    if config.task.described != DEFAULT_TASK:
        configured["task"] = config.task.described
    # The number of classes is the data's, which no test of a configuration opens; targets of other kinds have none.
    own = {"name": config.model.name, **config.model.params}
    models = [own, *({"name": config.model.name, "n_classes": n, **config.model.params} for n in range(2, 41))]
    accepted = json.loads((REPOSITORY / "golden/results" / f"{experiment.id}.json").read_text())
    assert accepted["inputs"]["config"] in {sha256_of_json({**configured, "model": model}) for model in models}
