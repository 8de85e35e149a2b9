"""Recipes whose layers can be left in fp32 one by one, and those whose layers cannot."""

from __future__ import annotations

from quantbench.errors import QuantizationError
from quantbench.recipes.spec import Recipe, StaticInt8


def static_recipe(recipe: Recipe) -> StaticInt8:
    """The recipe.

    Raises:
        QuantizationError: if it is of another kind.
    """
    if isinstance(recipe, StaticInt8):
        return recipe
    raise QuantizationError(
        f"the recipe ({recipe.kind}) leaves no layer whose bit width can be switched; name an "
        "experiment of a static int8 recipe, whose layers can be left in fp32, or of a low-bit one"
    )
