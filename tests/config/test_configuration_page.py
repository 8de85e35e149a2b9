"""The page of all keys is what the schema says."""

import json

import configuration_page

from quantbench.config.json_schema import schema_text


def test_the_page_of_all_keys_is_what_the_schema_says():
    made = configuration_page.page_text(json.loads(schema_text()))
    assert configuration_page.PAGE.read_text(encoding="utf-8") == made, "python benchmarks/configuration_page.py"


def test_every_key_of_ours_has_words():
    def without(schema, place):
        for key, value in schema.get("properties", {}).items():
            if value is not True and not value.get("description"):
                yield f"{place}.{key}"
            if isinstance(value, dict):
                yield from without(value, f"{place}.{key}")

    schema = json.loads(schema_text())
    experiment = schema["properties"]["experiments"]["additionalProperties"]
    found = [*without(schema["properties"]["workload"], "workload"), *without(experiment, "experiments")]
    # What these are follows from their table.
    assert [name for name in found if not name.endswith(".name")] == []
