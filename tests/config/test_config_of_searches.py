"""A workload file that asks for a search: what it may say, and what is told of mistakes."""

import pytest

from quantbench.config.reading import load_workload
from quantbench.errors import ConfigError

POOL = ("calibration_pool: 60}", "calibration_pool: 60, search_pool: 40}")
RECIPE = "recipe: {name: dynamic_int8}"


def with_search(project, text):
    project.edit(*POOL)
    project.edit(RECIPE, f"{RECIPE}\n    search: {text}")


def message(project):
    with pytest.raises(ConfigError) as error:
        load_workload(project.config)
    return str(error.value)


def test_a_search_has_a_width_and_an_accepted_drop(project):
    with_search(project, "{low: 2, epsilon_pp: 0.5}")
    experiments = {each.name: each.config.search for each in load_workload(project.config)}
    assert (experiments["ptq_dynamic_int8"].low, experiments["ptq_dynamic_int8"].epsilon_pp) == (2, 0.5)
    assert experiments["qat_int8"] is None


def test_the_accepted_drop_is_one_point_unless_told(project):
    with_search(project, "{low: 8}")
    assert [each.config.search.epsilon_pp for each in load_workload(project.config) if each.config.search] == [1.0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{epsilon_pp: 1.0}", "experiments.ptq_dynamic_int8.search.low: Field required"),
        ("{low: 1}", "search.low: Input should be greater than or equal to 2 (given: 1)"),
        ("{low: 9}", "search.low: Input should be less than or equal to 8 (given: 9)"),
        ("{low: 2.5}", "search.low: "),
        ("{low: 2, epsilon_pp: -0.1}", "search.epsilon_pp: Input should be greater than or equal to 0 (given: -0.1)"),
        ("{low: 2, epsilon: 1}", "search: unknown key 'epsilon'. Did you mean 'epsilon_pp'? Known: epsilon_pp, low"),
    ],
)
def test_a_mistake_in_a_search_names_file_and_key(project, text, told):
    with_search(project, text)
    (line,) = message(project).splitlines()
    assert line.startswith(f"{project.config}: experiments.ptq_dynamic_int8.search")
    assert told in line


def test_a_search_without_samples_of_its_own_says_how_to_hold_some_out(project):
    project.edit(RECIPE, f"{RECIPE}\n    search: {{low: 2}}")
    assert message(project) == (
        f"{project.config}: experiments.ptq_dynamic_int8.search: no sample is held out to search on, and the test "
        "split is for reporting; set workload.data.search_pool to the number of training samples to hold out, such as "
        "2000, and train again"
    )


def test_a_bound_on_a_search_that_nobody_asks_for_is_refused(project):
    project.edit(f"{RECIPE}\n    gates: {{accuracy_drop_pp: 10.0}}", f"{RECIPE}\n    gates: {{search_drop_pp: 1.0}}")
    assert message(project) == (
        f"{project.config}: experiments.ptq_dynamic_int8.gates.search_drop_pp: a bound on what a search finds, but "
        "none is asked for; add search: {low: …, epsilon_pp: …} to the experiment, or remove the bound"
    )
