"""The JSON schema of workload files: as generated, shipped, true of every file, and as strict as the reader."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

import quantbench
from quantbench.config.json_schema import as_text, generated_schema, schema_text
from quantbench.config.reading import experiments_of
from quantbench.errors import ConfigError

REPOSITORY = Path(quantbench.__file__).parents[1]
SCHEMA = jsonschema.Draft7Validator(json.loads(schema_text()))
CONFIGS = [
    path
    for folder in ("configs", "examples")
    for path in sorted((REPOSITORY / folder).rglob("*.yaml"))
    # Of trainings that are compared; and of a distribution that brings names of its own.
    if "ablations" not in path.parts and "plugin" not in path.parts and "workload:" in path.read_text()
]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
MODEL = {"name": "cifar_cnn"}
WORKLOAD = {"model": MODEL, "data": {"name": "shapes"}, "baseline": "cnn"}
PTQ = {"recipe": {"name": "static_int8"}, "gates": {"accuracy_drop_pp": 1.0}}


def content(workload=None, experiment=None):
    return {"workload": {**WORKLOAD, **(workload or {})}, "experiments": {"ptq": {**PTQ, **(experiment or {})}}}


def test_it_is_what_the_classes_and_tables_give():
    assert schema_text() == as_text(generated_schema()), (
        "quantbench.config.schema.json is stale; see docs/development.md"
    )


def test_it_is_a_schema_of_its_draft():
    assert SCHEMA.check_schema(json.loads(schema_text())) is None


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_workload_file_of_the_repository_is_valid(path):
    SCHEMA.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def whole(given):
    """A workload file around the part of one that a page shows; None for YAML of something else."""
    properties = json.loads(schema_text())["properties"]
    of_workload = set(properties["workload"]["properties"])
    of_experiment = set(properties["experiments"]["additionalProperties"]["properties"])
    # With rows it is an ablation.
    if not isinstance(given, dict) or "rows" in given:
        return None
    if {"workload", "experiments"} & set(given):
        workload = given.get("workload", {})
        is_file = "reference" in workload
        return content() | given | {"workload": workload if is_file else {**WORKLOAD, **workload}}
    if set(given) <= of_experiment:
        return content(experiment=given)
    return content(workload=given) if set(given) <= of_workload else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_workload_file_on_a_page_is_valid(page):
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if (given := whole(yaml.safe_load(block))) is not None:
            SCHEMA.validate(given)


def test_a_file_that_is_right_is_taken_by_both():
    for given in RIGHT:
        SCHEMA.validate(given)
        assert experiments_of(given, Path("a.yaml"))


RIGHT = [
    content(),
    content({"task": "top1"}, {"backend": "eager"}),
    content({"task": {"name": "top_k", "k": 5}}, {"backend": {"name": "eager", "engine": "x86"}}),
    content({}, {"gates": {"speedup": {"default": 1.0, "avx2": 2.0}}}),
    content({"data": {"name": "shapes", "search_pool": 100}}, {"search": {"low": 8}}),
    {"workload": {"reference": {"path": "a.onnx"}, "data": {"name": "npz", "path": "a.npz"}},
     "experiments": {"a": {"recipe": {"name": "ready_made", "path": "b.onnx"}}}},
]  # fmt: skip
WRONG = [
    {},
    {"workload": WORKLOAD},
    {"workload": WORKLOAD, "experiments": {}},
    {**content(), "more": 1},
    {"workload": WORKLOAD, "experiments": {"a b": PTQ}},
    content({"model": {"name": "resnt18"}}),
    content({"model": "cifar_cnn"}),
    content({"data": {"name": "shapes", "calibration_pool": 0}}),
    content({"data": {"name": "shapes", "calibration_pool": 1.5}}),
    content({"data": {"name": "image_folder"}}),
    content({"data": {"name": "image_folder", "root": "x", "size": 4}}),
    content({"baseline": "a/b"}),
    content({"optional": "yes"}),
    content({"latency": {"batch_size": 0}}),
    content({"latency": {"rounds": 3}}),
    content({"latency": {"runtimes": ["onnx"]}}),
    content({"latency": {"looks": True}}),
    content({"training": {}}),
    content({"training": {"epochs": 3, "schedule": "linear"}}),
    content({"regression": {"speedup": 1.5}}),
    content({"reference": {"path": "a.onnx"}}),
    content({"task": "top2"}),
    content({"licences": "MIT"}),
    {"workload": {"data": {"name": "shapes"}}, "experiments": {"a": PTQ}},
    {"workload": {"reference": {}, "data": {"name": "shapes"}}, "experiments": {"a": PTQ}},
    content({}, {"recipe": {"name": "static_int9"}}),
    content({}, {"recipe": "static_int8"}),
    content({}, {"recipe": {"name": "static_int8", "calibration": 3}}),
    content({}, {"recipe": {"name": "static_int8", "calibration_n": 0}}),
    content({}, {"recipe": {"name": "ready_made"}}),
    content({}, {"backend": "egaer"}),
    content({}, {"gates": {"accuracy_drop": 1.0}}),
    content({}, {"gates": {"accuracy_drop_pp": 101}}),
    content({}, {"gates": {"int8_share": 1.5}}),
    content({}, {"gates": {"speedup": {"avx2": 2.0}}}),
    content({}, {"gates": {"speedup": {"default": 1.0, "avx9": 2.0}}}),
    content({}, {"gates": {"speedup": 0}}),
    content({"data": {"name": "shapes", "search_pool": 9}}, {"search": {}}),
    content({"data": {"name": "shapes", "search_pool": 9}}, {"search": {"low": 1}}),
]


@pytest.mark.parametrize("given", WRONG, ids=lambda given: json.dumps(given)[:90])
def test_a_file_that_is_wrong_is_refused_by_the_schema_and_by_the_reader(given):
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(given)
    with pytest.raises(ConfigError):
        experiments_of(given, Path("a.yaml"))


def test_a_parameter_that_a_model_does_not_take_is_refused_while_it_is_written():
    # The reader says so once the experiment runs, since models import torch.
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(content({"model": {"name": "cifar_cnn", "widht": 2}}))


def test_the_command_prints_it_and_writes_over_nothing(quantbench, tmp_path):
    assert quantbench("schema")[1] == schema_text()
    out = tmp_path / "schema.json"
    assert quantbench("schema", "--out", out)[0] == 0
    assert out.read_text() == schema_text()
    assert quantbench("schema", "--out", out)[0] == 0
    out.write_text("{}")
    status, _, err = quantbench("schema", "--out", out)
    assert (status, "is there already, with other content" in err, out.read_text()) == (2, True, "{}")


def test_names_of_other_distributions_are_added_on_request(monkeypatch):
    from quantbench.registry import MODELS

    monkeypatch.setattr(MODELS, "_installed", {"their_net": None})
    names = generated_schema(installed=True)["properties"]["workload"]["properties"]["model"]["properties"]["name"]
    assert "their_net" in names["anyOf"][0]["enum"]
