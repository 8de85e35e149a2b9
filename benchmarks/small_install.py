"""How small is an installation without torch, and does it gate files? `python benchmarks/small_install.py` (3 minutes).

Builds the wheel, installs it with the extra `onnxruntime` into a fresh environment, by pip from the registry, quantizes
a file of ONNX there, gates it by a workload file twice, accepts in between, and compares the two files by one command.
Prints how large the environment is and how long its commands take, beside those of the environment that runs this
script, in turns. Ends with status 1 where a command does not give what it should. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

from quantbench.measure.environment import environment

REPOSITORY = Path(__file__).parents[1]
MEBIBYTE = 1 << 20
SHOWN = 8
MAKE = """
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
from pathlib import Path
from PIL import Image

random = np.random.RandomState(0)
for side, n in (("train", 30), ("test", 50)):
    for label, name in enumerate(("blue", "green", "red")):
        folder = Path("images", side, name)
        folder.mkdir(parents=True)
        for i in range(n):
            pixels = random.randint(60, 196, (32, 32, 3))
            pixels[..., label] += random.randint(5, 60)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
weight = numpy_helper.from_array(np.eye(3, dtype=np.float32)[:, :, None, None], "weight")
nodes = [
    helper.make_node("Conv", ["x", "weight"], ["a"], "conv"),
    helper.make_node("GlobalAveragePool", ["a"], ["b"], "pool"),
    helper.make_node("Flatten", ["b"], ["logits"], "flatten"),
]
given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])]
logits = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])]
graph = helper.make_graph(nodes, "colours", given, logits, [weight])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
onnx.save(model, "fp32.onnx")
Path("configs").mkdir()
"""
CONFIG = """\
workload:
  reference: {path: ../fp32.onnx}
  data: {name: image_folder, root: ../images, size: 32, calibration_pool: 60}
  latency: {batch_size: 4, rounds: 12}
experiments:
  int8:
    recipe: {name: static_int8, calibration_n: 32}
    backend: onnxruntime
    gates: {accuracy_drop_pp: 5.0, int8_share: 0.5}
"""
IMPORT = "import time; t = time.perf_counter(); import quantbench; print(time.perf_counter() - t)"
# The network compares channels as they are.
STATISTICS = ("--param", "mean=[0.0, 0.0, 0.0]", "--param", "std=[1.0, 1.0, 1.0]")
COMPARE = ("compare", "fp32.onnx", "int8.onnx", "--data", "images", "--max-drop", "5", *STATISTICS)
GATE = ("--pyargs", "quantbench.claims", "-q", "-p", "no:cacheprovider", "-k", "not speedup")


class Environment:
    """An interpreter with the package, and a cache of its own.

    Args:
        python: its interpreter.
        folder: of the project, which is the current one of its commands.
        cache: of decoded data and artifacts.
    """

    def __init__(self, python: Path, folder: Path, cache: Path) -> None:
        self.python, self.folder, self.cache = python, folder, cache

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the interpreter with arguments, to its end."""
        kept = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTHONPATH")}
        if self.python == Path(sys.executable):
            kept["PYTHONPATH"] = str(REPOSITORY)
        environment = {**kept, "QUANTBENCH_CACHE": str(self.cache)}
        command = [str(self.python), *arguments]
        return subprocess.run(  # noqa: S603 — our own arguments
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def checked(self, *arguments: str) -> str:
        """Standard output of a command that must succeed."""
        done = self.run(*arguments)
        if done.returncode:
            print(f"{' '.join(arguments)[:200]}: status {done.returncode}\n{done.stdout}{done.stderr}", file=sys.stderr)
            sys.exit(1)
        return done.stdout

    def seconds(self) -> dict[str, float]:
        """Wall time of each command, once; of an import without the start of the interpreter."""
        took = {"import quantbench": float(self.checked("-c", IMPORT))}
        for name, arguments in {"quantbench --help": ("--help",), "quantbench compare": COMPARE}.items():
            started = time.perf_counter()
            self.checked("-m", "quantbench", *arguments)
            took[name] = time.perf_counter() - started
        return took


def sizes(folder: Path) -> dict[str, float]:
    """Mebibytes of each entry of a folder, links not followed."""

    def size(path: Path) -> int:
        files = path.rglob("*") if path.is_dir() else [path]
        return sum(each.lstat().st_size for each in files if each.is_file() and not each.is_symlink())

    return {each.name: size(each) / MEBIBYTE for each in folder.iterdir()}


def wheel_of(root: Path) -> Path:
    """The wheel, built from a copy, since building leaves files beside the sources."""
    source = root / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(REPOSITORY / "quantbench", source / "quantbench", ignore=shutil.ignore_patterns("__pycache__"))
    command = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(root), str(source))
    subprocess.run(command, check=True)  # noqa: S603 — our own arguments
    (wheel,) = root.glob("*.whl")
    return wheel


