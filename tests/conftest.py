"""A whole project in miniature: three classes of 8×8 images, a trained baseline, experiments with gates."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from filelock import FileLock
from package_coverage import pytest_addoption, pytest_configure  # noqa: F401 — hooks

if TYPE_CHECKING:
    from made_timings import Machine

    from quantbench.experiment.costs import Costs

# Networks this small gain nothing from threads, and threads that wait cost dearly where tests compete for the cores.
# Set before torch is imported, here and in every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where a test asks for two, a thread that waits leaves its core to the others.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

CONFIG = """\
workload:
  model: {name: "tiny_model:tiny_cnn"}
  data: {name: image_folder, root: images, size: 8, calibration_pool: 60}
  baseline: tiny
  training: {epochs: 3, lr: 0.05, batch_size: 32, augment: []}
  latency: {batch_size: 4, runtimes: [], rounds: 12}
experiments:
  fp32_baseline:
    recipe: {name: fp32_baseline}
    gates: {card_drift_pp: 0.2}
  ptq_dynamic_int8:
    recipe: {name: dynamic_int8}
    gates: {accuracy_drop_pp: 10.0}
  ptq_static_int8_per_channel:
    recipe: {name: static_int8_per_channel, calibration_n: 32}
    gates: {accuracy_drop_pp: 10.0, size_ratio: 0.2, int8_share: 1.0, speedup: 0.01}
  qat_int8:
    recipe: {name: qat_int8, epochs: 2, frozen_epochs: 1}
    gates: {accuracy_drop_pp: 10.0}
"""


@pytest.fixture(scope="session", autouse=True)
def _modules_of_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Workload files of tests name modules that lie beside the tests, and beside the projects that tests make."""
    from quantbench.config.import_paths import allow_imports

    allow_imports([str(Path(__file__).parent), str(tmp_path_factory.getbasetemp())])


# Time of every image, by which one that a test wrote into is found.
DRAWN = 1_000_000_000
IMAGES = Path("data", "images")


@dataclass(frozen=True)
class Project:
    """A folder as a user has it.

    Attributes:
        root: holds `configs/`, `golden/` and `data/images/`.
        name: of the workload.
    """

    root: Path
    name: str = "tiny"

    @property
    def configs(self) -> Path:
        """Folder of workload files."""
        return self.root / "configs"

    @property
    def config(self) -> Path:
        """The only workload file."""
        return self.configs / f"{self.name}.yaml"

    @property
    def golden(self) -> Path:
        """Folder of goldens and baselines."""
        return self.root / "golden"

    @property
    def images(self) -> Path:
        """The image folder, the project's own from now on: a copy shares it with others until it is asked for."""
        folder = self.root / IMAGES
        if folder.is_symlink():
            shared = folder.resolve()
            folder.unlink()
            shutil.copytree(shared, folder)
        return folder

    @property
    def weights(self) -> Path:
        """The baseline's weights."""
        return self.golden / "baselines" / f"{self.name}.safetensors"

    def edit(self, old: str, new: str) -> None:
        """Replaces text of the workload file, which must be there."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def replace_image(self, path: str | Path, pixels: np.ndarray) -> None:
        """Puts `[8, 8, 3]` pixels in the place of an image.

        Args:
            path: within the image folder, or absolute.
            pixels: 0..255.
        """
        from PIL import Image

        (self.images / path).unlink()
        Image.fromarray(pixels.astype(np.uint8)).save(self.images / path)

    def copy_to(self, root: Path) -> Project:
        """A copy; its image folder is a link, since to copy and read hundreds of files takes longer than most tests."""
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns("images"))
        (root / IMAGES).symlink_to((self.root / IMAGES).resolve())
        return Project(root, self.name)

    def keep_all_within(self, patch: pytest.MonkeyPatch) -> None:
        """Data and cache in the project's own folder."""
        patch.setenv("QUANTBENCH_DATA", str(self.root / "data"))
        patch.setenv("QUANTBENCH_CACHE", str(self.root / "cache"))


def write_images(root: Path, per_class: dict[str, int], seed: int = 0) -> None:
    """Writes noisy images of three colours as `<root>/<side>/<class>/NNN.png`."""
    from PIL import Image

    random = np.random.RandomState(seed)
    for side, count in per_class.items():
        for label, name in enumerate(("blue", "green", "red")):
            folder = root / side / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = random.randint(60, 196, (8, 8, 3))
                pixels[..., label] += random.randint(0, 60)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:03}.png")
                os.utime(folder / f"{i:03}.png", (DRAWN, DRAWN))


