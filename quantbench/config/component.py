"""Registered names in a workload file, with parameters or without."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError


class Component(BaseModel):
    """A registered name with the parameters that its factory takes: `{name: cifar_cnn, width: 0.5}`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def params(self) -> dict[str, Any]:
        """Everything beside the name."""
        return dict(self.model_extra or {})

    @property
    def described(self) -> str | dict[str, Any]:
        """As JSON: the name alone where there are no parameters."""
        return {"name": self.name, **self.params} if self.params else self.name


def _named(component: Any) -> Any:
    """A name alone is a component without parameters."""
    if not isinstance(component, str | dict | Component):
        raise PydanticCustomError("component", "Input should be a name, or a mapping with a name")
    return {"name": component} if isinstance(component, str) else component


# `backend: eager` or `backend: {name: eager, engine: qnnpack}`.
NamedComponent = Annotated[Component, BeforeValidator(_named)]
# The same of one that may be left out, but not given as nothing.
OptionalComponent = Annotated[Component | None, BeforeValidator(_named)]