def installed(root: Path, extras: str) -> Environment:
    """The wheel in a fresh environment; prints how long that took, and what of it is large."""
    wheel = wheel_of(root)
    folder = root / "project"
    folder.mkdir()
    started = time.perf_counter()
    venv.create(root / "env", with_pip=True)
    fresh = Environment(root / "env" / "bin" / "python", folder, root / "cache")
    packages = Path(fresh.checked("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    before = sizes(packages)
    constraints = str(REPOSITORY / "constraints.txt")
    fresh.checked("-m", "pip", "install", "--quiet", "-c", constraints, f"{wheel}[{extras}]")
    found = {name: size for name, size in sizes(packages).items() if name not in before}
    print(f"pip install 'quantbench-suite[{extras}]' into a new environment: {time.perf_counter() - started:.0f} s")
    largest = sorted(found, key=lambda name: -found[name])[:SHOWN]
    print(f"{sum(found.values()):.0f} MiB: {', '.join(f'{name} {found[name]:.0f}' for name in largest)}, …")
    return fresh


def check_gates(fresh: Environment) -> None:
    """Quantizes, gates, accepts and compares; ends this process where one of them fails."""
    without = fresh.run("-c", "import torch")
    if "No module named 'torch'" not in without.stderr:
        print(f"torch is there, or broken:\n{without.stderr}", file=sys.stderr)
        sys.exit(1)
    (fresh.folder / "configs" / "files.yaml").write_text(CONFIG)
    fresh.checked("-m", "quantbench", "quantize", "files", "--config", "int8", "--out", "int8.onnx")
    accept = ("--experiment", "*", "--update-golden", "--reason", "first")
    fresh.checked("-m", "pytest", "--pyargs", "quantbench.claims", "-q", "-p", "no:cacheprovider", *accept)
    fresh.checked("-m", "pytest", *GATE)
    fresh.checked("-m", "quantbench", "run", "files/int8", "--json", "records.json")
    (record,) = json.loads((fresh.folder / "records.json").read_text())["records"]
    if "torch" in record["environment"]["versions"]:
        print("the record notes a version of torch", file=sys.stderr)
        sys.exit(1)


def main() -> None:
    """Installs, gates, and prints the table of seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=7, help="times that each command is timed in each environment")
    parser.add_argument("--extras", default="onnxruntime", help="of the distribution, by commas")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        fresh = installed(root, options.extras)
        fresh.checked("-c", MAKE)
        check_gates(fresh)
        print("an .onnx was quantized, gated, accepted and compared without torch")
        here = Environment(Path(sys.executable), fresh.folder, root / "cache of this")
        found: dict[str, dict[str, list[float]]] = {}
        # The first of each fills the caches, and is not counted.
        for i in range(options.n + 1):
            for name, each in (("without torch", fresh), ("with torch", here)):
                for command, seconds in each.seconds().items():
                    if i:
                        found.setdefault(command, {}).setdefault(name, []).append(seconds)
    described = environment()
    print(
        f"{described.processor}, {described.cores} cores, Python {described.python}, n = {options.n}, median s (range)"
    )
    for command, by in found.items():
        cells = (f"{name} {np.median(s):.2f} ({min(s):.2f} to {max(s):.2f})" for name, s in by.items())
        print(f"{command}: {', '.join(cells)}")


if __name__ == "__main__":
    main()
