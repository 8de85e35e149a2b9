"""An experiment in parity with another one: the other is there, is another one, and is gated."""

import pytest

from quantbench.config.reading import load_workload
from quantbench.errors import ConfigError

FILE = """\
workload: {{model: {{name: cifar_cnn}}, data: {{name: shapes}}, baseline: a}}
experiments:
  ptq_eager: {{recipe: {{name: static_int8}}}}
  ptq_pt2e: {{recipe: {{name: static_int8}}, backend: pt2e, {keys}}}
"""


@pytest.fixture
def loaded(tmp_path):
    """The second experiment of a file with some keys of its own."""

    def load(keys):
        path = tmp_path / "a.yaml"
        path.write_text(FILE.format(keys=keys))
        return load_workload(path)[1]

    return load


@pytest.mark.parametrize(
    "keys", ["parity_with: ptq_eager, gates: {parity_pp: 0.5}", "gates: {parity_pp: {ptq_eager: 0.5}}"]
)
def test_the_bound_is_kept_by_the_name_of_the_other_experiment(loaded, keys):
    assert loaded(keys).config.gates.bounds == {"parity_pp": {"ptq_eager": 0.5}}


WRONG = {
    "absent": ("parity_with: ptq_eagre, gates: {parity_pp: 1}", "parity_with: unknown experiment 'ptq_eagre'. Did you"),
    "itself": ("parity_with: ptq_pt2e, gates: {parity_pp: 1}", "parity_with: it is in parity with itself; name"),
    "ungated": ("parity_with: ptq_eager, gates: {size_ratio: 1}", "'parity_with' is set and nothing is gated by it"),
    "no other": ("gates: {parity_pp: 1}", "gates.parity_pp: parity_pp needs the experiment to compare with; set"),
    "twice": ("parity_with: ptq_eager, gates: {parity_pp: {ptq_eager: 1}}", "both name the other experiment"),
    "two": ("gates: {parity_pp: {ptq_eager: 1, ptq_pt2e: 1}}", "should have at most 1 item"),
    "beyond all": ("parity_with: ptq_eager, gates: {parity_pp: 101}", "less than or equal to 100 (given: 101)"),
    "no number": ("parity_with: ptq_eager, gates: {parity_pp: no}", "should be a number, not true or false"),
    "a list": ("parity_with: [ptq_eager], gates: {parity_pp: 1}", "parity_with: Input should be a valid string"),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "message"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_one_line_with_its_place(loaded, keys, message):
    with pytest.raises(ConfigError) as error:
        loaded(keys)
    assert message in str(error.value)
    assert "a.yaml: experiments.ptq_pt2e" in str(error.value)
    assert "\n" not in str(error.value)
