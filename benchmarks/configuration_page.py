"""The JSON schema of workload files and the page of all their keys, generated from what reads such files.

Both are made from the classes, tables and factories that read workload files; `tests/config/test_configuration_page.py`
compares what is committed with what they give.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantbench.config import json_schema
from quantbench.config.json_schema import FILE_NAME, Schema, as_text, generated_schema

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "configuration.md"
SCHEMA = Path(json_schema.__file__).with_name(FILE_NAME)
HEAD = """\
# Which keys has a workload file?

All of them, with their types, bounds and defaults, in the order in which a file has them. This page and the JSON schema
are generated from the code that reads workload files (`python benchmarks/configuration_page.py`).
`quantbench schema --out configs/quantbench.schema.json` writes the schema beside yours, and the first line
`# yaml-language-server: $schema=quantbench.schema.json` makes an editor complete and check the file (VS Code with the
YAML extension, JetBrains, Neovim). `quantbench init` writes both.

Names are those of `quantbench list`, or the import path of your own: `your.module:factory`
([what it may name](../SECURITY.md#what-a-workload-file-can-do)). Relative paths begin at the workload file.
"""


def page_text(schema: Schema) -> str:
    """The page."""
    workload = schema["properties"]["workload"]["properties"]
    experiment = schema["properties"]["experiments"]["additionalProperties"]["properties"]
    parts = [HEAD, "## workload", "", *_table(schema["properties"]["workload"])]
    parts += ["", "A workload has `model` and `baseline`, or `reference`."]
    for key in ("reference", "training", "evaluation", "latency", "regression"):
        parts += ["", f"### workload.{key}", "", *_table(workload[key])]
    parts += ["", "## workload.data", "", *_components(workload["data"])]
    parts += ["", "## workload.model", "", *_components(workload["model"])]
    parts += ["", "## workload.task", "", *_components(workload["task"]["else"])]
    parts += ["", "## experiments", "", "A mapping of names; the id of an experiment is `<file>/<name>`.", ""]
    parts += _table(schema["properties"]["experiments"]["additionalProperties"])
    parts += ["", "### experiments.….search", "", *_table(experiment["search"])]
    parts += [
        "",
        "## gates",
        "",
        "None is required; what has no gate is measured and shown.",
        "",
        *_table(experiment["gates"]),
    ]
    parts += ["", "## recipe", "", *_components(experiment["recipe"])]
    parts += ["", "## backend", "", *_components(experiment["backend"]["else"])]
    return "\n".join([*parts, ""])


def _components(schema: Schema) -> list[str]:
    """A table for each name, and of what all of them take once."""
    cases = {case["if"]["properties"]["name"]["const"]: case["then"] for case in schema["allOf"]}
    own = [set(case["properties"]) for case in cases.values()]
    shared = set.intersection(*own) - {"name"} if len(own) > 1 else set()
    lines = []
    if shared:
        first = next(iter(cases.values()))
        lines += ["With any name:", "", *_table(_only(first, shared)), ""]
    for name, case in cases.items():
        params = _only(case, set(case["properties"]) - shared - {"name"})
        more = " It takes any other parameter too." if case["additionalProperties"] is True else ""
        lines += [f"**`{name}`**{'' if params['properties'] else ' takes no parameter.'}{more}", ""]
        lines += [*_table(params), ""] if params["properties"] else []
    return lines[:-1]


def _only(schema: Schema, keys: set[str]) -> Schema:
    return {**schema, "properties": {key: value for key, value in schema["properties"].items() if key in keys}}


def _table(schema: Schema) -> list[str]:
    lines = ["| key | type | default | |", "| --- | --- | --- | --- |"]
    for key, value in schema["properties"].items():
        default = f"`{_plain(value['default'])}`" if "default" in value else ""
        required = " **required**" if key in schema.get("required", ()) else ""
        text = value.get("description", "").replace("|", "\\|")
        lines.append(f"| `{key}` | {_type(value)} | {default}{required} | {text} |")
    return lines


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("name", value))
    return "true" if value is True else "false" if value is False else str(value).replace("'", "")


def _type(schema: Schema) -> str:
    """A type in words, with its bounds."""
    if {"anyOf", "description"} <= schema.keys() and "enum" in schema["anyOf"][0]:
        return "name"
    if "if" in schema:
        # The shorter one first.
        return " or ".join(sorted((_type(schema["then"]), _type(schema["else"])), key=len))
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(each) for each in schema["anyOf"]))
    kind = schema.get("type", "any")
    kind = kind[0] if isinstance(kind, list) else kind
    words = {"integer": "whole number", "string": "text", "boolean": "true or false", "object": "mapping"}.get(
        kind, kind
    )
    if kind == "array":
        items = schema.get("items", {})
        words = f"list of {_type(items)}" if isinstance(items, dict) else f"list of {len(items)} {_type(items[0])}"
    if kind == "object" and "properties" not in schema and isinstance(schema.get("additionalProperties"), dict):
        words = f"mapping to {_type(schema['additionalProperties'])}"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in bounds.items() if key in schema]
    return " ".join([str(words), *limits])


if __name__ == "__main__":
    made = generated_schema()
    SCHEMA.write_text(as_text(made), encoding="utf-8")
    PAGE.write_text(page_text(made), encoding="utf-8")
    print(f"{SCHEMA}\n{PAGE}")
