"""Names are known without importing them, and every mistake in a name or a parameter is one line."""

import math
import sys

import pytest

from quantbench.errors import ConfigError
from quantbench.registry import BACKENDS, DATA, MODELS, RECIPES, Registry, unknown_name

SHELF = """
from quantbench.registry import Registry
SHELF = Registry("thing", "shelf")
"""
BOXES = """
from typing import Annotated
from pydantic import Field
from shelf import SHELF

@SHELF.register("box")
def box(width: Annotated[int, Field(gt=0)], depth: float = 1.0):
    if depth > width:
        raise ValueError(f"depth ({depth}) must not exceed width ({width})")
    return ("box", width, depth)

@SHELF.register("bag")
def bag(**things):
    return things

def unregistered():
    return "mine"

plain_value = 3
"""
BROKEN = """
from shelf import SHELF
raise RuntimeError("imported although nobody asked for it")

@SHELF.register("bomb")
def bomb(): ...
"""


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A package with three entries in two modules, one of which must not be imported."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name, text in {"__init__": SHELF, "boxes": BOXES, "broken": BROKEN}.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield Registry("thing", "shelf")
    for name in [name for name in sys.modules if name.partition(".")[0] == "shelf"]:
        del sys.modules[name]


@pytest.fixture
def imported_shelf(shelf):
    """The registry that the package's own modules register into."""
    from shelf import SHELF

    return SHELF


def refusal(registry, name, params, **kwargs):
    with pytest.raises(ConfigError) as error:
        registry.create(name, "a.yaml: thing", params, **kwargs)
    return str(error.value)


def test_names_are_listed_without_importing_any_entry(shelf):
    assert shelf.names() == ["bag", "bomb", "box"]
    assert "shelf.boxes" not in sys.modules


def test_an_entry_is_created_by_importing_only_its_own_module(imported_shelf):
    assert imported_shelf.create("box", "here", {"width": 2}) == ("box", 2, 1.0)
    assert "shelf.broken" not in sys.modules


def test_an_unknown_name_is_answered_with_the_nearest_and_with_all(shelf):
    assert refusal(shelf, "bix", {}) == (
        "a.yaml: thing: unknown thing 'bix'. Did you mean 'box'? Known: bag, bomb, box, or 'your.module:factory'"
    )


def test_a_name_like_no_other_gets_no_guess(shelf):
    assert refusal(shelf, "zzz", {}).startswith("a.yaml: thing: unknown thing 'zzz'. Known: bag")


def test_an_unknown_parameter_is_answered_with_the_nearest_and_with_all_that_the_place_allows(imported_shelf):
    message = refusal(imported_shelf, "box", {"width": 1, "widht": 2}, beside=["name"])
    assert message == (
        "a.yaml: thing: unknown parameter of thing 'box': 'widht'. Did you mean 'width'? Known: depth, name, width"
    )


def test_a_factory_that_takes_any_parameter_is_given_any(imported_shelf):
    assert imported_shelf.create("bag", "here", {"apples": 3}) == {"apples": 3}


PARAMETERS = {
    "missing": ({}, "a.yaml: thing.width: Missing required argument"),
    "type": ({"width": [1]}, "a.yaml: thing.width: Input should be a valid integer (given: [1])"),
    "range": ({"width": 0}, "a.yaml: thing.width: Input should be greater than 0 (given: 0)"),
    "nan": ({"width": 1, "depth": math.nan}, "a.yaml: thing.depth: Input should be a finite number (given: nan)"),
    "together": (
        {"width": 1, "depth": 2},
        "a.yaml: thing: thing 'box' refuses these parameters: depth (2.0) must not exceed width (1)",
    ),
}


@pytest.mark.parametrize(("params", "message"), PARAMETERS.values(), ids=PARAMETERS)
def test_a_wrong_parameter_is_one_line_with_its_place(imported_shelf, params, message):
    assert refusal(imported_shelf, "box", params) == message


def test_two_wrong_parameters_are_two_lines(imported_shelf):
    assert len(refusal(imported_shelf, "box", {"width": 0, "depth": "deep"}).splitlines()) == 2


def test_what_was_given_is_quoted_only_in_part(imported_shelf):
    assert len(refusal(imported_shelf, "box", {"width": "wide" * 1000})) < 250


def test_one_name_in_two_modules_is_refused(shelf, tmp_path):
    (tmp_path / "shelf" / "copies.py").write_text(BOXES)
    with pytest.raises(ConfigError, match=r"thing '(box|bag)' is registered twice: shelf\.boxes and shelf\.copies"):
        shelf.names()


def test_one_name_for_two_factories_is_refused():
    registry = Registry("thing", "shelf")
    registry.register("box")(dict)
    with pytest.raises(ConfigError, match="thing 'box' is registered twice"):
        registry.register("box")(list)


def test_a_users_own_factory_needs_no_registration(shelf):
    assert shelf.create("shelf.boxes:unregistered", "here", {}) == "mine"


UNREACHABLE = {
    "no_such_module:thing": "cannot import 'no_such_module:thing': No module named 'no_such_module'",
    "shelf.boxes:basket": "cannot import 'shelf.boxes:basket': module 'shelf.boxes' has no attribute 'basket'",
    ":basket": "cannot import ':basket'",
    "shelf.boxes:plain_value": "'shelf.boxes:plain_value' is not callable; name a class or a function",
}


@pytest.mark.parametrize(("name", "message"), UNREACHABLE.items())
def test_a_users_factory_that_cannot_be_reached_is_named(shelf, name, message):
    assert refusal(shelf, name, {}).startswith(f"a.yaml: thing: {message}")


@pytest.mark.parametrize(
    ("registry", "name"), [(each, name) for each in (MODELS, DATA, RECIPES, BACKENDS) for name in each.names()]
)
def test_every_declared_entry_is_there_and_says_what_it_is(registry, name):
    factory = registry.factory(name, "here")
    assert factory.__doc__, f"{factory.__module__}: {name} has no docstring"
    assert factory.__module__.startswith(f"{registry.package}.")


def test_of_many_names_the_nearest_few_are_shown():
    known = [f"model_{i}/ptq_block{j}" for i in range(10) for j in range(5)]
    told = unknown_name("experiment", "model_3/ptq_blok4", known)
    assert told.startswith("unknown experiment 'model_3/ptq_blok4'. Did you mean 'model_3/ptq_block4'? Nearest of 50")
    assert told.count(", ") == 5
    assert len(told) < 250