@pytest.fixture(scope="session")
def made_once(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, Callable[[Path], object]], Path]:
    """`made_once(name, make)` is a folder that `make(folder)` creates and fills, once for all parallel workers."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if hasattr(request.config, "workerinput") else own

    def once(name: str, make: Callable[[Path], object]) -> Path:
        root, done = shared / name / "made", shared / name / "done"
        root.parent.mkdir(exist_ok=True)
        with FileLock(root.with_name("lock")):
            if not done.exists():
                shutil.rmtree(root, ignore_errors=True)
                make(root)
                done.touch()
        return root

    return once


def copied(project: Project, root: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of a project at `root`, which becomes the current folder."""
    copy = project.copy_to(root)
    copy.keep_all_within(monkeypatch)
    monkeypatch.chdir(root)
    # Named by commands in messages.
    (root / "bench").mkdir(exist_ok=True)
    return copy


@pytest.fixture(scope="session")
def trained_project(made_once: Callable[..., Path]) -> Iterator[Project]:
    """Made once: images, configuration and a baseline trained for three epochs."""
    project = Project(made_once("project", _train_project))
    yield project
    written = [path for path in project.images.rglob("*.png") if path.stat().st_mtime != DRAWN]
    assert not written, "a test wrote into images that all share; ask for project.images, or call replace_image"
    assert len(list(project.images.rglob("*.*"))) == 390, "a test added or removed images that all share"


def _train_project(root: Path) -> None:
    from quantbench.config.selection import find_workload
    from quantbench.experiment.workload import OpenWorkload

    project = Project(root)
    write_images(project.images, {"train": 80, "test": 50})
    project.configs.mkdir()
    project.config.write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        project.keep_all_within(patch)
        OpenWorkload(find_workload(str(project.config), project.configs), project.golden).train_baseline()


@pytest.fixture(scope="session")
def trained_chain(trained_project: Project, made_once: Callable[..., Path]) -> Project:
    """Made once: the same images with a network of five layers, trained in fp32 and in 4 bits, samples held out."""
    return Project(made_once("chain", lambda root: _train_chain(root, trained_project)), "chain")


def _train_chain(root: Path, trained_project: Project) -> None:
    from searchable import CONFIG as CHAIN

    from quantbench.config.reading import load_experiments
    from quantbench.config.selection import select
    from quantbench.experiment.run import Settings
    from quantbench.experiment.runs import Runs

    project = Project(root, "chain")
    project.configs.mkdir(parents=True)
    (project.root / IMAGES).parent.mkdir()
    (project.root / IMAGES).symlink_to(trained_project.images)
    project.config.write_text(CHAIN)
    with pytest.MonkeyPatch.context() as patch:
        project.keep_all_within(patch)
        runs = Runs(Settings(project.golden, retrain=True))
        run = runs.run(select(load_experiments(project.configs), "chain/low_bit_4")[0])
        run.opened.train_baseline()
        assert run.artifact.path.is_file()


@pytest.fixture(scope="session")
def made_artifacts(trained_project: Project, made_once: Callable[..., Path]) -> Path:
    """Made once: a cache with the project's reference, and its candidates of the post-training experiments."""
    return made_once("artifacts", lambda root: _make_artifacts(root, trained_project))


def _make_artifacts(root: Path, project: Project) -> None:
    from quantbench.config.reading import load_experiments
    from quantbench.experiment.run import Settings
    from quantbench.experiment.runs import Runs

    with pytest.MonkeyPatch.context() as patch:
        project.keep_all_within(patch)
        patch.setenv("QUANTBENCH_CACHE", str(root))
        runs = Runs(Settings(project.golden))
        for experiment in load_experiments(project.configs):
            if experiment.name != "qat_int8":
                assert runs.run(experiment).artifact.path.is_file()


@pytest.fixture
def nothing_made() -> None:
    """Asks `project` that its cache holds no artifact, for tests of how they are made."""


