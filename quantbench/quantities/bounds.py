"""Annotations of bounds that several gates share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PercentagePoints = Annotated[float, Field(ge=-100, le=100)]
