"""The table of each eager recipe beside the same through torch.export."""

from pathlib import Path

import pytest
from beside_eager import meaning, section, table_of

from quantbench.config.reading import load_experiments
from quantbench.registry import RECIPES

ROOT = Path(__file__).parents[2]
CIFAR = [each for each in load_experiments(ROOT / "configs") if each.workload.name == "cifar_cnn_shapes"]


def recipe(name, **params):
    return RECIPES.create(name, "here", params)


def test_the_table_in_the_docs_is_that_of_what_is_accepted():
    text = (ROOT / "docs" / "runtimes.md").read_text()
    made = section(ROOT / "configs", ROOT / "golden")
    again = "python benchmarks/beside_eager.py --into docs/runtimes.md"
    assert made in text, f"a golden changed; write it again: {again}"


def test_figures_are_those_of_the_goldens_paired_with_fp32():
    title, _, *rows = table_of(CIFAR, ROOT / "golden")
    assert title == "**cifar_cnn_shapes**: fp32 90.65 %, n = 10,000"
    (row,) = [each for each in rows if each.startswith("| ptq_static_int8_histogram |")]
    cells = [each.strip() for each in row.strip("|").split("|")]
    assert cells[1:4] == ["90.69", "-0.04 [-0.26, +0.18]", "310"]
    assert cells[4:] == ["90.66", "-0.01 [-0.17, +0.15]", "358"]


def test_a_recipe_that_was_not_accepted_is_a_dash(tmp_path):
    eager = [each for each in CIFAR if each.backend.name in ("eager", "pt2e")]
    (tmp_path / "results" / "cifar_cnn_shapes").mkdir(parents=True)
    for name in ("fp32_baseline", "qat_int8"):
        path = f"results/cifar_cnn_shapes/{name}.json"
        (tmp_path / path).write_bytes((ROOT / "golden" / path).read_bytes())
    rows = {each.split("|")[1].strip(): each.count("–") for each in table_of(eager, tmp_path)[4:-1]}
    assert rows == {
        "ptq_dynamic_int8": 6, "ptq_static_int8_per_tensor": 6, "ptq_static_int8_per_channel": 6,
        "ptq_static_int8_histogram": 6, "qat_int8": 3,
    }  # fmt: skip


def test_a_workload_without_recipes_through_torch_export_is_left_out():
    assert table_of([each for each in CIFAR if each.backend.name == "eager"], ROOT / "golden") == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (recipe("static_int8"), recipe("static_int8_histogram", calibration_n=32), True),
        (recipe("static_int8"), recipe("static_int8_per_tensor"), False),
        (recipe("qat_int8", epochs=3), recipe("qat_int8", epochs=4), False),
        (recipe("static_int8_layers", layers=["a"]), recipe("static_int8_layers", layers=["b"]), False),
    ],
)
def test_recipes_are_the_same_but_for_the_samples_that_calibrate(one, other, same):
    assert (meaning(one) == meaning(other)) is same
