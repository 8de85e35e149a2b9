"""What every pytest run, every listing and every check of a configuration pays: no import of torch."""

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
COLLECT = """
import pytest
assert pytest.main(["bench", "--collect-only", "-q", "-p", "no:cacheprovider"]) == 0
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
REPORT = f"\nimport sys; print('heavy:', *[name for name in {HEAVY} if name in sys.modules])"


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_it_imports_nothing_heavy(statement):
    command = [sys.executable, "-c", statement + REPORT]
    child = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert child.returncode == 0, child.stdout + child.stderr
    assert child.stdout.splitlines()[-1] == "heavy:"


def test_heavy_imports_would_be_seen():
    command = [sys.executable, "-c", "import quantbench.training.loop" + REPORT]
    child = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert "torch" in child.stdout.splitlines()[-1].split()
