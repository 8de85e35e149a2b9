"""Names are known without importing them, and every mistake in a name or a parameter is one line."""

import importlib
import inspect
import math
import pkgutil
import sys
import typing
from importlib.util import find_spec

import pytest
from torch import nn

from quantbench.backends.interface import Backend
from quantbench.data.source import Source
from quantbench.errors import ConfigError
from quantbench.recipes.spec import Recipe
from quantbench.registry import BACKENDS, DATA, MODELS, QUANTITIES, RECIPES, TASKS, Factories, Registry, unknown_name

BOXES = """
from typing import Annotated
from pydantic import Field

def box(width: Annotated[int, Field(gt=0)], depth: float = 1.0):
    if depth > width:
        raise ValueError(f"depth ({depth}) must not exceed width ({width})")
    return ("box", width, depth)

def bag(**things):
    return things

def unlisted():
    return "mine"

plain_value = 3
"""
BROKEN = """
raise RuntimeError("imported although nobody\\nasked for it")
"""
TABLE = {"bag": "shelf.boxes:bag", "bomb": "shelf.broken:bomb", "box": "shelf.boxes:box"}
GROUP = "quantbench.things"
ALL = {
    "models": MODELS,
    "data": DATA,
    "tasks": TASKS,
    "recipes": RECIPES,
    "backends": BACKENDS,
    "quantities": QUANTITIES,
}


def things():
    return Factories("thing", GROUP, TABLE)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A table of three entries in two modules, one of which must not be imported."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name, text in {"__init__": "", "boxes": BOXES, "broken": BROKEN}.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield things()
    for name in [name for name in sys.modules if name.partition(".")[0] == "shelf"]:
        del sys.modules[name]


@pytest.fixture
def install(tmp_path, shelf):
    """Installs a distribution with these entry points and gives the table as it is then."""

    def install(name, lines):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{GROUP}]\n" + "\n".join(lines))
        importlib.invalidate_caches()
        return things()

    return install


def refusal(registry, name, params, **kwargs):
    with pytest.raises(ConfigError) as error:
        registry.create(name, "a.yaml: thing", params, **kwargs)
    return str(error.value)


def test_names_are_listed_without_importing_any_entry(shelf):
    assert shelf.names() == ["bag", "bomb", "box"]
    assert "shelf.boxes" not in sys.modules


def test_an_entry_is_created_by_importing_only_its_own_module(shelf):
    assert shelf.create("box", "here", {"width": 2}) == ("box", 2, 1.0)
    assert "shelf.broken" not in sys.modules


def test_an_unknown_name_is_answered_with_the_nearest_and_with_all(shelf):
    assert refusal(shelf, "bix", {}) == (
        "a.yaml: thing: unknown thing 'bix'. Did you mean 'box'? Known: bag, bomb, box, or 'your.module:factory'"
    )


def test_a_name_like_no_other_gets_no_guess(shelf):
    assert refusal(shelf, "zzz", {}).startswith("a.yaml: thing: unknown thing 'zzz'. Known: bag")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("b\x1b[31mx", r"b\x1b[31mx"), ("b\nx", r"b\nx"), ("\ud800", r"\ud800"), ("x" * 9000, "x" * 80 + "…")],
)
def test_a_name_that_no_terminal_shows_is_escaped_and_a_long_one_cut(shelf, name, shown):
    assert refusal(shelf, name, {}).startswith(f"a.yaml: thing: unknown thing '{shown}'. ")


def test_an_unknown_parameter_is_answered_with_the_nearest_and_with_all_that_the_place_allows(shelf):
    message = refusal(shelf, "box", {"width": 1, "widht": 2}, beside=["name"])
    assert message == (
        "a.yaml: thing: unknown parameter of thing 'box': 'widht'. Did you mean 'width'? Known: depth, name, width"
    )


def test_a_factory_that_takes_any_parameter_is_given_any(shelf):
    assert shelf.create("bag", "here", {"apples": 3}) == {"apples": 3}


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
def test_a_wrong_parameter_is_one_line_with_its_place(shelf, params, message):
    assert refusal(shelf, "box", params) == message


def test_two_wrong_parameters_are_two_lines(shelf):
    assert len(refusal(shelf, "box", {"width": 0, "depth": "deep"}).splitlines()) == 2


def test_what_was_given_is_quoted_only_in_part(shelf):
    assert len(refusal(shelf, "box", {"width": "wide" * 1000})) < 250


def test_a_users_own_factory_needs_no_table(shelf):
    assert shelf.create("shelf.boxes:unlisted", "here", {}) == "mine"


UNREACHABLE = {
    "no_such_module:thing": "cannot import 'no_such_module:thing': No module named 'no_such_module'",
    "shelf.boxes:basket": "cannot import 'shelf.boxes:basket': module 'shelf.boxes' has no attribute 'basket'",
    ":basket": "cannot import ':basket'",
    "shelf.boxes:plain_value": "'shelf.boxes:plain_value' is not callable; name a class or a function",
    "builtins:dict": "{kind} 'builtins:dict' declares no signature to check its parameters by; name a Python function",
}


@pytest.mark.parametrize(("name", "message"), UNREACHABLE.items())
def test_a_users_factory_that_cannot_be_reached_is_named(shelf, name, message):
    expected = message.format(kind=shelf.kind)
    assert refusal(shelf, name, {}).startswith(f"a.yaml: thing: {expected}")


