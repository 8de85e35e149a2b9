"""What every pytest run, every listing and every check of a configuration pays: no import of torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "torchaudio", "matplotlib", "PIL")
LIST = """
import sys
from quantbench.cli import main
sys.argv = ["quantbench", "list"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
# Its statement is not the first of its interpreter, so that the package is there before pytest can rewrite it.
COLLECT = """
import pytest
QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
assert pytest.main(["bench", "--collect-only", "-q", "-p", "no:cacheprovider", *QUIET]) == 0
"""
CONFIGURATIONS = """
from pathlib import Path
from quantbench.config.reading import load_experiments
load_experiments(Path("configs"))
"""
STATEMENTS = {
    "the package": "import quantbench",
    "the plugin": "import quantbench.plugin",
    "the command line": "import quantbench.cli",
    "the committed configurations": CONFIGURATIONS,
    "quantbench list": LIST,
    "pytest bench --collect-only": COLLECT,
}  # fmt: skip
HEAVY_NOW = f"import sys; print('heavy after {{}}:', *[name for name in {HEAVY} if name in sys.modules])\n"


def told_by(statements: dict[str, str], *folders: Path) -> dict[str, str]:
    """Heavy modules that a new interpreter has imported after each of these statements, which it runs in order.

    Args:
        statements: by name; what one of them imports is told of those after it too.
        folders: searched for modules first.
    """
    code = "".join(f"{statement}\n{HEAVY_NOW.format(name)}" for name, statement in statements.items())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, folders), str(REPOSITORY)])}
    command = [sys.executable, "-c", code]
    child = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert child.returncode == 0, child.stdout + child.stderr
    lines = [line.removeprefix("heavy after ") for line in child.stdout.splitlines() if line.startswith("heavy after ")]
    return dict(line.split(":") for line in lines)


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    """Of all statements, in one interpreter, which takes a tenth of starting one for each."""
    return told_by(STATEMENTS)


@pytest.mark.parametrize("name", STATEMENTS)
def test_it_imports_nothing_heavy(told, name):
    assert told[name] == ""


def test_heavy_imports_would_be_seen(tmp_path):
    # In the place of torch, which takes seconds to import.
    (tmp_path / "torch.py").touch()
    assert told_by({"nothing": "", "torch": "import torch"}, tmp_path) == {"nothing": "", "torch": " torch"}
