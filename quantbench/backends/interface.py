"""A backend, the artifacts that it makes and loads, and the predictors that it loads them as."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.coverage import Coverage as Coverage
from quantbench.backends.model_source import ModelSource as ModelSource
from quantbench.errors import ConfigError, QuantizationError
from quantbench.files import sha256_of_file
from quantbench.foreign import Guarded
from quantbench.registry import BACKENDS

if TYPE_CHECKING:
    from torch import nn

    from quantbench.backends.file_inputs import TensorSpec
    from quantbench.backends.insides import Insides
    from quantbench.recipes.spec import Recipe, Trained

# Which observer watches each layer: {"conv1": {"activation": "MinMaxObserver(…)", "weight": "…"}}.
Observers = dict[str, dict[str, str]]
# One key of a file: dtype and shape, and for quantized tensors qscheme and axis.
Entry = dict[str, Any]
Schema = dict[str, Entry]


@dataclass(frozen=True)
class BackendSpec:
    """A registered backend with its parameters; picklable, so that a fresh process can create it again.

    Attributes:
        name: registered.
        params: of the backend's factory.
        where: place of the backend in the configuration, for messages.

    Example:
        >>> BackendSpec("torch", {}, "here").create().name
        'torch'
    """

    name: str
    params: dict[str, Any]
    where: str

    def create(self) -> Backend:
        """The backend. Changes nothing in the process.

        Raises:
            ConfigError: if the factory gives no backend.
            ForeignError: if it raises.
        """
        backend: Backend = BACKENDS.create(self.name, self.where, self.params)
        if not isinstance(backend, Backend):
            raise ConfigError(f"{self.where}: '{self.name}' gave a {type(backend).__name__}; return a Backend")
        backend.spec = self
        return backend


@dataclass(frozen=True)
class Artifact:
    """The file or files of one model and the backend that can load them; picklable.

    Attributes:
        backend: that loads them.
        files: the first is the one that messages name.
        sha256: of each file, as it was made.
        recipe: that made the model.
        model: the factory of its structure; None for files that hold their own.
        observers: that chose its scales.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from quantbench.recipes.fp32 import fp32_baseline
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder) / "model.safetensors"
        ...     written = file.write_bytes(b"weights")
        ...     artifact = Artifact.of_files(BackendSpec("torch", {}, "here"), [file], fp32_baseline())
        ...     print(artifact.path.name, artifact.size_bytes)
        model.safetensors 7
    """

    backend: BackendSpec
    files: tuple[Path, ...]
    sha256: tuple[str, ...]
    recipe: Recipe
    model: ModelSource | None = None
    observers: Observers = field(default_factory=dict)

    @classmethod
    def of_files(
        cls,
        backend: BackendSpec,
        files: Iterable[Path],
        recipe: Recipe,
        model: ModelSource | None = None,
        observers: Observers | None = None,
    ) -> Artifact:
        """The artifact of files on disk, hashed now."""
        paths = tuple(files)
        return cls(backend, paths, tuple(sha256_of_file(path) for path in paths), recipe, model, observers or {})

    @property
    def path(self) -> Path:
        """The first file."""
        return self.files[0]

    @property
    def size_bytes(self) -> int:
        """Of all files, as they are on disk now."""
        return sum(path.stat().st_size for path in self.files)


class Predictor(Guarded, ABC):
    """A loaded artifact: named input arrays of one batch → named output arrays.

    Example:
        >>> import numpy as np
        >>> class Doubled(Predictor):
        ...     def __call__(self, inputs):
        ...         return {"output": 2 * inputs["input"]}
        >>> Doubled()({"input": np.ones(2)})
        {'output': array([2., 2.])}
    """

    guarded = frozenset({"__call__", "prepared", "kernels"})

    def _called(self, method: str) -> str:
        words = {"__call__": "the forward", "kernels": "the forward whose kernels are counted"}
        return words.get(method, f"the forward's {method} input")

    @abstractmethod
    def __call__(self, inputs: Inputs) -> Outputs:
        """Runs one batch.

        Args:
            inputs: arrays `[n, …]`; with one input its name does not matter. Strides are kept: an array that is
                channels last in memory reaches the model as such.

        Returns:
            Arrays `[n, …]`.

        Raises:
            EvaluationError: if the model gives no arrays.
        """

    def prepared(self, inputs: Inputs) -> Inputs:
        """The same values in the memory layout that this predictor runs fastest on; called outside of what is timed."""
        return inputs

    @property
    def takes(self) -> tuple[TensorSpec, ...]:
        """The inputs that the artifact's file tells; none where it tells nothing."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines about what was done to samples and outputs because the artifact asks for it, known after a forward."""
        return ()

    @property
    def compile_s(self) -> float | None:
        """Seconds that it took to compile, once, and that no forward counts; None where nothing is compiled."""
        return None

    def kernels(self, inputs: Inputs) -> Coverage | None:  # noqa: ARG002
        """The kernels that run one batch by now, after all that it ran before; None where the runtime does not tell."""
        return None