def test_a_registry_of_objects_gives_the_object_itself(shelf):
    del shelf
    registry = Registry("value", GROUP, {"three": "shelf.boxes:plain_value"})
    assert registry.get("three", "here") == registry.get("shelf.boxes:plain_value", "here") == 3
    with pytest.raises(
        ConfigError, match=r"^here: unknown value 'thre'\. Did you mean 'three'\?.*'your\.module:NAME'$"
    ):
        registry.get("thre", "here")


def test_all_entries_come_in_the_order_of_the_table(shelf):
    del shelf
    registry = Registry("value", GROUP, {"z": "shelf.boxes:plain_value", "a": "shelf.boxes:unlisted"})
    assert registry.names() == ["z", "a"]
    assert [registry.all()[0], registry.all()[1]()] == [3, "mine"]


def test_an_entry_point_is_an_entry_that_is_listed_without_being_imported(install):
    installed = install("toys", ["toy = shelf.boxes:box", "lost = shelf.broken:bomb"])
    assert installed.names() == ["bag", "bomb", "box", "lost", "toy"]
    assert not {"shelf.boxes", "shelf.broken"} & set(sys.modules)
    assert installed.create("toy", "here", {"width": 4}) == ("box", 4, 1.0)
    assert refusal(installed, "toi", {}).startswith(
        "a.yaml: thing: unknown thing 'toi'. Did you mean 'toy'? Known: bag"
    )
    assert "toy" not in Registry("other", "quantbench.others", {}).names(), "other groups are other tables"


BROKEN_ENTRIES = {
    "it raises": ("shelf.broken:bomb", r"RuntimeError: imported although nobody asked for it"),
    "no module": ("no_such_module:toy", r"ModuleNotFoundError: No module named 'no_such_module'"),
    "no attribute": ("shelf.boxes:basket", r"AttributeError: module 'shelf\.boxes' has no attribute 'basket'"),
}


@pytest.mark.parametrize(("value", "reason"), BROKEN_ENTRIES.values(), ids=BROKEN_ENTRIES)
def test_a_broken_entry_point_is_one_line_and_only_when_it_is_used(install, value, reason):
    installed = install("toys", [f"toy = {value}"])
    assert installed.create("box", "here", {"width": 2}) == ("box", 2, 1.0)
    message = (
        rf"^a\.yaml: thing: thing 'toy' of distribution 'toys' cannot be imported from '{value}' \({reason}\); "
        rf"repair its entry point of group {GROUP}, or uninstall it$"
    )
    with pytest.raises(ConfigError, match=message):
        installed.create("toy", "a.yaml: thing", {})


@pytest.mark.parametrize(
    ("name", "first"), [("toy", "distribution 'toys'"), ("box", "quantbench")], ids=["two others", "ours"]
)
def test_a_name_that_is_given_twice_is_an_error_that_names_both(install, name, first):
    install("toys", ["toy = shelf.boxes:box"])
    installed = install("copies", [f"{name} = shelf.boxes:bag"])
    with pytest.raises(ConfigError) as refused:
        installed.names()
    told = str(refused.value)
    assert told.startswith(f"thing '{name}' is given twice: by ")
    assert all(each in told for each in (first, "distribution 'copies'", f"group {GROUP}; uninstall one, or rename"))


# Their own packages' alone: a distribution that is installed beside them is held to its own tests.
ENTRIES = [
    (kind, name) for kind, registry in ALL.items() if find_spec(f"quantbench.{kind}") for name in sorted(registry.table)
]
MADE = {"models": nn.Module, "data": Source, "recipes": Recipe, "backends": Backend}


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_entry_is_there_and_says_what_it_is(kind, name):
    registry = ALL[kind]
    entry = registry.get(name, "here")
    assert entry.__doc__, f"{name} has no docstring"
    assert registry.table[name].startswith(f"quantbench.{kind}.")
    assert registry.group == f"quantbench.{kind}"
    if kind in MADE:
        assert issubclass(typing.get_type_hints(entry)["return"], MADE[kind]), "its annotation says what it makes"


def modules_of(kind):
    package = importlib.import_module(f"quantbench.{kind}")
    return [
        importlib.import_module(each.name) for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]


def factories_in(module, made):
    """Its public functions that are annotated to make such things."""
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ == module.__name__ and not name.startswith("_"):
            try:
                returned = eval(str(function.__annotations__["return"]), vars(module))  # noqa: S307 — our own source
            except NameError:
                continue  # imported for the type checker alone, so that it is not made here
            if inspect.isclass(returned) and issubclass(returned, made) and "model" not in function.__annotations__:
                yield f"{module.__name__}:{name}"


@pytest.mark.parametrize("kind", MADE)
def test_no_factory_is_forgotten_and_nothing_registers_by_being_imported(kind):
    before = ALL[kind].names()
    found = {each for module in modules_of(kind) for each in factories_in(module, MADE[kind])}
    assert found == set(ALL[kind].table.values()), "a factory belongs into the table of quantbench/registry.py"
    assert ALL[kind].names() == before


def test_of_many_names_the_nearest_few_are_shown():
    known = [f"model_{i}/ptq_block{j}" for i in range(10) for j in range(5)]
    told = unknown_name("experiment", "model_3/ptq_blok4", known)
    assert told.startswith("unknown experiment 'model_3/ptq_blok4'. Did you mean 'model_3/ptq_block4'? Nearest of 50")
    assert told.count(", ") == 5
    assert len(told) < 250
