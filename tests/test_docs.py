"""What the pages name is there: modules and their attributes, files of the repository, and pages that they link to."""

import pkgutil
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
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
