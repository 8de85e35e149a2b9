"""JSON schema of workload files, generated from what checks them, for editors and for the page of all keys."""

from __future__ import annotations

import importlib.resources
import inspect
import json
import re
from collections.abc import Callable, Set
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from quantbench.config.instruction_sets import DEFAULT, INSTRUCTION_SETS
from quantbench.config.parity import GATE as PARITY
from quantbench.config.schema import (
    NAME_PATTERN,
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    LatencyConfig,
    ReferenceConfig,
    RegressionConfig,
    SearchConfig,
    WorkloadConfig,
)
from quantbench.config.training import TrainingConfig
from quantbench.recipes.lowering import ON_REQUEST, RUNTIMES
from quantbench.registry import BACKENDS, DATA, MODELS, QUANTITIES, RECIPES, TASKS, Factories

Schema = dict[str, Any]
FILE_NAME = "schema.json"
DRAFT = "http://json-schema.org/draft-07/schema#"
IMPORT_PATH = r"^[^:\s]+:[^:\s]+$"
# Parameters that the suite gives, of models by their data.
GIVEN = {"n_classes"}
_SECTION = re.compile(r"^(Args|Attributes):\n((?:[ \t]+.*\n|\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


class _Plain(GenerateJsonSchema):
    """Leaves out titles, which repeat names, and defaults that are no JSON."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> JsonSchemaValue:  # noqa: ARG002
        return {}


def generated_schema(installed: bool = False) -> Schema:
    """The schema, made from the classes, tables and factories that read workload files. Imports all of them.

    Args:
        installed: allow the names of other distributions' entry points too, as they are on this machine.
    """
    component = _Components(installed)
    workload = _fields(
        WorkloadConfig,
        model=component.of(MODELS, given=GIVEN),
        data=component.of(DATA, beside=DataConfig),
        task=component.or_name(TASKS),
        reference=_fields(
            ReferenceConfig, model=component.or_name(MODELS, given=GIVEN), backend=component.or_name(BACKENDS)
        ),
        training=_fields(TrainingConfig, patience={"type": ["integer", "null"], "minimum": 0}),
        evaluation=_fields(EvaluationConfig),
        latency=_fields(LatencyConfig),
        regression=_fields(RegressionConfig),
    )
    workload["properties"]["latency"]["properties"]["runtimes"]["items"] = {"enum": [*RUNTIMES, *ON_REQUEST]}
    weights: Schema = {"anyOf": [{"required": [key]} for key in ("model", "baseline", "training")]}
    workload["oneOf"] = [
        {"required": ["model", "baseline"], "not": {"required": ["reference"]}},
        {"required": ["reference"], "not": weights},
    ]
    experiment = _fields(
        ExperimentConfig,
        recipe=component.of(RECIPES),
        backend=component.or_name(BACKENDS),
        gates=_gates(),
        search=_fields(SearchConfig),
    )
    names = {"type": "string", "pattern": NAME_PATTERN}
    experiment["properties"]["parity_with"] = {
        **names,
        "description": experiment["properties"]["parity_with"].get("description", ""),
    }
    return {
        "$schema": DRAFT,
        "title": "Workload file of quantbench",
        "type": "object",
        "additionalProperties": False,
        "required": ["workload", "experiments"],
        "properties": {
            "workload": workload,
            "experiments": {
                "description": "Experiments by name; their ids are <file>/<name>.",
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": NAME_PATTERN},
                "additionalProperties": experiment,
            },
        },
    }


def schema_text() -> str:
    """The schema that is shipped with the package, as text; imports nothing."""
    return importlib.resources.files("quantbench.config").joinpath(FILE_NAME).read_text(encoding="utf-8")


def as_text(schema: Schema) -> str:
    """A schema as it is written."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


class _Components:
    """Schemas of names with parameters.

    Args:
        installed: names of entry points are among them.
    """

    def __init__(self, installed: bool) -> None:
        self._installed = installed

    def of(
        self,
        table: Factories[Any],
        beside: type[BaseModel] | None = None,
        given: Set[str] = frozenset(),
    ) -> Schema:
        """A mapping of a name of the table, or an import path, and the parameters that its factory takes."""
        shared = _fields(beside)["properties"] if beside else {}
        shared.pop("name", None)
        names = self._names(table)
        made = {name: _parameters(table.factory(name, name), shared, given) for name in table.table}
        cases = [{"if": {"properties": {"name": {"const": name}}}, "then": then} for name, then in made.items()]
        return {
            "type": "object",
            "required": ["name"],
            "properties": {"name": names},
            "allOf": cases,
        }

    def or_name(self, table: Factories[Any], given: Set[str] = frozenset()) -> Schema:
        """The same, or the name alone."""
        return {"if": {"type": "string"}, "then": self._names(table), "else": self.of(table, given=given)}

    def _names(self, table: Factories[Any]) -> Schema:
        names = table.names() if self._installed else list(table.table)
        described = f"A {table.kind} of the table, or the import path of one of your own (your.module:factory)."
        return {"description": described, "anyOf": [{"enum": names}, {"type": "string", "pattern": IMPORT_PATH}]}


def _fields(model: type[BaseModel], /, **own: Schema) -> Schema:
    """The keys of a part of a file, each described by the docstring of its class.

    Args:
        model: of the part.
        own: schemas that stand for those that pydantic makes.
    """
    made = model.model_json_schema(schema_generator=_Plain)
    told = described(model, "Attributes")
    properties: Schema = {}
    for key, field in model.model_fields.items():
        schema = own.get(key) or _without_null(made["properties"][key])
        if text := told.get(key):
            schema = {"description": text, **schema}
        if not field.is_required() and field.default is not None and _is_plain(field.default):
            schema = {**schema, "default": _as_json(field.default)}
        properties[key] = schema
    required = [key for key, field in model.model_fields.items() if field.is_required()]
    found: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**found, "required": required} if required else found


