"""What the pages name is there: modules and their attributes, files of the repository, and pages that they link to."""

import pkgutil
import re
import shlex
from pathlib import Path

import pytest
import typer

from quantbench.cli.app import app
from quantbench.plugin.options import OPTIONS, long_name

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "SECURITY.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
# Folders that hold code or configuration; others in a page belong to the user's project.
FOLDERS = "quantbench|bench|benchmarks|configs|tests|examples|docs"
FILE = re.compile(rf"(?<![\w/.$])(?:{FOLDERS})/[\w./-]+\.(?:py|yaml|md|toml)\b")
NAME = re.compile(r"(?<![\w./-])quantbench(?:\.[A-Za-z_]\w*)+(?![\w/-])")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
# Entry point groups, named like packages, and files of a user's project.
GROUPS = {f"quantbench.{group}" for group in ("models", "data", "tasks", "recipes", "backends", "quantities")}


def found(pattern, page):
    return sorted(set(pattern.findall(page.read_text(encoding="utf-8"))))


def is_there(name):
    """Tells whether a dotted name is a module or an attribute of one."""
    try:
        return pkgutil.resolve_name(name) is not None
    except (ImportError, AttributeError):
        return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_names_of_the_package_exist(page):
    names = [name for name in found(NAME, page) if name not in GROUPS and not name.endswith((".yaml", ".json"))]
    assert [name for name in names if not is_there(name)] == []


def test_a_name_that_is_gone_is_seen():
    assert is_there("quantbench.stats.paired.tango_interval")
    assert not is_there("quantbench.stats.tango_interval")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_the_repository_exist(page):
    absent = [name for name in found(FILE, page) if not (REPOSITORY / name).exists()]
    assert [name for name in absent if "my_" not in name] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages_and_pictures(page):
    assert [link for link in found(LINK, page) if not (page.parent / link).exists()] == []


# A line of a block, or a part of a sentence, that begins with a command; a comment behind it is none of it.
COMMAND = re.compile(r"(?:^ {4,}|^\$ |^|`)((?:quantbench|pytest) [^`\n#]*)", re.MULTILINE)
# Options of pytest and its plugins that pages name.
OF_PYTEST = {"-k", "-m", "-q", "-v", "-vv", "-n", "-p", "-x", "--pyargs", "--junitxml", "--durations", "--collect-only"}
OF_PYTEST |= {"--snapshot-update", "--deselect", "--lf", "--dist", "--pdb", "--package-coverage", "--benchmark-json"}
COMMANDS = typer.main.get_command(app).commands


def wrong_words(line):
    """Names and options of a command that do not exist."""
    try:
        words = shlex.split(line.replace("…", ""))
    except ValueError:
        # A sentence, or a command that goes on in the next line.
        words = line.split()
    program, *rest = words
    # An option's value may be given with it.
    options = [word.partition("=")[0] for word in rest if word.startswith("-") and not re.fullmatch(r"-+|-\d.*", word)]
    if program == "pytest":
        known = OF_PYTEST | set(OPTIONS) | {long_name(name) for name in OPTIONS}
        return [option for option in options if option not in known]
    if not rest or rest[0].startswith("-"):
        return [option for option in options if option not in ("--help", "--version", "--verbose", "--allow-import")]
    if rest[0] not in COMMANDS:
        return [rest[0]] if re.fullmatch(r"[a-z]+", rest[0]) else []
    known = {name for each in COMMANDS[rest[0]].params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    return [f"{rest[0]} {option}" for option in options if option not in known]


def commands(text):
    # What a command wrote tells the command as it was then.
    typed = re.sub(r"<!-- \w+: begin.*?: end", "", text, flags=re.DOTALL)
    return [found.strip() for found in COMMAND.findall(typed)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page):
    found = commands(page.read_text(encoding="utf-8"))
    assert {line: wrong for line in found if (wrong := wrong_words(line))} == {}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("quantbench run 'a/*' --json records.json", []),
        ("quantbench rum a/b", ["rum"]),
        ("quantbench run a/b --jsn x", ["run --jsn"]),
        ("pytest bench --experiment a/b --update-golden --reason '…'", []),
        ("pytest bench --update-goldens", ["--update-goldens"]),
    ],
)
def test_a_command_or_an_option_that_is_not_there_is_seen(line, wrong):
    assert commands(f"See:\n\n    {line}   # why\n") == [line]
    assert wrong_words(line) == wrong


def test_every_command_is_on_a_page():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in COMMANDS if f"quantbench {name}" not in text] == []


def test_the_readme_is_short_and_every_page_is_in_the_index():
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").split()) <= 500
    index = (REPOSITORY / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [page.name for page in PAGES if page.parent.name == "docs" and page.name != "index.md"]
    assert [name for name in pages if f"({name})" not in index] == []


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_an_editor_finds_the_schema_of_a_workload_file_by_its_first_line(path):
    found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", path.read_text(encoding="utf-8").splitlines()[0])
    assert found is not None
    assert (path.parent / found[1]).is_file()


@pytest.mark.parametrize("page", PAGES[3:], ids=lambda page: page.name)
def test_the_title_of_a_page_is_the_question_that_it_answers(page):
    assert page.read_text(encoding="utf-8").splitlines()[0].endswith("?")
