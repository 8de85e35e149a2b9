"""The circumstances in which a fact was found: the class of machine, and hashes of all it was computed from."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from quantbench.records.base import Environment

TORCH: Final = "torch"


class Strict(BaseModel):
    """A part of an accepted result: unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MachineClass(Strict):
    """Class of machines that compute the same bits with the same kernels; never a machine's name.

    Attributes:
        isa: instruction sets among those for which int8 kernels exist.
        torch: its version, without the build that tells of accelerators; `none` where it computes nothing.
        threads: intra-operator.
        runtimes: that compute beside or instead of torch, with their versions.
    """

    architecture: str
    isa: tuple[str, ...]
    engine: str
    torch: str
    threads: int
    # Where there is none it goes without saying, as it did before there were others than torch.
    runtimes: Annotated[tuple[str, ...], Field(exclude_if=lambda names: not names)] = ()

    @classmethod
    def of(
        cls, environment: Environment, engine: str, threads: int, libraries: Collection[str] = (TORCH,)
    ) -> MachineClass:
        """The class of the machine that an environment describes.

        Args:
            environment: of the machine.
            engine: quantized engine in use.
            threads: intra-operator.
            libraries: distributions whose kernels compute.
        """
        versions = {name: environment.versions.get(name, "unknown").partition("+")[0] for name in libraries}
        return cls(
            architecture=environment.architecture,
            isa=environment.isa,
            engine=engine,
            torch=versions.pop(TORCH, "none"),
            threads=threads,
            runtimes=tuple(f"{name} {version}" for name, version in sorted(versions.items())),
        )

    def __str__(self) -> str:
        isa = " ".join((self.architecture, *self.isa))
        torch = () if self.torch == "none" else (f"torch {self.torch}",)
        return ", ".join([isa, f"engine {self.engine}", *torch, *self.runtimes, f"{self.threads} thread(s)"])


class Inputs(Strict):
    """Hashes of all that a result was computed from.

    Attributes:
        config: of model, data, recipe and backend as configured.
        baseline: of the fp32 weights.
        weights: of the weights that were quantized: the baseline's, or those trained for this experiment.
        calibration: of the calibration split.
        test: of the test split: samples, order and labels.
    """

    config: str
    baseline: str
    weights: str
    calibration: str
    test: str

    def differing(self, other: Inputs) -> list[str]:
        """Names of those that are not the other's."""
        return [name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)]
