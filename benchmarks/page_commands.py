"""Runs every command of the pages in page order, and keeps what each ended with: command → status, seconds.

    python benchmarks/page_commands.py                 # all pages
    python benchmarks/page_commands.py docs/ci.md      # some of them

Each page has a folder of its own, a scratch project or a clone of the repository (`page_scenes.py`). What is not run
here is named there, with the reason and the place where it is run. `tests/test_page_commands.py` holds that every
command of every page is in the one or in the other.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from page_scenes import ELSEWHERE, EXPECTED, SCENES, Elsewhere

REPOSITORY = Path(__file__).parents[1]
KEPT = REPOSITORY / "docs" / "results" / "page_commands.json"
PROGRAMS = ("quantbench", "pytest", "python", "pip", "make", "git", "export", "cd")
# Sections that a command wrote tell the command as it was then.
GENERATED = re.compile(r"<!-- \w+: begin.*?: end -->", re.DOTALL)
COMMENT = re.compile(r"\s+#\s.*$")
# Commands of a sentence that made a table of the page; others in a sentence are names.
MAKES_A_TABLE = re.compile(r"`(python (?:benchmarks/|-m )[^`]+|make [^`]+)`")
FILE_NAME = re.compile(r"# ([\w/.-]+\.(?:py|yaml))$")
LAST_LINES = 15


@dataclass(frozen=True)
class Block:
    """An indented or a fenced block.

    Attributes:
        language: of the fence; empty for an indented block.
        lines: without the indentation.
    """

    language: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """One command that was run.

    Attributes:
        command: as the page has it, without its comment.
        status: exit status.
        seconds: it took.
    """

    command: str
    status: int
    seconds: float


# Runs a command in a folder: exit status, and what it wrote.
Run = Callable[[str, Path], tuple[int, str]]


def pages() -> list[Path]:
    """README and all pages, without generated ones."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def name_of(page: Path) -> str:
    """Path of a page within the repository."""
    return page.relative_to(REPOSITORY).as_posix()


def blocks_of(text: str) -> Iterator[Block]:
    """Blocks of a page in their order; generated sections are no part of it."""
    language: str | None = None
    taken: list[str] = []
    before = ""
    for line in [*GENERATED.sub("", text).splitlines(), ""]:
        fence = re.match(r"```(\w*)$", line)
        if language is not None and language != "" and not fence:
            taken.append(line)
        elif fence and language is None:
            language, taken = fence[1] or "none", []
        elif fence:
            yield Block(language or "", tuple(taken))
            language = None
        elif line.startswith("    ") and (language == "" or not before.strip()):
            taken = [*taken, line[4:]] if language == "" else [line[4:]]
            language = ""
        elif language == "":
            yield Block("", tuple(taken))
            language = None
        before = line


def commands_of(text: str) -> list[str]:
    """Commands of a page in their order: lines of blocks, shell scripts, and what made a table of the page.

    Example:
        >>> commands_of("See:\\n\\n    quantbench run   # all\\n\\n`python benchmarks/kills.py` (3 minutes):\\n")
        ['quantbench run', 'python benchmarks/kills.py']
    """
    found = [command for block in blocks_of(text) for command in _commands(block)]
    made = MAKES_A_TABLE.findall(GENERATED.sub("", text).replace("\n", " "))
    return list(dict.fromkeys([*found, *made]))


def _commands(block: Block) -> list[str]:
    if block.language == "sh":
        installs = [line for line in block.lines if line.startswith("pip ")]
        script = "\n".join(line for line in block.lines if line not in installs)
        return [*installs, script]
    if block.language == "yaml":
        # Of a workflow; `- run:` of GitHub, and the items of a script of GitLab.
        found = [re.match(r"\s*- (?:run: )?((?:quantbench|pip) .*)", line) for line in block.lines]
        return [each[1] for each in found if each]
    if block.language:
        return []
    lines = "\n".join(block.lines).replace("\\\n", " ").splitlines()
    typed = [re.sub(r" +", " ", COMMENT.sub("", line)).strip() for line in lines]
    return [line for line in typed if line.partition(" ")[0] in PROGRAMS]


