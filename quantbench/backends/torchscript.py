"""Backend `torchscript`: programs that `torch.jit.save` wrote, loaded as they are.

Loading one runs no Python; what runs is a program of torch's operators. torch announces the end of `torch.jit`, and a
program stays loadable as long as a torch that has it is installed.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import torch

from quantbench.arrays import OUTPUT, Inputs, Outputs
from quantbench.backends.checkpoint import payload_bytes, schema_of, serialize
from quantbench.backends.coverage import Coverage
from quantbench.backends.engines import Engine, check_engine, default_engine, engine_in_use
from quantbench.backends.interface import Artifact, Backend, Description, Predictor
from quantbench.backends.module import ModulePredictor, array_of, by_name
from quantbench.errors import CheckpointError, EvaluationError
from quantbench.files import open_file, sha256_of_file
from quantbench.foreign import cause_of, passes
from quantbench.upstream import silenced

NAME = "torchscript"
# Of every program, beside its weights; a state dict has none.
PROGRAM = "constants.pkl"
ADVICE = "write it again with torch.jit.save"
# Compressed members would be an attack: torch stores them as they are.
LARGEST_GROWTH = 4


def torchscript(output: str | None = None, engine: Engine = None) -> TorchScriptBackend:
    """Programs of TorchScript.

    Args:
        output: of a program that gives several, the one that holds the answers: its key, or its number from 0 on.
        engine: quantized engine, for programs with quantized operators.

    Example:
        >>> torchscript().name
        'torchscript'
    """
    return TorchScriptBackend(output, engine or default_engine())


class TorchScriptBackend(Backend):
    """Programs on one quantized engine, which is the process's while one runs.

    Args:
        output: see `torchscript`.
        engine: see `torchscript`.
    """

    name: ClassVar[str] = NAME

    def __init__(self, output: str | None, engine: str) -> None:
        self._output, self.engine = output, check_engine(engine)

    def load(self, artifact: Artifact, threads: int) -> Predictor:
        """See `Backend.load`."""
        return ProgramPredictor(_loaded(artifact, self.engine), threads, self._output, self.engine, artifact.path.name)

    def describe(self, artifact: Artifact) -> Description:
        """See `Backend.describe`; the graph is that of the whole program, calls put in place."""
        program = _loaded(artifact, self.engine)
        state = dict(program.state_dict())
        counts = Counter(node.kind() for node in program.inlined_graph.nodes())
        operators = {kind: n for kind, n in sorted(counts.items()) if not kind.startswith("prim::")}
        digests = {key: hashlib.sha256(serialize({"value": value})).hexdigest() for key, value in state.items()}
        return Description(schema_of(state), digests, payload_bytes(state), {"operators": operators})

    def kernels(self, artifact: Artifact, inputs: Inputs) -> Coverage | None:
        """See `Backend.kernels`."""
        return self.load(artifact, 1).kernels(inputs)


class ProgramPredictor(ModulePredictor):
    """A program of one output that is asked for.

    Args:
        program: loaded.
        threads: intra-operator.
        output: its key or number; None where there is only one.
        engine: quantized engine.
        file: for messages.
    """

    def __init__(self, program: Any, threads: int, output: str | None, engine: str, file: str) -> None:
        super().__init__(program, threads)
        self._chosen, self._file, self._on_engine = output, file, engine_in_use(engine)

    def __call__(self, inputs: Inputs) -> Outputs:
        """See `Predictor.__call__`."""
        with self._on_engine:
            return super().__call__(inputs)

    def kernels(self, inputs: Inputs) -> Coverage | None:
        """See `Predictor.kernels`."""
        with self._on_engine:
            return super().kernels(inputs)

    def _run(self, inputs: Inputs) -> Outputs:
        with torch.inference_mode():
            given = self.module(*[torch.from_numpy(array) for array in inputs.values()])
        named = {OUTPUT: given} if isinstance(given, torch.Tensor) else by_name(given)
        if not named or not all(isinstance(each, torch.Tensor) for each in named.values()):
            raise EvaluationError(f"{self._file}: gave a {type(given).__name__}; expected tensors, one or several")
        if self._chosen is not None and self._chosen not in named:
            raise EvaluationError(f"{self._file}: has no output '{self._chosen}'; it has {', '.join(map(str, named))}")
        return {str(name): array_of(each) for name, each in named.items() if self._chosen in (None, name)}


def _loaded(artifact: Artifact, engine: str) -> Any:
    """The program in the file, in eval mode.

    Raises:
        CheckpointError: if it is missing, another than was made, damaged, or no program.
    """
    path = artifact.path
    try:
        if sha256_of_file(path) != artifact.sha256[0]:
            raise CheckpointError(f"{path}: was changed since it was opened first; run again when it is at rest")
        _check_program(path)
        with silenced(), engine_in_use(engine), open_file(path) as file:
            return torch.jit.load(file, map_location="cpu").eval()
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {ADVICE}") from None
    except BaseException as error:
        if passes(error):
            raise
        raise CheckpointError(f"{path}: no program that this torch can load ({cause_of(error)}); {ADVICE}") from error


def _check_program(path: Path) -> None:
    """Refuses what is no program, damaged members, and members that grow."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if not any(Path(each.filename).name == PROGRAM for each in members):
                raise CheckpointError(
                    f"{path}: holds no program of TorchScript; a state dict becomes a workload's baseline by "
                    "quantbench adopt, with the factory of its model"
                )
            size = path.stat().st_size
            if sum(each.file_size for each in members) > LARGEST_GROWTH * size:
                raise CheckpointError(f"{path}: is far larger inside than its {size:,} bytes; {ADVICE}")
            if (damaged := archive.testzip()) is not None:
                raise CheckpointError(f"{path}: '{damaged}' in it is damaged; {ADVICE}")
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise CheckpointError(f"{path}: no program of TorchScript ({error}); {ADVICE}") from None
