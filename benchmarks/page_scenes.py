"""Folders in which the commands of each page are run, and the commands that are run elsewhere."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parents[1]
Run = Callable[[str, Path], tuple[int, str]]
INIT = "quantbench init fp32.onnx int8.onnx --data images"
AUTHOR = "-c user.name=a -c user.email=a@b"
NET = '''"""A network as its authors wrote it."""

import torch


class Net(torch.nn.Module):
    """The mean of each colour."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, n_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `[n, n_classes]`."""
        return self.conv(x).mean((2, 3))
'''
# Its script draws the pictures, and writes the pair.
EXAMPLE = REPOSITORY / "examples" / "first_gate" / "make_projects.py"


class Elsewhere(NamedTuple):
    """Commands that are not run with their page.

    Attributes:
        page: path of the page; `*` for all.
        commands: regular expression of their beginning.
        reason: for it.
        place: file or folder of the repository that runs them, or the like on small models; then how.
    """

    page: str
    commands: str
    reason: str
    place: str


def pair(root: Path, run: Run) -> Path:  # noqa: ARG001 — a scene of those that run something
    """A newcomer's folder: `fp32.onnx`, `int8.onnx`, and pictures below `images/`."""
    make_projects = _drawing()
    folder = root / "my_net"
    make_projects.images(folder / "images")
    make_projects.pair(folder, stem="", is_normalized=True)
    return folder


def gated(root: Path, run: Run) -> Path:
    """The same with its first gates, `my_net/candidate`."""
    folder = pair(root, run)
    _must(run, INIT, folder)
    return folder


def clone(root: Path, run: Run) -> Path:  # noqa: ARG001
    """A clone of the repository as it was committed."""
    folder = root / "quantbench"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder)], check=True)  # noqa: S603, S607
    return folder


def recorded(root: Path, run: Run) -> Path:
    """The same under version control, with a folder of records."""
    folder = gated(root, run)
    (folder / "records").mkdir()
    _must(run, "quantbench run '*' --json records/1.json", folder)
    for command in ("git init --quiet", "git add configs golden", f"git {AUTHOR} commit --quiet -m First"):
        _shell(command, folder)
    return folder


def beside_weights(root: Path, run: Run) -> Path:
    """The pair, and the same network as a state dict with its factory, `my_package.models:Net`."""
    import torch

    make_projects = _drawing()
    folder = pair(root, run)
    (folder / "my_package").mkdir()
    (folder / "my_package" / "models.py").write_text(NET, encoding="utf-8")
    mean, std = (torch.tensor(make_projects.CIFAR10[name]) for name in ("mean", "std"))
    weights = {"conv.weight": torch.diag(std).flip(0)[:, :, None, None].clone(), "conv.bias": mean.flip(0).clone()}
    torch.save(weights, folder / "weights.pth")
    return folder


def own_model(root: Path, run: Run) -> Path:  # noqa: ARG001
    """Pictures, and trained weights of the page's own network."""
    import torch

    make_projects = _drawing()
    from page_commands import files_of

    folder = root / "project"
    make_projects.images(folder / "my_images", {"train": 500, "test": 300}, 64)
    made: dict[str, Any] = {}
    page = REPOSITORY / "docs" / "your-model.md"
    exec(files_of(page.read_text(encoding="utf-8"))["my_package/models.py"], made)  # noqa: S102 — of the page
    torch.manual_seed(0)
    net = made["Net"](3)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(80):
        labels = torch.randint(3, (32,))
        noise = torch.rand(32, 3, 64, 64) * 0.53 + 0.235
        light = torch.rand(32) * 0.118
        noise[torch.arange(32), 2 - labels] += light[:, None, None]
        loss = torch.nn.functional.cross_entropy(net((noise.clamp(0, 1) - 0.5) / 0.25), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    torch.save(net.state_dict(), folder / "weights.pt")
    return folder


def with_checkpoint(root: Path, run: Run) -> Path:
    """A clone with a quantized model, `model.pt`."""
    folder = clone(root, run)
    _must(run, "quantbench quantize m5_spoken_words --config ptq_static --out model.pt", folder)
    return folder


def with_records(root: Path, run: Run) -> Path:
    """A clone with records of two versions."""
    folder = clone(root, run)
    for name in ("old.json", "new.json"):
        shutil.copy(folder / "docs" / "results" / "records.json", folder / name)
    return folder


def _drawing() -> Any:
    """The script of the example, which is no package."""
    spec = importlib.util.spec_from_file_location("make_projects", EXAMPLE)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{EXAMPLE}: is no module")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def _must(run: Run, command: str, folder: Path) -> None:
    status, output = run(command, folder)
    if status:
        raise RuntimeError(f"{command}: ended with {status}\n{output}")


def _shell(command: str, folder: Path) -> None:
    subprocess.run(["bash", "-c", command], cwd=folder, check=True)  # noqa: S603, S607


SCENES: dict[str, Callable[[Path, Run], Path]] = {
    "README.md": pair,
    "docs/blame.md": gated,
    "docs/checkpoints.md": with_checkpoint,
    "docs/ci.md": gated,
    "docs/compare.md": beside_weights,
    "docs/development.md": clone,
    "docs/export.md": clone,
    "docs/first-gate.md": pair,
    "docs/goldens.md": clone,
    "docs/low-bit.md": clone,
    "docs/migration.md": with_records,
    "docs/recipes.md": clone,
    "docs/report.md": recorded,
    "docs/tasks.md": clone,
    "docs/training.md": clone,
    "docs/your-model.md": own_model,
}

GATED_SPEED = "quantbench compare fp32.onnx int8.onnx --data images --max-drop 1.0 --min-speedup 1.5"
UPDATE = (
    "pytest bench --experiment cifar_cnn_shapes/ptq_static_int8_per_channel --update-golden "
    '--reason "per-channel weights"'
)
# Exit statuses that a page promises, where it is not 0 alone.
EXPECTED: dict[tuple[str, str], tuple[int, ...]] = {
    # A network as tiny as that of the scene is not surely faster in int8.
    ("docs/compare.md", GATED_SPEED): (0, 1),
    # A machine that is busy accepts no speed, and says so by status 1.
    ("docs/goldens.md", UPDATE): (0, 1),
    ("docs/first-gate.md", "quantbench accept 'my_net/*' --reason \"…\""): (0, 1),
    ("docs/your-model.md", "quantbench accept 'my_model/*' --reason \"First results\""): (0, 1),
}

PUBLISHED = "needs a published data set"
MINUTES = "takes minutes"
ELSEWHERE = (
    Elsewhere("*", r"pip install", "needs the network", "examples/first_gate/timed.py --fresh"),
    Elsewhere("*", r"python benchmarks/", "takes minutes: measures a table of the page", "benchmarks by hand"),
    Elsewhere("*", r"make (bench|test|lint|lint test bench)\b(?!-)", MINUTES, ".ci/run"),
    Elsewhere("*", r"make results", PUBLISHED, "docs/results/records.json by hand"),
    Elsewhere("*", r"make test-", "installs another torch", "Makefile by hand"),
    Elsewhere(
        "docs/ci.md", r"quantbench comment found/", "a workflow of GitHub alone can post", "tests/report/test_action.py"
    ),
    Elsewhere("docs/ci.md", r".*shard", "on several machines", "tests/session/test_shards.py"),
    Elsewhere("docs/keyword-spotting.md", r"pytest bench", MINUTES, ".ci/run"),
    Elsewhere("docs/low-bit.md", r"pytest .* --retrain", "trains for minutes", "tests/training"),
    Elsewhere("*", r"quantbench (sensitivity|search)", MINUTES, "tests/search"),
    Elsewhere("docs/real-data.md", r"", PUBLISHED, "docs/results/records.json by hand"),
    Elsewhere("docs/residual-networks.md", r"pytest bench", MINUTES, ".ci/run"),
    Elsewhere("docs/residual-networks.md", r"quantbench train", "trains for hours", "tests/training"),
    Elsewhere("docs/tasks.md", r"quantbench train", "trains for minutes", "tests/training"),
    Elsewhere("docs/training.md", r"quantbench train", "trains for minutes", "tests/training"),
    Elsewhere("*", r"quantbench ablate", "trains for hours", "tests/ablation"),
)
