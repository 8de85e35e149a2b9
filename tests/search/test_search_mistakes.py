"""What cannot be searched, and the one line that says so."""

import pytest
from tiny_model import tiny_cnn
from tiny_switchable import Chain, built, labelled_split

from quantbench.errors import EvaluationError, QuantizationError, StatisticsError
from quantbench.search.engine import allowed_drop
from quantbench.search.search import Problem, search, sensitivities


def problem_of(n=100, low=2, high=4, layers=(), **params):
    model = built(Chain, **params)
    return Problem(model, labelled_split(model, n), low, high, layers)


def refusal(error, action):
    with pytest.raises(error) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_layer_that_does_not_exist_is_answered_with_the_nearest_name():
    for action in (sensitivities, lambda problem: search(problem, 5.0)):
        assert refusal(QuantizationError, lambda action=action: action(problem_of(layers=("conv0", "conv_3")))) == (
            "unknown switchable layer 'conv_3'. Did you mean 'conv3'? Known: conv0, conv1, conv2, conv3"
        )


@pytest.mark.parametrize(("low", "high", "wrong"), [(5, 8, 5), (2, 16, 16), (1, 4, 1)])
def test_a_width_that_a_layer_does_not_have_is_refused_with_those_it_has(low, high, wrong):
    assert refusal(QuantizationError, lambda: sensitivities(problem_of(low=low, high=high))) == (
        f"layer 'conv0' cannot compute with {wrong} bits; its choices are 2, 3, 4, 8"
    )


@pytest.mark.parametrize(("low", "high"), [(4, 4), (8, 4)])
def test_a_low_width_that_is_not_low_is_refused(low, high):
    assert refusal(QuantizationError, lambda: sensitivities(problem_of(low=low, high=high))) == (
        f"low width {low} is not below the high one, {high}; layers are tried at fewer bits"
    )


def test_a_model_without_switchable_layers_is_refused():
    split = problem_of().split
    assert refusal(QuantizationError, lambda: sensitivities(Problem(tiny_cnn(), split, 2, 4))) == (
        "TinyCNN has no layer whose bit width can be switched; quantize it by a low-bit recipe, or by a static int8 "
        "recipe, whose layers can be left in fp32"
    )


def test_a_head_too_small_for_the_labels_is_refused():
    problem = Problem(built(Chain, n_classes=2), problem_of().split, 2, 4)
    assert "the model gave 2 logits per sample, but a label is 3" in refusal(
        EvaluationError, lambda: sensitivities(problem)
    )


@pytest.mark.parametrize("epsilon_pp", [-0.5, 100.5, float("nan"), float("inf")])
def test_an_epsilon_that_is_no_share_is_refused(epsilon_pp):
    assert refusal(StatisticsError, lambda: search(problem_of(), epsilon_pp)) == (
        f"epsilon is {epsilon_pp:g} pp; the accepted drop is between 0 and 100 percentage points"
    )


def test_a_split_too_small_to_decide_says_how_many_samples_it_takes():
    message = refusal(StatisticsError, lambda: search(problem_of(n=100), 1.0))
    assert message == (
        "split 'search' has 100 samples, too few to decide about epsilon = 1 pp: even if none changed, a loss of that "
        "size could not be excluded at 95 % with fewer than 381; enlarge the split (data.search_pool) or epsilon"
    )
    assert allowed_drop(1.0, 381, "search") == 3
    with pytest.raises(StatisticsError):
        allowed_drop(1.0, 380, "search")


@pytest.mark.parametrize(
    ("epsilon_pp", "n", "allowed"),
    [(1.0, 10_000, 100), (0.07, 10_000, 7), (0.29, 10_000, 29), (1.0, 1999, 19), (0.0, 5, 0), (100.0, 5, 5)],
)
def test_epsilon_is_a_whole_number_of_samples(epsilon_pp, n, allowed):
    assert allowed_drop(epsilon_pp, n, "search") == allowed
