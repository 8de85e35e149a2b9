"""Own code of every kind that raises where a test says so: model, data, task, recipe, backend, quantity."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tiny_model import TinyCNN
from toy_quantity import LargestTensor, Tensors

from quantbench.backends.module import ModulePredictor
from quantbench.backends.torch_ao.eager import EagerBackend, default_engine
from quantbench.data.image_folder import image_folder
from quantbench.data.source import Source
from quantbench.quantities.interface import Column
from quantbench.recipes.static_int8 import static_int8_per_channel
from quantbench.registry import QUANTITIES
from quantbench.tasks.top1 import Top1


class WordlessError(Exception):
    """An exception that has no message to show."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class OddText(str):
    """A text whose methods raise."""

    __slots__ = ()

    def split(self, *_: object, **__: object) -> list[str]:
        raise ValueError("no words")


class OddTextError(Exception):
    """An exception whose message is no plain text."""

    def __str__(self) -> str:
        return OddText("odd words")


class Nameless(type):
    """The type of types that tell no name."""

    @property
    def __name__(cls) -> str:
        raise ValueError("no name")


class NamelessError(Exception, metaclass=Nameless):
    """An exception whose type tells no name."""


class HiddenError(Exception):
    """An exception of which nothing can be read."""

    def __getattribute__(self, name: str) -> object:
        raise ValueError(f"no {name}")


class NoCauseError(Exception):
    """An exception whose cause and traceback cannot be read or set."""

    @property
    def __cause__(self) -> BaseException:
        raise ValueError("no cause")

    @property
    def __traceback__(self) -> object:
        raise ValueError("no traceback")


ERRORS: dict[str, BaseException] = {
    "RuntimeError": RuntimeError("the left hand knows nothing"),
    "KeyError": KeyError("x"),
    "SystemExit": SystemExit(0),
    "MemoryError": MemoryError(),
    "RecursionError": RecursionError("maximum recursion depth exceeded"),
    "OSError": OSError(5, "Input/output error"),
    "WordlessError": WordlessError(),
    "GeneratorExit": GeneratorExit(),
    "OddTextError": OddTextError(),
    "NamelessError": NamelessError("x"),
    "HiddenError": HiddenError("x"),
    "NoCauseError": NoCauseError("x"),
    "ValueError": ValueError("\n\nfirst\n" + "x" * 10_000 + "\nlast"),
}
# The same in the words of a message.
CAUSES = {
    "RuntimeError": "RuntimeError: the left hand knows nothing",
    "KeyError": "KeyError: 'x'",
    "SystemExit": "SystemExit: 0",
    "MemoryError": "MemoryError",
    "RecursionError": "RecursionError: maximum recursion depth exceeded",
    "OSError": "OSError: [Errno 5] Input/output error",
    "WordlessError": "WordlessError: (its message raised RuntimeError)",
    "GeneratorExit": "GeneratorExit",
    "OddTextError": "OddTextError: odd words",
    "NamelessError": "NamelessError: x",
    "HiddenError": "HiddenError: x",
    "NoCauseError": "NoCauseError: x",
    "ValueError": "ValueError: first",
}
# Place → the error that is raised there.
HERE: dict[str, BaseException] = {}


def reach(place: str) -> None:
    """Raises what was asked for at a place."""
    if place in HERE:
        # Anew, without the frames of the last time.
        BaseException.with_traceback(HERE[place], None)
        raise HERE[place]


OWN = """\
workload:
  model: {name: "raising:net"}
  data: {name: "raising:images", root: images, size: 8, calibration_pool: 60}
  task: {name: "raising:task"}
  baseline: tiny
  training: {epochs: 1, lr: 0.05, batch_size: 32, augment: []}
  latency: {batch_size: 4, runtimes: [], rounds: 12}
experiments:
  own:
    recipe: {name: "raising:recipe", calibration_n: 32}
    backend: {name: "raising:backend"}
    gates: {accuracy_drop_pp: 10.0, own_bytes: 100000}
"""
SAFE = """\
workload:
  model: {name: "tiny_model:tiny_cnn"}
  data: {name: image_folder, root: images, size: 8, calibration_pool: 60}
  baseline: safe
  latency: {batch_size: 4, runtimes: [], rounds: 12}
experiments:
  safe:
    recipe: {name: dynamic_int8}
    gates: {accuracy_drop_pp: 10.0, size_ratio: 0.2}
"""
# Claims enough to see that an experiment was judged.
QUANTITIES_HERE = ("accuracy_drop_pp", "size_ratio", "speedup", "speedup_over_fastest", "int8_share", "reload")


