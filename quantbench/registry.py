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
import reprlib
import sys
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, PydanticUndefinedAnnotation, PydanticUserError, ValidationError, validate_call

from quantbench.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])
# What was given is quoted in messages; a whole document in the place of a number must not fill the terminal.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlevel = 2


# More names than this are not read; the nearest few are shown instead.
MOST_NAMES, NEAREST_NAMES = 36, 6


def unknown_name(what: str, name: str, known: list[str]) -> str:
    """The message for a name that does not exist: nearest match first, then what is allowed, if not too much."""
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    if len(known) > MOST_NAMES:
        likest = difflib.get_close_matches(name, known, n=NEAREST_NAMES, cutoff=0.0)
        return f"unknown {what} '{name}'.{hint} Nearest of {len(known)} known: {', '.join(likest)}"
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
        root = Path(spec.submodule_search_locations[0])
        for path in sorted(root.rglob("*.py")):
            here = ".".join((self.package, *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
            for name in _declared_names(path):
                if name in found:
                    raise ConfigError(f"{self.kind} '{name}' is registered twice: {found[name]} and {here}")
                found[name] = here
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

    def create(self, name: str, where: str, params: dict[str, Any], beside: Iterable[str] = ()) -> Any:
        """Calls the factory with checked parameters.

        Args:
            name: the entry.
            where: the place of the parameters, for messages.
            params: what the factory is called with.
            beside: keys that the caller takes out of the same place, named among those that are allowed there.

        Raises:
            ConfigError: one line per parameter that is unknown, of a wrong type or out of range.
        """
        factory = self.factory(name, where)
        accepted = inspect.signature(factory).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
        unknown = sorted(set(params) - set(accepted))
        if unknown and not takes_any:
            known = sorted({*accepted, *beside})
            raise ConfigError(f"{where}: {unknown_name(f'parameter of {self.kind} {name!r}:', unknown[0], known)}")
        checked = _checked(factory)
        try:
            if checked is factory:
                inspect.signature(factory).bind(**params)
        except TypeError as error:
            raise ConfigError(f"{where}: {self.kind} '{name}': {error}") from None
        try:
            return checked(**params)
        except ValidationError as error:
            raise ConfigError("\n".join(validation_lines(error, where, "."))) from None
        except ValueError as error:
            # A factory's own word on parameters that are fine one by one and do not fit together.
            raise ConfigError(f"{where}: {self.kind} '{name}' refuses these parameters: {error}") from None


def validation_lines(error: ValidationError, where: str, joint: str = ": ") -> list[str]:
    """One line per mistake that pydantic found: place, what is wrong, what was given.

    Args:
        error: what pydantic raised.
        where: begins every line.
        joint: between `where` and the place below it: `.` where `where` is itself a place in a file.
    """
    lines = []
    for item in error.errors(include_url=False):
        place = joint.join(part for part in (where, ".".join(str(part) for part in item["loc"])) if part)
        given = "" if item["type"].startswith("missing") else f" (given: {_SHORT.repr(item['input'])})"
        # pydantic would name a class of ours, which says nothing to who writes the file.
        message = "Input should be a mapping of keys to values" if item["type"] == "model_type" else item["msg"]
        lines.append(f"{place}: {message}{given}")
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


def _checked(factory: Callable[..., Any]) -> Callable[..., Any]:
    """The factory with its annotations enforced, or as it is where pydantic cannot: a class, types it cannot read."""
    try:
        return validate_call(config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))(factory)
    except (PydanticUserError, PydanticUndefinedAnnotation):
        return factory


def _import_factory(name: str, where: str) -> Callable[..., Any]:
    module_name, _, attribute = name.partition(":")
    # As `python -m` does: a module beside the configuration is found however the program was started.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
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
