"""Sessions of ONNX Runtime: opened the same way for every use, and run as a file's runner."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from quantbench.backends.file_predictor import Array, Runner, TensorSpec
from quantbench.errors import CheckpointError, ConfigError, EvaluationError
from quantbench.files import printable

GraphOptimization = Literal["all", "extended", "basic", "none"]
LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
# The runtime's name of a type → numpy's, of those that numpy has.
DTYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "bool": "bool",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64",
    "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64",
}  # fmt: skip
# Only what ends the session is written to the terminal, by whoever catches it.
FATAL = 4
# Characters of the runtime's own message that are shown, and what to do about some.
SHOWN = 300
ADVICE = {
    "Unsupported model IR version": "; update onnxruntime, or export it again with an older version of onnx",
    "under development": "; update onnxruntime, or export it again with an older opset",
    "No Op registered": "; this runtime does not know that operator: export it again with another opset, or replace it",
    "not a registered function/op": "; this runtime does not know that operator: replace it",
    "Could not find an implementation": "; this runtime has no kernel of that operator for these types: replace it",
}
SOURCE = re.compile(r"/onnxruntime_src/\S+:\d+ [^(]*\(")


@dataclass(frozen=True)
class Settings:
    """The choices that decide which kernels run.

    Attributes:
        providers: of kernels, in the order in which they are asked.
        graph_optimization: how far the graph is rewritten when it is loaded.
        threads: intra-operator threads.
    """

    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    graph_optimization: GraphOptimization = "all"
    threads: int = 1


def available_providers() -> list[str]:
    """Execution providers of the installed build."""
    import onnxruntime

    return [str(name) for name in onnxruntime.get_available_providers()]


def check_providers(providers: Sequence[str], where: str) -> None:
    """Raises ConfigError unless this build of the runtime has them all."""

    available = available_providers()
    if not providers:
        raise ConfigError(f"{where}: providers: none is named; this build has {', '.join(available)}")
    if missing := next((each for each in providers if each not in available), None):
        raise ConfigError(
            f"{where}: providers: this build of onnxruntime has no '{printable(missing)}'; it has "
            f"{', '.join(available)}"
        )


def options_of(settings: Settings) -> Any:
    """Session options.

    Threads of a pool never spin, since they would disturb whatever is timed next; with one thread there is no pool.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    level = LEVELS[settings.graph_optimization]
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = FATAL
    return options


def open_session(
    source: Path | bytes, settings: Settings, file: Path, options: Any = None, disabled: Sequence[str] = ()
) -> Any:
    """An inference session.

    Args:
        source: a file, or a model in memory that has no other files.
        settings: see `Settings`.
        file: for messages.
        options: others than `options_of` gives.
        disabled: names of graph optimizers.

    Raises:
        CheckpointError: in one line, if the runtime cannot load it.
    """
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(
            source if isinstance(source, bytes) else str(source),
            options or options_of(settings),
            providers=list(settings.providers),
            disabled_optimizers=list(disabled),
            # Otherwise a provider that fails is replaced by the processor's, on standard output alone.
            enable_fallback=0,
        )
    # Of its own classes, which have no common base.
    except Exception as error:
        raise CheckpointError(
            f"{file}: onnxruntime {onnxruntime.__version__} cannot load it: {reason_of(error, file)}"
        ) from None


def reason_of(error: Exception, file: Path) -> str:
    """The runtime's own words on one line, without its marks and places in its source, and what to do where that is
    known."""
    text = " ".join(str(error).replace(str(file), file.name).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    text = printable(_without_places(text))[:SHOWN]
    advice = next((advice for words, advice in ADVICE.items() if words in text), "")
    return f"{text}{advice}"


def _without_places(text: str) -> str:
    """Takes out files of the runtime's source with the signature after them, which may hold parentheses itself."""
    while found := SOURCE.search(text):
        depth, end = 1, found.end()
        while depth and end < len(text):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        text = f"{text[: found.start()]}{text[end:].removeprefix(' const').lstrip()}"
    return text


class SessionRunner(Runner):
    """A session as a runner.

    Args:
        session: opened.
        file: for messages.
        output: the only one that is asked for; None for all of them.
        unranked: names of inputs that take any shape, which the session shows as numbers.

    Raises:
        CheckpointError: if an input, or an output that is asked for, is no array of numbers.
    """

    def __init__(self, session: Any, file: Path, output: str | None = None, unranked: Collection[str] = ()) -> None:
        self.session, self._file = session, file
        specs = [_spec(each, file, "input", "") for each in session.get_inputs()]
        self.inputs = tuple(replace(each, shape=None) if each.name in unranked else each for each in specs)
        given = session.get_outputs()
        chosen = [each for each in given if each.name == output] or given
        advice = "; name one that is (backend: {name: onnxruntime, output: …}): " + ", ".join(
            f"'{each.name}' {each.type}" for each in given
        )
        self.outputs = tuple(_spec(each, file, "output", advice) for each in chosen)
        self._names = [each.name for each in self.inputs]
        self._asked = [each.name for each in self.outputs]

    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """See `Runner.run`.

        Raises:
            EvaluationError: if the forward fails.
        """
        try:
            found: list[Array] = self.session.run(self._asked, dict(zip(self._names, arrays, strict=True)))
        # Of the runtime's own classes, which have no common base.
        except Exception as error:
            given = ", ".join(f"'{name}' {list(each.shape)}" for name, each in zip(self._names, arrays, strict=True))
            raise EvaluationError(
                f"{self._file}: its forward on {given} failed: {reason_of(error, self._file)}"
            ) from error
        return found


def _spec(node: Any, file: Path, what: str, advice: str) -> TensorSpec:
    kind = str(node.type)
    dtype = DTYPES.get(kind.removeprefix("tensor(").removesuffix(")")) if kind.startswith("tensor(") else None
    if dtype is None:
        need = advice or "; quantbench gives arrays of numbers alone"
        raise CheckpointError(f"{file}: {what} '{printable(node.name)}' is {kind}, which is no array of numbers{need}")
    return TensorSpec(node.name, tuple(size if isinstance(size, int) else None for size in node.shape), dtype)
