"""Every command of a page is run: the quick ones here, others by hand; what cannot be is named with its place."""

import re
import shlex

import pytest
from page_commands import KEPT, commands_of, elsewhere, files_of, is_as_told, kept, name_of, pages, run_page
from page_scenes import ELSEWHERE, REPOSITORY, SCENES

NAMES = [name_of(page) for page in pages()]
# Whose commands run in this process, on times that are made, in a few seconds.
QUICK = ["README.md", "docs/first-gate.md", "docs/ci.md", "docs/blame.md", "docs/compare.md", "docs/report.md"]
AGAIN = "python benchmarks/page_commands.py {}"


def typed(name):
    return commands_of((REPOSITORY / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_a_page_was_run_as_it_stands_there_or_is_named_with_its_place(name):
    here = [command for command in typed(name) if elsewhere(name, command) is None]
    assert [row.command for row in kept().get(name, [])] == here, f"run them: {AGAIN.format(name)}"


@pytest.mark.parametrize("name", sorted(kept()))
def test_every_command_ended_as_its_page_says(name):
    assert [row for row in kept()[name] if not is_as_told(name, row)] == []


def test_what_is_kept_and_what_is_named_belongs_to_pages_that_are_there():
    assert sorted(set(kept()) - set(NAMES)) == []
    assert sorted(set(SCENES) - set(NAMES)) == []
    idle = [row for row in ELSEWHERE if not any(elsewhere(name, each) == row for name in NAMES for each in typed(name))]
    assert idle == [], "rows of the table that no page has"
    assert [row.place for row in ELSEWHERE if not (REPOSITORY / row.place.partition(" ")[0]).exists()] == []


def test_scripts_that_measure_a_table_are_there():
    scripts = {found for name in NAMES for each in typed(name) for found in re.findall(r"benchmarks/\w+\.py", each)}
    assert len(scripts) > 20
    assert [script for script in sorted(scripts) if not (REPOSITORY / script).exists()] == []


@pytest.mark.parametrize("name", QUICK)
def test_quick_commands_run_now_in_the_order_of_their_page(name, tmp_path, monkeypatch, machine, quantbench):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    ran, failures = [], []

    def run(command, folder):
        program, *words = shlex.split(command.partition("\n")[0])
        if program != "quantbench":
            return 0, ""
        ran.append(command)
        monkeypatch.chdir(folder)
        status, out, err = quantbench(*words)
        return status, out + err

    (tmp_path / "page").mkdir()
    run_page(REPOSITORY / name, tmp_path / "page", run, failures.append)
    assert failures == []
    assert ran


PAGE = """\
# A page

    quantbench run 'a/*' --json x.json   # why
    a figure of a program

In a list:

```python
# my_package/quantize.py
quantbench = 1
```

```yaml
steps:
  - run: quantbench gates
script:
    - pip install x
```

```sh
pip install y
quantbench run || status=$?
exit $status
```

    pytest bench \\
        --real-data

<!-- table: begin -->
    quantbench train old
<!-- table: end -->

`python benchmarks/kills.py` (3 minutes) and `quantbench run`, a name:
"""


def test_commands_are_lines_of_blocks_scripts_and_what_made_a_table():
    assert commands_of(PAGE) == [
        "quantbench run 'a/*' --json x.json",
        "quantbench gates",
        "pip install x",
        "pip install y",
        "quantbench run || status=$?\nexit $status",
        "pytest bench --real-data",
        "python benchmarks/kills.py",
    ]
    assert files_of(PAGE) == {"my_package/quantize.py": "# my_package/quantize.py\nquantbench = 1\n"}


def test_a_new_command_of_a_page_is_neither_run_nor_named():
    assert elsewhere("docs/report.md", "quantbench run 'a/*'") is None
    assert elsewhere("docs/report.md", "pip install quantbench-suite") is not None
    assert "quantbench run 'a/*'" not in {row.command for row in kept()["docs/report.md"]}


def test_a_command_that_ends_otherwise_is_told_with_the_end_of_its_output(tmp_path, monkeypatch):
    page = REPOSITORY / "docs" / "report.md"
    monkeypatch.setitem(SCENES, "docs/report.md", lambda root, _: root)
    failures = []
    outcomes = run_page(page, tmp_path, lambda command, _: (2 * ("--html" in command), "one\ntwo"), failures.append)
    assert [row.command for row in outcomes] == [row.command for row in kept()["docs/report.md"]]
    assert failures[0] == "docs/report.md: quantbench report records.json --html report.html: ended with 2\none\ntwo"
    assert [row.status for row in outcomes].count(2) == len(failures) == 2


def test_the_table_is_kept_with_the_results():
    assert KEPT.is_file()
