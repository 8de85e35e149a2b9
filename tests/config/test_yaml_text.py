"""YAML of a workload file: few bytes stay few values, and whatever cannot be read is one line."""

import pytest
import yaml

from quantbench.config.reading import load_experiments, read_yaml
from quantbench.config.yaml_text import MOST_VALUES, parsed
from quantbench.errors import ConfigError

LEVELS = 12
WIDE = ", ".join(f"k{i}: {i}" for i in range(9))
MERGES = f"a0: &a0 {{{WIDE}}}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, LEVELS)
)
LISTS = "a0: &a0 [1, 2]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, LEVELS))


@pytest.mark.parametrize("text", [MERGES, LISTS], ids=["merge keys", "lists"])
def test_values_of_nested_aliases_are_counted_before_they_are_made(tmp_path, text):
    file = tmp_path / "bomb.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_yaml(file, "a workload file")
    assert str(error.value) == (
        f"{file}: line 5: not valid YAML: more than {MOST_VALUES:,} values, those of aliases counted each time"
    )


@pytest.mark.parametrize(
    "text", ['{"a\\e[31m": 1, "a\\e[31m": 2}', "!a%1Bb 1", '!!int "\\e[31m"', '!!timestamp "\\e[31m"']
)
def test_a_message_quotes_a_file_as_any_terminal_shows_it(tmp_path, text):
    file = tmp_path / "w.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_yaml(file, "a workload file")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: *a}", "&a {<<: *a}"])
def test_a_document_that_contains_itself_is_refused(text):
    with pytest.raises(yaml.YAMLError, match="an alias contains itself"):
        parsed(text)


def test_a_page_with_aliases_and_merge_keys_is_read():
    text = "defaults: &all {gates: {size_ratio: 3}}\na: {<<: *all, n: 1}\nb: [*all, *all]\n"
    expected = {"gates": {"size_ratio": 3}}
    assert parsed(text) == {"defaults": expected, "a": {**expected, "n": 1}, "b": [expected, expected]}
    assert parsed("") is None


WRONG = ['!!int ""', "2026-02-30", "!!timestamp x", "!!python/name:os.system", "!!float _", "!!binary é", "!!set x"]


@pytest.mark.parametrize("value", WRONG)
def test_a_value_that_cannot_be_made_is_one_line(tmp_path, value):
    file = tmp_path / "a.yaml"
    file.write_text(f"a: {value}\n")
    with pytest.raises(ConfigError) as error:
        read_yaml(file, "a workload file")
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{file}: ")
    assert "not valid YAML: " in line


def test_two_workloads_with_one_baseline_are_refused(tmp_path):
    text = (
        "{workload: {model: {name: cifar_cnn}, data: {name: shapes}, baseline: cnn}, "
        "experiments: {a: {recipe: {name: fp32_baseline}}}}"
    )
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_experiments(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}/two.yaml: workload.baseline: 'cnn' is the baseline of {tmp_path}/one.yaml too; give each workload "
        "one of its own"
    )