@dataclass(frozen=True)
class Description:
    """An artifact's files, described.

    Attributes:
        keys: dtype and shape of each key, scheme and axis of quantized ones.
        digests: sha256 of each key's value.
        payload_bytes: of the values alone, the same with every version of the library that wrote them.
        graph: what else a file tells of its structure, as JSON: operators with their counts, inputs, outputs, versions.
    """

    keys: Schema
    digests: dict[str, str]
    payload_bytes: int
    graph: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Quantized:
    """A quantized model as a file, and as it was before it was saved.

    Attributes:
        artifact: the file or files.
        converted: the object that was saved; what is measured is loaded from the artifact instead.
    """

    artifact: Artifact
    converted: Predictor


@dataclass(frozen=True)
class Calibration:
    """Calibration data, and what else a recipe may need beside the reference.

    Attributes:
        batches: gives normalized inputs, as many as the recipe calibrates with; called only by recipes that calibrate.
        samples: a few normalized inputs of the training side that show whether the model can be quantized at all.
        trained: the fine-tuned weights of a recipe that is trained.
        command: makes those weights again; for messages.
    """

    batches: Callable[[], Iterable[Inputs]]
    samples: Inputs
    trained: Path | None = None
    command: str = ""


class Backend(Guarded, ABC):
    """Lowers recipes to artifacts, loads and describes artifacts. Constructing one changes nothing in the process.

    Only `load` and `describe` must be written. The optional rest says by default that, and why, it cannot.

    Attributes:
        name: as registered.
        engine: the family of kernels it runs, which names goldens; `none` where there is only one.
        libraries: distributions whose kernels compute, so that their versions decide the figures.
        quantizes_with: modules that import, in seconds, what `quantize` needs; a process that quantizes again begins
            with them.
        takes_layers: recipes may name the layers that `switchable` gives, so that a search's result can be quantized.
        unswitchable: why, without `switchable`, no layer can be switched, and what to do instead.
        spec: creates this backend again; set by `BackendSpec.create`.

    Example:
        >>> from quantbench.recipes.fp32 import fp32_baseline
        >>> class Doubled(Predictor):
        ...     def __call__(self, inputs):
        ...         return {"output": 2 * inputs["input"]}
        >>> class DoublingBackend(Backend):
        ...     name = "doubling"
        ...     def load(self, artifact, threads):
        ...         return Doubled()
        ...     def describe(self, artifact):
        ...         return Description(keys={}, digests={}, payload_bytes=0)
        >>> DoublingBackend().supports(fp32_baseline())
        "backend 'doubling' cannot quantize: it only loads and describes artifacts that were made elsewhere"
    """

    name: ClassVar[str]
    guarded = frozenset({
        "load", "describe", "files_of", "supports", "quantize", "lowered", "rehearse", "kernels", "forms", "switchable",
        "insides", "trained_insides", "prepare_training", "freeze", "convert_trained",
    })  # fmt: skip
    engine: str = "none"
    libraries: ClassVar[tuple[str, ...]] = ("torch",)
    quantizes_with: ClassVar[tuple[str, ...]] = ()
    takes_layers: ClassVar[bool] = False
    unswitchable: ClassVar[str] = "it only loads and describes artifacts that were made elsewhere"
    spec: BackendSpec

    def _called(self, method: str) -> str:
        return f"backend '{getattr(self, 'name', type(self).__name__)}': {method}"

    @abstractmethod
    def load(self, artifact: Artifact, threads: int) -> Predictor:
        """Loads an artifact from its files.

        Args:
            artifact: of this backend.
            threads: intra-operator threads of the predictor.

        Raises:
            CheckpointError: if a file is missing, damaged, unsafe or not of the artifact's model and recipe.
        """

    @abstractmethod
    def describe(self, artifact: Artifact) -> Description:
        """Reads an artifact's keys from its files.

        Raises:
            CheckpointError: if a file is missing or damaged.
        """

    def files_of(self, path: Path) -> tuple[Path, ...]:
        """All files of an artifact that was made elsewhere, the named one first: weights may lie beside it.

        Raises:
            CheckpointError: if one of them is missing, or lies outside of the folder.
        """
        return (path,)

    def supports(self, recipe: Recipe) -> str | None:  # noqa: ARG002
        """The reason why this backend cannot run a recipe; None if it can."""
        return self._cannot("quantize")

    def quantize(self, reference: Artifact, recipe: Recipe, calibration: Calibration, folder: Path) -> Quantized:  # noqa: ARG002
        """Quantizes the reference and writes the artifact's files into a folder.

        Raises:
            QuantizationError: if the model cannot be quantized this way, saying what to change.
            BaselineError: if trained weights do not fit or are not finite.
        """
        raise QuantizationError(self.supports(recipe) or self._cannot("quantize"))

    def lowered(self, reference: Artifact, samples: Inputs, folder: Path) -> Quantized | None:  # noqa: ARG002
        """The reference in this backend's own format, nothing quantized, which its candidates are timed against.

        Args:
            reference: an artifact of another backend.
            samples: a few normalized inputs, for formats that are made by running the model.
            folder: for the files.

        Returns: None where candidates are compared with the reference as it is.

        Raises:
            QuantizationError: if the model cannot be written in that format, naming the operation that stops it.
        """
        return None

    def rehearse(self, reference: Artifact, recipe: Recipe, samples: Inputs) -> None:
        """Finds out in a forward or two whether the model can be quantized at all; called before what takes long.

        Raises:
            QuantizationError: if some part cannot run quantized, naming it and what to use instead.
        """

    def kernels(self, artifact: Artifact, inputs: Inputs) -> Coverage | None:  # noqa: ARG002
        """The precision of the kernels that really run one batch; None where the runtime does not tell.

        Raises:
            MeasurementError: if no operator was seen that multiplies, or might.
        """
        return None

    def forms(self, artifact: Artifact, threads: int) -> dict[str, Predictor]:
        """An artifact in other forms that compute the same and may be faster, by name; the first is as written."""
        return {"as written": self.load(artifact, threads)}

    def switchable(self, reference: Artifact, candidate: Artifact, sample: Inputs) -> nn.Module:  # noqa: ARG002
        """A model of the candidate whose layers can be switched between bit widths (`quantbench.quant.switchable`).

        Modules keep values between forwards; a `WholeModel` gives a predictor for each choice, for full passes.

        Args:
            reference: the artifact it was quantized from.
            candidate: of this backend.
            sample: one normalized input.

        Raises:
            QuantizationError: if no layer of such a model can be switched.
        """
        raise QuantizationError(f"backend '{self.name}' cannot switch layers between bit widths: {self.unswitchable}")

    def insides(self, reference: Artifact, candidate: Artifact) -> Insides:  # noqa: ARG002
        """The values inside of both, layer by layer, and the candidate with layers put back (`quantbench.blame`).

        Args:
            reference: an artifact of this backend, or one that its candidates are made of.
            candidate: of this backend.

        Raises:
            QuantizationError: if the layers of such an artifact cannot be looked at.
        """
        raise QuantizationError(f"backend '{self.name}' does not show the values inside of its artifacts")

    def trained_insides(self, reference: Artifact, candidate: Artifact, trained: Path) -> Insides:  # noqa: ARG002
        """The same of a candidate by a trained recipe, for backends that put layers back to its fine-tuned weights.

        Raises:
            QuantizationError, BaselineError: see `insides`, `quantize`.
        """
        return self.insides(reference, candidate)

    def prepare_training(self, reference: Artifact, recipe: Trained, samples: Inputs) -> nn.Module:  # noqa: ARG002
        """A copy with fake quantizers, in train mode, ready to be fine-tuned.

        Args:
            reference: that is fine-tuned.
            recipe: of this training.
            samples: a few normalized inputs, for graphs that are made by running the model.

        Raises:
            QuantizationError: if the model cannot be quantized this way, saying what to change.
        """
        raise QuantizationError(self._cannot("train with fake quantizers"))

    def freeze(self, prepared: nn.Module) -> None:  # noqa: ARG002
        """Stops batch-norm statistics and observers of a model in training, in place."""
        raise QuantizationError(self._cannot("train with fake quantizers"))

    def convert_trained(self, prepared: nn.Module) -> Predictor:  # noqa: ARG002
        """Converts a fine-tuned model to what its artifact will hold."""
        raise QuantizationError(self._cannot("train with fake quantizers"))

    def _cannot(self, what: str) -> str:
        return f"backend '{self.name}' cannot {what}: it only loads and describes artifacts that were made elsewhere"
