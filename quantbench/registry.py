"""Named entries, found without importing them.

A registry knows its names from the source text of its package (`@REGISTRY.register("name")`), so that listing, checking
a configuration and collecting tests cost no import of torch; `create` then imports the one module that it needs.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError, validate_call

from quantbench.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])


def unknown_name(what: str, name: str, known: list[str]) -> str:
    """The message for a name that does not exist: nearest match first, then everything that is allowed."""
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return f"unknown {what} '{name}'.{hint} Known: {', '.join(known) or '(none)'}"


class Registry:
    """Factories of one kind, one decorator each, below one package.

    Args:
        kind: what an entry is called in messages, for example `model`.
        package: the package whose modules hold the entries.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._factories: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[F], F]:
        """Registers the decorated factory under `name`.

        Raises:
            ConfigError: if another factory already has that name.
        """

        def add(factory: F) -> F:
            if name in self._factories:
                raise ConfigError(f"{self.kind} '{name}' is registered twice: {factory.__module__}")
            self._factories[name] = factory
            return factory

        return add

    @cached_property
    def _modules(self) -> dict[str, str]:
        """Maps each declared name to the module that declares it, from source text alone."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.submodule_search_locations is None:
            raise ConfigError(f"{self.package} is not a package")
        found: dict[str, str] = {}
        for module in pkgutil.iter_modules(spec.submodule_search_locations):
            path = Path(spec.submodule_search_locations[0], f"{module.name}.py")
            if path.is_file():
                for name in _declared_names(path):
                    found[name] = f"{self.package}.{module.name}"
        return found

    def names(self) -> list[str]:
        """Every registered name, sorted; imports nothing."""
        return sorted({*self._modules, *self._factories})

    def check(self, name: str, where: str) -> None:
        """Raises ConfigError, prefixed by `where`, unless `name` is registered or of the form `module:attribute`."""
        if ":" not in name and name not in self.names():
            raise ConfigError(f"{where}: {unknown_name(self.kind, name, self.names())}, or 'your.module:factory'")

    def factory(self, name: str, where: str) -> Callable[..., Any]:
        """The factory of that name, imported now; `your.module:factory` reaches outside the package."""
        self.check(name, where)
        if ":" in name:
            return _import_factory(name, where)
        if name not in self._factories:
            importlib.import_module(self._modules[name])
        return self._factories[name]

    def create(self, name: str, where: str, params: dict[str, Any]) -> Any:
        """Calls the factory with checked parameters.

        Raises:
            ConfigError: one line per parameter that is unknown, of a wrong type or out of range.
        """
        factory = self.factory(name, where)
        unknown = sorted(set(params) - set(inspect.signature(factory).parameters))
        if unknown:
            known = sorted(inspect.signature(factory).parameters)
            raise ConfigError(f"{where}: {unknown_name(f'parameter of {self.kind} {name!r}', unknown[0], known)}")
        checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True, strict=False))(factory)
        try:
            return checked(**params)
        except ValidationError as error:
            raise ConfigError("\n".join(validation_lines(error, where))) from None


def validation_lines(error: ValidationError, where: str) -> list[str]:
    """One line per mistake that pydantic found: place, what is wrong, what was given."""
    lines = []
    for item in error.errors(include_url=False):
        place = ".".join(str(part) for part in item["loc"])
        given = "" if item["type"] == "missing" else f" (given: {item['input']!r})"
        lines.append(f"{where}: {place}: {item['msg']}{given}" if place else f"{where}: {item['msg']}{given}")
    return lines


def _declared_names(path: Path) -> list[str]:
    """The constant first arguments of every `….register("name")` decorator in a source file."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return [
        decorator.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr == "register"
        and decorator.args
        and isinstance(decorator.args[0], ast.Constant)
        and isinstance(decorator.args[0].value, str)
    ]


def _import_factory(name: str, where: str) -> Callable[..., Any]:
    module_name, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where}: cannot import '{name}': {error}") from None
    if not callable(factory):
        raise ConfigError(f"{where}: '{name}' is not callable; name a class or a function that returns a model")
    return factory  # type: ignore[no-any-return]


MODELS = Registry("model", "quantbench.models")
DATA = Registry("data set", "quantbench.data")
RECIPES = Registry("recipe", "quantbench.recipes")
BACKENDS = Registry("backend", "quantbench.backends")
