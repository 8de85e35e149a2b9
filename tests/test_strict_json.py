"""JSON is read within bounds: one value for each key, finite numbers, so many levels and values, and no others."""

import json

import pytest

from quantbench import strict_json
from quantbench.strict_json import JsonError, parse, read_json_value

REFUSED = {
    "NaN": (b'{"a": [{"b": NaN}]}', "a.0.b: NaN is no finite number, or has more than 20 digits"),
    "infinity": (b"[-Infinity]", "0: -Infinity is no finite number, or has more than 20 digits"),
    "a huge exponent": (b'{"x": 1e999}', "x: 1e999 is no finite number, or has more than 20 digits"),
    "a number that becomes zero": (b"1e-999", "1e-999 is no finite number, or has more than 20 digits"),
    "too many digits": (b"1" * 5000, f"{'1' * 60}… is no finite number, or has more than 20 digits"),
    "a key twice": (b'{"n": 8, "m": 1, "n": 9}', "the key 'n' is given twice"),
    "lists in lists": (b"[" * 65 + b"]" * 65, "nested too deeply"),
    "far deeper": (b"[" * 100_000, "nested too deeply"),
    "mappings in mappings": (b'{"a":' * 65 + b"1" + b"}" * 65, "nested too deeply"),
    "half a character": (b'["\\ud800"]', "holds half a character (a lone surrogate)"),
    "a place that cannot be printed": (
        b'{"\\u0000\\n": NaN}',
        r"\x00\n: NaN is no finite number, or has more than 20 digits",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_no_file_of_ours_holds_is_refused_in_one_line(text, message):
    with pytest.raises(JsonError) as refused:
        parse(text)
    assert str(refused.value) == message


@pytest.mark.parametrize("text", [b"", b'{"a": 1', b"\xff\xfe\0", b"<<<<<<< HEAD\n{}", b"01", b"{'a': 1}"])
def test_what_is_no_json_is_refused_with_its_place(text):
    with pytest.raises(JsonError, match=r"^not valid JSON \(.*\)$"):
        parse(text)


@pytest.mark.parametrize("value", [None, 1, -0.0, 1e-300, "é×", [], {}, {"a": [1, {"b": 2.5}], "c": True}, 2**64 - 1])
def test_what_is_read_is_what_was_written(value):
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps([value] * 3, indent=1).encode()) == [value] * 3


def test_sixty_four_levels_are_read():
    assert parse(b"[" * 64 + b"]" * 64) is not None


def test_more_values_than_any_file_has_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(strict_json, "MAX_VALUES", 1000)
    with pytest.raises(JsonError, match=r"holds more than 1,000 values"):
        parse(b"[" + b"{}," * 1000 + b"{}]")


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    (tmp_path / "a.json").write_text(" " * 100 + "1")
    with pytest.raises(OSError, match="is larger than 100 bytes"):
        read_json_value(tmp_path / "a.json", most=100)
    assert read_json_value(tmp_path / "a.json", most=101) == 1


def test_names_of_files_may_be_of_any_bytes_where_that_is_asked_for():
    assert parse(b'["\\udcff.png"]', any_name=True) == ["\udcff.png"]
    with pytest.raises(JsonError, match="half a character"):
        parse(b'["\\udcff.png"]')