@pytest.fixture
def chain(trained_chain: Project, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of it that a test may break, with a cache of its own; the current folder is its root."""
    return copied(trained_chain, tmp_path / "chain", monkeypatch)


@pytest.fixture
def kept_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of sweeps outlive them, since each takes seconds to import torch, and no test changes a module."""
    from quantbench.jobs import places

    monkeypatch.setattr(places, "end_processes", lambda: None)


@pytest.fixture
def project(
    request: pytest.FixtureRequest,
    trained_project: Project,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """A copy of the project that a test may break, with a cache of its own; the current folder is its root.

    The cache holds the artifacts of the post-training experiments, unless `nothing_made` is asked for.
    """
    copy = copied(trained_project, tmp_path / "project", monkeypatch)
    if "nothing_made" not in request.fixturenames:
        for kind in ("references", "quantized"):
            shutil.copytree(request.getfixturevalue("made_artifacts") / kind, copy.root / "cache" / kind)
    return copy


@pytest.fixture
def quantbench(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: exit status, standard output, standard error."""
    from quantbench.cli.app import main

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["quantbench", *map(str, args)])
        with pytest.raises(SystemExit) as exited:
            main()
        out, err = capfd.readouterr()
        return exited.value.code, out, err

    return run


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are laid out and their files are written, without what would be in them."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda _, path, **__: Path(path).touch())


@pytest.fixture
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that times and weighs as it is told to, in the place of this process's instruments.

    The real instrument has tests of its own, which hold however busy the machine is. What fresh processes load or
    quantize again is loaded and quantized here, unless `real_processes` is asked for. Forwards that no round has run
    are not compared with fresh ones, unless `real_checks` is asked for. The fastest form of the reference is its own
    first one, so that it is written for no runtime that a file does not name, unless `real_rivals` is asked for.
    """
    from made_timings import Machine

    from quantbench.experiment import costs, repetition, rivals, run
    from quantbench.measure import probe, reload
    from quantbench.session import pair, session

    made = Machine()
    monkeypatch.setattr(run, "time_in_fresh_process", made.time_in_fresh_process)
    monkeypatch.setattr(costs, "peak_memory", made.peak_memory)
    monkeypatch.setattr(rivals, "fastest_form", lambda forms, *_: next(iter(forms.items())))
    if "real_rivals" not in request.fixturenames:
        monkeypatch.setattr(rivals, "_rivals", _named_rivals(rivals._rivals))
    monkeypatch.setattr(run, "time_forwards", made.time_forwards)
    if "real_checks" not in request.fixturenames:
        monkeypatch.setattr(run, "check_unchanged", made.check_unchanged)
    monkeypatch.setattr(session, "moment", made.moment)
    # Where nothing runs, nothing must be kept quiet, which takes a whole collection of garbage each time.
    monkeypatch.setattr(run, "quiet_process", contextlib.nullcontext)
    if "real_processes" not in request.fixturenames:
        for module in (pair, probe, reload, repetition):
            monkeypatch.setattr(module, "in_fresh_process", made.in_this_process)
        # Two of them would work in this process at once.
        monkeypatch.setattr(repetition, "usable_cores", lambda: 1)
    return made


def _named_rivals(rivals_of: Callable[[Costs], list[str]]) -> Callable[[Costs], list[str]]:
    return lambda baseline: [] if baseline.opened.workload.config.latency.runtimes is None else rivals_of(baseline)


@pytest.fixture
def real_processes() -> None:
    """Asks `machine` that artifacts are loaded, and made again, in fresh processes, as users' are."""


@pytest.fixture
def real_checks() -> None:
    """Asks `machine` that models that were timed are compared with fresh ones."""


@pytest.fixture
def real_rivals() -> None:
    """Asks `machine` that a reference is written for every runtime that is installed."""


@pytest.fixture
def real_memory(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak memory is measured by the real instrument, in fresh processes."""
    from quantbench.experiment import costs
    from quantbench.measure.memory import peak_memory

    monkeypatch.setattr(costs, "peak_memory", peak_memory)


@pytest.fixture(scope="session", autouse=True)
def _fork_server() -> None:
    """Fresh processes start with all that a training imports, which each of them took seconds for otherwise."""
    if "torch" in sys.modules and sys.platform != "win32":
        from quantbench.measure.fresh import fresh_context

        # An optimizer imports torch._dynamo, a fork of the server that has it need not.
        modules = ["quantbench.ablation.run", "quantbench.backends.torch_ao.eager", "torch._dynamo"]
        fresh_context().set_forkserver_preload(modules)


@pytest.fixture(scope="session", autouse=True)
def _operators_read_once() -> Iterator[None]:
    """The forms of torch's operators in ONNX are read out of the source of onnxscript once.

    The exporter parses all 500 of them anew at each export, which takes longer than to export a network this small.
    """
    with pytest.MonkeyPatch.context() as patch:
        if registration := sys.modules.get("torch.onnx._internal.exporter._registration"):
            registry = registration.ONNXRegistry
            patch.setattr(registry, "from_torchlib", staticmethod(functools.cache(registry.from_torchlib)))
        yield


@pytest.fixture(scope="session", autouse=True)
def _frozen_imports() -> None:
    """What was imported is not looked through at each collection of garbage, of which measuring asks for many."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests see neither the machine's cache and data nor that they may run in CI or in parallel workers."""
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("QUANTBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("QUANTBENCH_DOWNLOAD", raising=False)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
