"""Base of the backends on torch.ao: recipes as steps, the quantized engine, and what runs on it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.ao import quantization as ao
from torch.ao.nn.intrinsic.qat import freeze_bn_stats

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.copying import copied
from quantbench.backends.coverage import Coverage
from quantbench.backends.engines import check_engine, engine_in_use
from quantbench.backends.interface import Artifact, Observers
from quantbench.backends.module import ModulePredictor
from quantbench.backends.state_dict import Converted, StateDictBackend, reference_module, wrong_backend
from quantbench.backends.torch_ao.qconfigs import static_qconfig, training_qconfig
from quantbench.errors import QuantizationError
from quantbench.recipes.lowering import unsupported
from quantbench.recipes.spec import DynamicInt8, Fp32, LowBit, QatInt8, Recipe, StaticInt8, Trained

if TYPE_CHECKING:
    from quantbench.backends.insides import Insides

# Left on a model in training of which no layer is quantized, since it looks like one that was never prepared.
CONTROL = "quantbench_control"


class EnginePredictor(ModulePredictor):
    """A module that runs on a quantized engine.

    Args:
        module: converted on that engine.
        threads: see `ModulePredictor`.
        engine: the process's while it runs.
    """

    def __init__(self, module: nn.Module, threads: int | None, engine: str) -> None:
        super().__init__(module, threads)
        self._on_engine = engine_in_use(engine)

    def __call__(self, inputs: Inputs) -> Outputs:
        """See `Predictor.__call__`."""
        with self._on_engine:
            return super().__call__(inputs)

    def kernels(self, inputs: Inputs) -> Coverage | None:
        """See `Predictor.kernels`."""
        with self._on_engine:
            return super().kernels(inputs)


class TorchAoBackend(StateDictBackend):
    """A mode of torch.ao on one quantized engine, which is the process's while this backend works, and not longer.

    A mode writes the steps: `rehearsed`, `prepared`, `prepared_qat`, `calibrated`, `observers`, `int8`, `dynamic`. Each
    is given a model of its own.

    Attributes:
        first_step: that messages name where a model cannot be copied.
    """

    first_step: ClassVar[str] = "prepare"

    def __init__(self, engine: str) -> None:
        self.engine = check_engine(engine)

    @abstractmethod
    def rehearsed(self, model: nn.Module, recipe: StaticInt8 | QatInt8, samples: torch.Tensor) -> None:
        """Takes every step on a few samples, and the model stays as it was.

        Raises:
            QuantizationError: if some part cannot run quantized, naming it.
        """

    @abstractmethod
    def prepared(self, model: nn.Module, recipe: StaticInt8) -> nn.Module:
        """A model in eval mode with observers."""

    @abstractmethod
    def prepared_qat(self, model: nn.Module, recipe: QatInt8) -> nn.Module:
        """A model in train mode with fake quantizers, or with none where the recipe names no layer."""

    @abstractmethod
    def calibrated(self, prepared: nn.Module, batches: Iterable[torch.Tensor]) -> None:
        """Shows batches to observers.

        Raises:
            QuantizationError: if there is no sample.
            SampleError: naming the sample that is not finite.
        """

    @abstractmethod
    def observers(self, prepared: nn.Module) -> Observers:
        """Observers of a prepared model by layer."""

    @abstractmethod
    def int8(self, prepared: nn.Module, structure_only: bool = False) -> nn.Module:
        """A prepared model that is needed no more, converted; without calibration too for its structure alone."""

    @abstractmethod
    def dynamic(self, model: nn.Module, recipe: DynamicInt8) -> nn.Module:
        """A model whose layers of some types quantize activations batch by batch."""

    def insides(self, reference: Artifact, candidate: Artifact) -> Insides:
        """See `Backend.insides`."""
        return self.insides_of(reference_module(reference), candidate.recipe, self.module(candidate))

    def insides_of(
        self,
        model: nn.Module,  # noqa: ARG002 — for modes whose modules can be looked at
        recipe: Recipe,  # noqa: ARG002
        converted: nn.Module,  # noqa: ARG002
    ) -> Insides:
        """The values inside of a reference and a candidate, both loaded for this alone."""
        raise QuantizationError(f"backend '{self.name}' does not show the values inside of its artifacts")

    def supports(self, recipe: Recipe) -> str | None:
        """See `Backend.supports`."""
        return unsupported(self.name, recipe)

    def rehearse_module(self, model: nn.Module, recipe: Recipe, samples: torch.Tensor) -> None:
        """See `Backend.rehearse`."""
        if isinstance(recipe, LowBit):
            raise QuantizationError(wrong_backend(self.name, recipe))
        if isinstance(recipe, StaticInt8 | QatInt8) and recipe.layers != ():
            with self._settings():
                self.rehearsed(model, recipe, samples)

    def quantize_module(
        self, model: nn.Module, recipe: Recipe, batches: Callable[[], Iterable[torch.Tensor]]
    ) -> Converted:
        """See `StateDictBackend.quantize_module`."""
        match recipe:
            case Fp32():
                return Converted(model, {})
            case DynamicInt8():
                return Converted(self._dynamic(model, recipe), {})
            case StaticInt8():
                prepared = self._prepared(model, recipe)
                self.calibrated(prepared, batches())
                observers = self.observers(prepared)
                return Converted(self._int8(prepared), observers)
            case QatInt8():
                raise QuantizationError("a QAT recipe is trained: prepare_training, fine-tune, convert_trained")
            case _:
                raise QuantizationError(wrong_backend(self.name, recipe))

    def prepare_module(self, model: nn.Module, recipe: Trained) -> nn.Module:
        """See `Backend.prepare_training`."""
        if not isinstance(recipe, QatInt8):
            raise QuantizationError(wrong_backend(self.name, recipe))
        prepared = self.prepared_qat(copied(model, "prepare_qat").train(), recipe)
        if recipe.layers == ():
            setattr(prepared, CONTROL, True)
        return prepared

    def freeze(self, prepared: nn.Module) -> None:
        """See `Backend.freeze`."""
        prepared.apply(freeze_bn_stats)
        prepared.apply(ao.disable_observer)

    def convert_module(self, prepared: nn.Module) -> Converted:
        """See `Backend.convert_trained`."""
        return self._converted(prepared, structure_only=False)

    def skeleton(self, model: nn.Module, recipe: Recipe) -> nn.Module:
        """See `StateDictBackend.skeleton`."""
        match recipe:
            case Fp32():
                return model
            case DynamicInt8():
                return self._dynamic(model, recipe)
            case StaticInt8():
                return self._int8(self._prepared(model, recipe), structure_only=True)
            case QatInt8():
                return self._converted(self.prepare_module(model, recipe), structure_only=True).model
            case _:
                raise QuantizationError(wrong_backend(self.name, recipe))

    def _settings(self) -> engine_in_use:
        """See `StateDictBackend._settings`: int8 weights are packed for the process's engine."""
        return engine_in_use(self.engine)

    def _predictor(self, module: nn.Module, threads: int | None = None) -> ModulePredictor:
        return EnginePredictor(module, threads, self.engine)

    def _prepared(self, model: nn.Module, recipe: StaticInt8) -> nn.Module:
        return self.prepared(copied(model, self.first_step).eval(), recipe)

    def _int8(self, prepared: nn.Module, structure_only: bool = False) -> nn.Module:
        with self._settings():
            return self.int8(prepared, structure_only)

    def _dynamic(self, model: nn.Module, recipe: DynamicInt8) -> nn.Module:
        with self._settings():
            return self.dynamic(model, recipe)

    def _converted(self, prepared: nn.Module, structure_only: bool) -> Converted:
        trained = copied(prepared, "convert").eval()
        if getattr(prepared, CONTROL, False):
            return Converted(trained, {})
        observers = self.observers(trained)
        return Converted(self._int8(trained, structure_only), observers)

    def qconfig(self, recipe: StaticInt8 | QatInt8) -> ao.QConfig:
        """Observers or fake quantizers of a recipe on the engine."""
        if isinstance(recipe, QatInt8):
            return training_qconfig(recipe, self.engine)
        return static_qconfig(recipe, self.engine)
