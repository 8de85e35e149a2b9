"""Every example in a docstring of the package runs, and what users call, name or derive from has one."""

import doctest
import importlib
from inspect import getdoc
from pathlib import Path

import pytest

import quantbench
from quantbench.registry import BACKENDS, DATA, MODELS, RECIPES, TASKS

PACKAGE = Path(quantbench.__file__).parent
PROMPT = ">>> "
# Shown in the module that gives them: they are torch's own.
STUBS = {"QuantStub", "DeQuantStub", "FloatFunctional"}
EXPORTS = [f"quantbench:{name}" for name in quantbench.__all__ if name not in STUBS]
# What extensions and scripts import beside the exports.
PUBLIC = (
    "backends.interface:BackendSpec",
    "backends.interface:Coverage",
    "backends.interface:ModelSource",
    "backends.module:ModulePredictor",
    "config.schema:Gates",
    "data.source:Arrays",
    "data.source:Normalization",
    "experiment.run:Run",
    "measure.evaluation:evaluate",
    "recipes.spec:Quantizer",
    "recipes.spec:describe",
    "registry:Factories",
    "registry:Registry",
    "stats.intervals:Interval",
    "stats.proportions:wilson_interval",
    "stats.ratios:order_statistic_interval",
    "stats.sequential:Looks",
    "stats.speed:Speedup.of",
    "tasks.top1:Top1",
)
# Every name that a workload file can give, so that a new entry of a table has one too.
ENTRIES = [entry for table in (MODELS, DATA, TASKS, RECIPES, BACKENDS) for entry in table.table.values()]


def modules_with_examples():
    """Dotted names of the modules whose text has a prompt."""
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if PROMPT in path.read_text(encoding="utf-8")]
    names = (".".join(("quantbench", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in paths)
    return [name.removesuffix(".__init__") for name in names]


def docstring_of(place):
    """The docstring of `module:attribute`, the attribute itself possibly of a class."""
    module, _, attribute = place.partition(":")
    found = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return getdoc(found)


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_run(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted, "its prompts are in no docstring"
    assert not found.failed


@pytest.mark.parametrize("place", [*EXPORTS, *(f"quantbench.{name}" for name in PUBLIC), *ENTRIES])
def test_what_users_name_has_an_example(place):
    docstring = docstring_of(place)
    assert "Example:\n" in docstring
    assert PROMPT in docstring


def test_the_stubs_that_models_take_are_shown_in_the_module_that_gives_them():
    docstring = importlib.import_module("quantbench.models.quantizable").__doc__
    assert all(f"{name}()" in docstring for name in STUBS)


def test_an_example_that_does_not_hold_is_a_failure(tmp_path, monkeypatch, capsys):
    (tmp_path / "wrong_example.py").write_text('"""Sum.\n\n>>> 1 + 1\n3\n"""\n')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError):
        test_the_examples_of_a_module_run("wrong_example")
    assert "Expected:" in capsys.readouterr().out
