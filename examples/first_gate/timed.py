"""Times a stranger's first gate: init, run, accept, break, fail, blame, mend; the pair takes at most 90 s of a core."""

from __future__ import annotations

import argparse
import functools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import make_projects

REPOSITORY = Path(__file__).parents[2]
MOST_S = 90.0
PAIR, PACKAGE = "onnx_pair", "torch_package"
# The models take pictures in 0..1; a wrong guess would be refused.
UNIT = ["--name", "first", "--param", "mean=[0, 0, 0]", "--param", "std=[1, 1, 1]"]
INIT = {
    PAIR: ["init", "net.fp32.onnx", "net.int8.onnx", "--data", "images", "--ci", "github", *UNIT],
    PACKAGE: ["init", "their_pkg.net:make", "their_pkg.quant:quantize", "--weights", "weights.pt", *UNIT],
}
BREAK, MEND = True, False
EXPERIMENTS = {PAIR: "first/candidate", PACKAGE: "first/quantize"}


def steps(name: str) -> list[tuple[bool | None, list[str], tuple[int, ...]]]:
    """What follows `init` in a project.

    Returns:
        of each command: whether the quantized model is broken or mended before it, or left; its words; exit statuses
        that it may have.
    """
    experiment = EXPERIMENTS[name]
    return [
        (None, ["run"], (0,)),
        # A machine that is busy accepts no speed, and says so by status 1.
        (None, ["accept", experiment, "--reason", "Meant"], (0, 1)),
        (BREAK, ["run"], (1,)),
        (None, ["blame", experiment], (0,)),
        (MEND, ["run"], (0,)),
    ]


def main() -> None:
    """Goes through both projects, or through those that are named, in this environment or in a fresh one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("projects", nargs="*", metavar="PROJECT", help=f"of {', '.join(INIT)}; default: both")
    parser.add_argument("--fresh", action="store_true", help="in a virtual environment of its own")
    options = parser.parse_args()
    asked = list(dict.fromkeys(options.projects)) or list(INIT)
    if strange := [name for name in asked if name not in INIT]:
        parser.error(f"{strange[0]} is no project; name some of {', '.join(INIT)}")
    with tempfile.TemporaryDirectory(prefix="quantbench-first-gate-") as folder:
        root = Path(folder)
        python = fresh(root, asked) if options.fresh else Path(sys.executable)
        make_projects.make(root)
        program = [str(python), "-m", "quantbench"]
        for name in asked:
            before = used()
            gated(program, root / name, INIT[name], functools.partial(CHANGES[name], root / name))
            took = used() - before
            print(f"{name}: {took:.1f} s of processor time in all")
            if name == PAIR and took > MOST_S:
                sys.exit(f"{name}: more than {MOST_S:g} s")


def gated(program: list[str], folder: Path, init: list[str], change: Callable[[bool], object]) -> None:
    """One project from its first gate to a mended failure."""
    step(program, folder, init, 0)
    for what, arguments, expected in steps(folder.name):
        if what is not None:
            change(what is BREAK)
        step(program, folder, arguments, *expected)
    step([program[0], "-m"], folder, ["pytest", "--pyargs", "quantbench.claims", "-q"], 0)


def coarse(folder: Path, is_broken: bool) -> None:
    """Makes the package's quantizer mix up the colours, or puts it back."""
    path = folder / "their_pkg" / "quant.py"
    good, bad = "weight.copy_((weight / step).round() * step)", "weight.copy_(weight.roll(1, 0))"
    old, new = (good, bad) if is_broken else (bad, good)
    path.write_text(path.read_text().replace(old, new))


def step(program: list[str], folder: Path, arguments: list[str], *expected: int) -> None:
    """Runs a command, and ends with its output where its exit status is none that it should be."""
    began = time.perf_counter()
    done = subprocess.run([*program, *arguments], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    print(f"{time.perf_counter() - began:6.1f} s  {folder.name}: {' '.join(arguments)} → {done.returncode}", flush=True)
    if done.returncode not in expected:
        sys.exit(f"{done.stdout}\n{done.stderr}\n{folder.name}: expected {' or '.join(map(str, expected))}")


CHANGES: dict[str, Callable[[Path, bool], object]] = {PAIR: make_projects.pair, PACKAGE: coarse}


def fresh(root: Path, projects: list[str]) -> Path:
    """The interpreter of a virtual environment with the package in it, and what the projects need: torch is large."""
    extras = "onnxruntime,torch" if PACKAGE in projects else "onnxruntime"
    subprocess.run([sys.executable, "-m", "venv", str(root / "venv")], check=True)  # noqa: S603
    python = root / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", f"{REPOSITORY}[{extras}]"]
    subprocess.run(install, check=True)  # noqa: S603
    return python


def used() -> float:
    """Processor time of the commands so far, seconds."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


if __name__ == "__main__":
    main()