def _gates() -> Schema:
    """A key for each quantity that takes a bound, described by its class."""
    properties = {}
    for quantity in QUANTITIES.all():
        if quantity.bound is None or quantity.name not in QUANTITIES.table:
            continue
        text = _first_paragraph(inspect.getdoc(type(quantity)))
        properties[quantity.name] = {"description": text, **_bound(quantity.name, quantity.bound)}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _bound(name: str, annotation: Any) -> Schema:
    made = _without_null(_adapted(annotation))
    if name.startswith("speedup"):
        number = {"type": "number", "exclusiveMinimum": 0}
        sets = dict.fromkeys((DEFAULT, *INSTRUCTION_SETS), number)
        each = {"type": "object", "required": [DEFAULT], "additionalProperties": False, "properties": sets}
        return {"if": {"type": "object"}, "then": each, "else": number}
    if name == PARITY:
        # Beside `parity_with`, or by the name of the other experiment.
        number = {"type": "number", "minimum": -100, "maximum": 100}
        by_name = {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": number}
        return {"if": {"type": "object"}, "then": by_name, "else": number}
    return made


def _parameters(factory: Callable[..., Any], shared: Schema, given: Set[str]) -> Schema:
    """The parameters of a factory."""
    told, properties, required, takes_any = described(factory, "Args"), dict(shared), [], False
    for name, parameter in inspect.signature(factory, eval_str=True).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_any = True
            continue
        schema = {} if parameter.annotation is parameter.empty else _without_null(_adapted(parameter.annotation))
        if text := told.get(name):
            schema = {"description": text, **schema}
        if parameter.default is parameter.empty:
            required += [] if name in given else [name]
        elif parameter.default is not None and _is_plain(parameter.default):
            schema = {**schema, "default": _as_json(parameter.default)}
        properties[name] = schema
    found: Schema = {"properties": {"name": True, **properties}, "additionalProperties": takes_any}
    return {**found, "required": required} if required else found


def _adapted(annotation: Any) -> Schema:
    try:
        config = ConfigDict(arbitrary_types_allowed=True)
        made: Schema = TypeAdapter(annotation, config=config).json_schema(schema_generator=_Plain)
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeError):
        try:
            made = TypeAdapter(annotation).json_schema(schema_generator=_Plain)
        except Exception:
            return {}
    return made


def _without_null(schema: Schema) -> Schema:
    """A schema without the null of what may be left out, and without what draft 7 does not know."""
    found = {key: value for key, value in schema.items() if key not in ("default", "title", "$defs")}
    if isinstance(options := found.get("anyOf"), list):
        kept = [each for each in options if each != {"type": "null"}]
        rest = {key: value for key, value in found.items() if key != "anyOf"}
        found = {**rest, **kept[0]} if len(kept) == 1 else {**rest, "anyOf": kept}
    if isinstance(items := found.pop("prefixItems", None), list):
        found["items"] = items
    return found


def described(documented: Any, section: str) -> dict[str, str]:
    """Name → its words in a section of a docstring, in one line each.

    Args:
        documented: a class or function.
        section: `Args` or `Attributes`.
    """
    for title, body in _SECTION.findall(f"{inspect.getdoc(documented) or ''}\n"):
        if title == section:
            return {name: " ".join(words.split()) for name, words in _ENTRY.findall(body)}
    return {}


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | list | tuple)


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
