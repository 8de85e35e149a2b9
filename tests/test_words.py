"""Docstrings open with a verb or noun of the field, never with a question word."""

import ast
from pathlib import Path

import pytest

import quantbench

PACKAGE = Path(quantbench.__file__).parent
QUESTION_WORDS = {"What", "Whatever", "Whether", "How", "Which", "Where", "Why", "Who", "Whoever", "Whose"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def questions(source, name):
    """`file:line` and first line of each docstring that opens with a question word."""
    found = []
    for node in ast.walk(ast.parse(source)):
        docstring = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
        if docstring and docstring.split(maxsplit=1)[0].rstrip(":,;.") in QUESTION_WORDS:
            found.append(f"{name}:{node.body[0].lineno}: {docstring.splitlines()[0]}")
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_docstring_opens_with_a_question_word(path):
    found = questions(path.read_text(encoding="utf-8"), path.relative_to(PACKAGE.parent))
    assert found == [], "say what it is or does: 'True if …', 'Path of …', 'Reads …'"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('"""Whether it is."""\n', 1),
        ('def f():\n    """What it gives, as text."""\n', 2),
        ('class A:\n    """Facts."""\n\n    def f(self):\n        """\n        How: by hand.\n        """\n', 5),
        ('async def f():\n    """Why."""\n', 2),
    ],
)
def test_a_docstring_that_does_is_named_by_its_place(source, line):
    (found,) = questions(source, "a.py")
    assert found.startswith(f"a.py:{line}: ")


@pytest.mark.parametrize("opening", ["True if it is.", "Whatsoever.", "Howitzers.", "Reads what is there."])
def test_other_words_are_accepted(opening):
    assert questions(f'"""{opening}"""\n', "a.py") == []