def files_of(text: str) -> dict[str, str]:
    """Content of the files that blocks name in their first line, by path."""
    named = [(FILE_NAME.match(block.lines[0]), block) for block in blocks_of(text) if block.language and block.lines]
    return {found[1]: "\n".join(block.lines) + "\n" for found, block in named if found}


def elsewhere(page: str, command: str) -> Elsewhere | None:
    """The row of a command that is not run here, or None."""
    rows = (row for row in ELSEWHERE if (row.page in (page, "*")) and re.match(row.commands, command))
    return next(rows, None)


def is_as_told(page: str, outcome: Outcome) -> bool:
    """True where a command ended as the page promises."""
    return outcome.status in EXPECTED.get((page, outcome.command), (0,))


def run_page(page: Path, root: Path, run: Run, told: Callable[[str], object]) -> list[Outcome]:
    """Runs the commands of a page in a new folder below `root`.

    Args:
        page: its path.
        root: an empty folder.
        run: runs one command.
        told: is given the end of the output of a command that ended otherwise than the page says.
    """
    text, name = page.read_text(encoding="utf-8"), name_of(page)
    typed = [command for command in commands_of(text) if elsewhere(name, command) is None]
    if not typed:
        return []
    if name not in SCENES:
        sys.exit(f"{name}: has no scene to run in; name one in SCENES of benchmarks/page_scenes.py")
    folder = SCENES[name](root, run)
    for path, content in files_of(text).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")
    outcomes = []
    for command in typed:
        began = time.perf_counter()
        if command.startswith("cd "):
            folder, status, output = folder / command[3:], int(not (folder / command[3:]).is_dir()), ""
        else:
            status, output = run(command, folder)
        outcomes.append(Outcome(command, status, round(time.perf_counter() - began, 1)))
        if not is_as_told(name, outcomes[-1]):
            told("\n".join([f"{name}: {command}: ended with {status}", *output.splitlines()[-LAST_LINES:]]))
    return outcomes


def in_shell(command: str, folder: Path) -> tuple[int, str]:
    """Runs a command as a shell does: exit status, and both streams."""
    source = folder if (folder / "quantbench").is_dir() else REPOSITORY
    surroundings = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(map(str, (source, folder))),
    }
    for name in ("CI", "GITHUB_STEP_SUMMARY"):
        surroundings.pop(name, None)
    shell = ["bash", "-c", command]
    done = subprocess.run(shell, cwd=folder, env=surroundings, capture_output=True, text=True, check=False)  # noqa: S603
    return done.returncode, done.stdout + done.stderr


def kept() -> dict[str, list[Outcome]]:
    """Outcomes of the last run of each page."""
    content = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    return {page: [Outcome(**row) for row in rows] for page, rows in content.items()}


def main() -> None:
    """Runs the pages that are named, or all, prints the table, and keeps it where all is as the pages say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="default: all")
    asked = [page.resolve() for page in parser.parse_args().pages] or pages()
    failures: list[str] = []
    outcomes = kept()
    for page in asked:
        name = name_of(page)
        with tempfile.TemporaryDirectory(prefix="quantbench-page-") as folder:
            found = run_page(page, Path(folder), in_shell, failures.append)
        for row in found:
            print(f"{name}: {row.command} → {row.status}, {row.seconds} s", flush=True)
        outcomes.pop(name, None)
        if found:
            outcomes[name] = found
        rows = {each: [asdict(row) for row in outcomes[each]] for each in sorted(outcomes)}
        KEPT.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for each in ELSEWHERE:
        print(f"not run here: {each.page}: {each.commands}: {each.reason}; {each.place}")
    if failures:
        sys.exit("\n\n".join(failures))


if __name__ == "__main__":
    main()
