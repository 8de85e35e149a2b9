"""A workload's reference: a model with its committed weights, or a file that was made elsewhere."""

import pytest

from quantbench.config.reading import load_workload
from quantbench.errors import ConfigError

FILE = "reference: {path: net.onnx}"
WEIGHTS = "model: {name: cifar_cnn}\n  baseline: a"


@pytest.fixture
def load(tmp_path):
    def read(
        reference=FILE, recipe="{name: ready_made, path: net.int8.onnx}", backend="", gates="{accuracy_drop_pp: 1}"
    ):
        path = tmp_path / "a.yaml"
        path.write_text(
            f"workload:\n  {reference}\n  data: {{name: shapes}}\n"
            f"experiments:\n  e:\n    recipe: {recipe}\n    gates: {gates}\n{backend}"
        )
        (experiment,) = load_workload(path)
        return experiment

    return read


def test_a_file_is_loaded_by_the_backend_of_its_suffix(load):
    experiment = load()
    assert experiment.backend.name == "onnxruntime"
    assert experiment.recipe.path == "net.int8.onnx"


def test_a_recipe_of_ours_goes_through_the_backend_of_the_reference(load):
    assert load(recipe="{name: static_int8}").backend.name == "onnxruntime"


def test_a_candidate_may_be_of_another_runtime_than_its_reference(load):
    experiment = load(reference=WEIGHTS)
    assert experiment.backend.name == "onnxruntime"


def test_a_backend_that_is_named_with_parameters_is_kept(load):
    experiment = load("reference: {path: net.bin, backend: {name: onnxruntime, layout: nhwc}}")
    assert experiment.workload.config.reference.backend.params == {"layout": "nhwc"}


@pytest.mark.parametrize(
    ("reference", "line"),
    [
        ("optional: false", r"workload: 'model' is missing; name a model with its committed weights"),
        ("model: {name: cifar_cnn}", r"workload: 'baseline' is missing; name a model"),
        (f"{FILE}\n  {WEIGHTS}", r"workload: 'model' does not go with 'reference', which is a whole model"),
        (f"{FILE}\n  training: {{epochs: 1}}", r"workload: 'training' does not go with 'reference'"),
        ("reference: {path: net.h5}", r"workload\.reference\.path: no backend is known for a file that ends in '\.h5'"),
        ("reference: {path: ''}", r"workload\.reference\.path: String should have at least 1 character"),
        ("reference: {pth: a.onnx}", r"workload\.reference: unknown key 'pth'. Did you mean 'path'\?|Field required"),
        ("reference: {path: a.onnx, backend: onnxrt}", r"workload\.reference\.backend: unknown backend 'onnxrt'"),
    ],
)
def test_a_mistake_in_the_reference_is_told_with_its_place(load, reference, line):
    with pytest.raises(ConfigError, match=line):
        load(reference)


def test_a_file_that_no_backend_is_known_for_is_told(load):
    with pytest.raises(ConfigError, match=r"experiments\.e\.recipe\.path: no backend is known .* '\.pb'; name one of"):
        load(recipe="{name: ready_made, path: a.pb}")


def test_a_backend_that_quantizes_is_not_asked_for_a_ready_made_file(load):
    line = r"backend 'eager' does not run recipes of kind ready_made; set backend: onnxruntime"
    with pytest.raises(ConfigError, match=line):
        load(backend="    backend: eager\n")


def test_a_file_has_no_card_to_drift_from(load):
    with pytest.raises(ConfigError, match=r"gates\.card_drift_pp: the reference is a file, which has no card"):
        load(gates="{card_drift_pp: 1}")
