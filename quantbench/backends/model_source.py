"""The factory of an artifact's model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantbench.errors import ConfigError
from quantbench.foreign import calling
from quantbench.registry import MODELS
from quantbench.upstream import silenced

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ModelSource:
    """The registered factory of a model.

    Attributes:
        name: registered.
        params: of the factory.
        where: place of the model in the configuration, for messages.

    Example:
        >>> ModelSource("cifar_cnn", {"n_classes": 10}, "here").build().training
        False
    """

    name: str
    params: dict[str, Any]
    where: str

    def build(self) -> nn.Module:
        """The untrained model, in eval mode.

        Raises:
            ConfigError: if the factory gives no module.
            ForeignError: if it raises.
        """
        from torch import nn

        from quantbench.backends.process_settings import kept

        with silenced(), kept():
            model: object = MODELS.create(self.name, self.where, self.params)
        if not isinstance(model, nn.Module):
            raise ConfigError(f"{self.where}: model '{self.name}' gave a {type(model).__name__}; return an nn.Module")
        with calling(f"{self.where}: model '{self.name}': eval"):
            return model.eval()