@contextmanager
def own_code(project: Any, monkeypatch: Any) -> Iterator[None]:
    """Gives a project two workloads, one of own code that may raise and one that holds, and a page for its summary."""
    table = {name: QUANTITIES.table[name] for name in QUANTITIES_HERE}
    monkeypatch.setattr(QUANTITIES, "table", {**table, "own_bytes": "raising:OWN_QUANTITY"})
    project.config.unlink()
    (project.configs / "own.yaml").write_text(OWN)
    (project.configs / "safe.yaml").write_text(SAFE)
    for file in (project.golden / "baselines").glob("tiny.*"):
        shutil.copy(file, file.with_name(f"safe{file.suffix}"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.root / "page.md"))
    try:
        yield
    finally:
        HERE.clear()


class Net(TinyCNN):
    """The network in miniature."""

    def forward(self, x: Any) -> Any:
        reach("forward")
        return super().forward(x)

    def fuse_model(self, is_qat: bool = False) -> None:
        reach("fuse_model")
        super().fuse_model(is_qat)

    def eval(self) -> Any:
        reach("eval")
        return super().eval()

    def __deepcopy__(self, memo: Any) -> Any:
        reach("deepcopy")
        twin = Net(3, 8)
        memo[id(self)] = twin
        for name, value in vars(self).items():
            vars(twin)[name] = copy.deepcopy(value, memo)
        return twin


def net(n_classes: int = 3) -> Net:
    """Factory of the network."""
    reach("model factory")
    return Net(n_classes, 8)


class Images(Source):
    """The image folder through a source of one's own."""

    def __init__(self, inner: Source) -> None:
        self.inner, self.normalization = inner, inner.normalization

    def locate(self, folder: Any) -> None:
        reach("locate")
        self.inner.locate(folder)

    def fingerprint(self) -> str:
        reach("fingerprint")
        return self.inner.fingerprint()

    def decode(self, progress: Any) -> Any:
        reach("decode")
        return self.inner.decode(progress)


def images(root: str, size: int) -> Images:
    """Factory of the source."""
    reach("source factory")
    return Images(image_folder(root=root, size=size))


class Task(Top1):
    """Top-1 of one's own."""

    def check(self, *args: Any) -> None:
        reach("check")
        super().check(*args)

    def scores(self, *args: Any) -> Any:
        reach("scores")
        return super().scores(*args)

    def answers(self, *args: Any) -> Any:
        reach("answers")
        return super().answers(*args)

    def loss(self, *args: Any) -> Any:
        reach("loss")
        return super().loss(*args)


def task() -> Task:
    """Factory of the task."""
    reach("task factory")
    return Task()


def recipe(calibration_n: int = 32) -> Any:
    """Factory of the recipe."""
    reach("recipe factory")
    return static_int8_per_channel(calibration_n=calibration_n)


class Int8Predictor(ModulePredictor):
    """A predictor of one's own."""

    def __call__(self, inputs: Any) -> Any:
        reach("int8 forward")
        return super().__call__(inputs)


class Lowering(EagerBackend):
    """Eager mode of one's own."""

    name = "lowering"

    def supports(self, recipe: Any) -> str | None:
        reach("supports")
        return None

    def rehearse_module(self, *args: Any) -> None:
        reach("rehearse")
        super().rehearse_module(*args)

    def quantize(self, *args: Any) -> Any:
        reach("quantize")
        return super().quantize(*args)

    def load(self, artifact: Any, threads: int) -> Any:
        reach("load")
        inner = super().load(artifact, threads)
        return Int8Predictor(lambda x: inner({"input": x.numpy()})["output"], threads) if _at("int8 forward") else inner

    def describe(self, *args: Any) -> Any:
        reach("describe")
        return super().describe(*args)

    def kernels(self, *args: Any) -> Any:
        reach("kernels")
        return super().kernels(*args)


def _at(place: str) -> bool:
    return place in HERE


def backend() -> Lowering:
    """Factory of the backend."""
    reach("backend factory")
    return Lowering(default_engine())


class OwnTensors(Tensors):
    """A part of a record with code of its own."""

    ratio: float = 1.0

    def impossible(self) -> str | None:
        reach("impossible")
        return None


def _cell(tensors: Tensors) -> str:
    reach("column")
    return f"{tensors.largest_bytes:,} B"


class OwnQuantity(LargestTensor):
    """A quantity of one's own; every method raises where it is asked to."""

    name = "own_bytes"
    part = "own_tensors"
    record = OwnTensors
    columns = (Column("own", _cell),)

    def why_not(self, experiment: Any) -> str | None:
        reach("why_not")
        return None

    def measure(self, run: Any) -> Tensors:
        reach("measure")
        return OwnTensors(**super().measure(run).model_dump())

    def judge(self, *args: Any) -> Any:
        reach("judge")
        return super().judge(*args)

    def bound_of(self, experiment: Any) -> Any:
        reach("bound_of")
        return super().bound_of(experiment)

    def is_looser(self, bound: Any, accepted: Any) -> bool:
        reach("is_looser")
        return super().is_looser(bound, accepted)

    def further(self, experiment: Any) -> str:
        reach("further")
        return super().further(experiment)

    def accept(self, experiment: Any) -> str:
        reach("accept")
        return super().accept(experiment)


OWN_QUANTITY = OwnQuantity()
