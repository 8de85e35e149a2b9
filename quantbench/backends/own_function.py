"""Modules that a function of the user's returned: their state dict as a file, and filled into a structure again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from quantbench.backends.checkpoint import describe_entry, schema_of, write_checkpoint
from quantbench.backends.interface import Artifact
from quantbench.backends.process_settings import kept
from quantbench.errors import CheckpointError, QuantizationError
from quantbench.foreign import calling, cause_of
from quantbench.recipes.function import own_function
from quantbench.recipes.spec import Function
from quantbench.upstream import silenced

# Keys that do not fit and are named; the rest is counted.
SHOWN_MISFITS = 3
STRUCTURE = (
    'give structure: "your.module:function" (fp32 model → module of the structure of what is returned), or return the '
    "path of a file that another backend loads"
)


def write_returned(module: nn.Module, path: Path, function: str) -> None:
    """Saves the state dict of a module.

    Raises:
        ForeignError: if it has none that can be saved.
    """
    with calling(f"saving the state dict of the module that '{function}' returned"), silenced():
        write_checkpoint(path, module.state_dict())


def fill_returned(artifact: Artifact, recipe: Function, fp32: nn.Module, state: dict[str, Any]) -> nn.Module:
    """The module of a state dict that a function's module gave, in eval mode.

    Its tensors take the place of those in the structure, so that they keep their class and dtype.

    Args:
        artifact: for messages.
        recipe: names the structure, where it is not the fp32 model's.
        fp32: the untrained model.
        state: of the file.

    Raises:
        CheckpointError: if it does not fit.
    """
    path, function = artifact.path, recipe.function
    if recipe.structure is not None:
        model = _structure(recipe.structure, fp32)
    else:
        model = fp32
        if misfits := _misfits(model, state):
            more = f"; and {len(misfits) - SHOWN_MISFITS} more" if len(misfits) > SHOWN_MISFITS else ""
            raise CheckpointError(
                f"{path}: the state dict of what '{function}' returned does not fit the structure of the fp32 model: "
                f"{'; '.join(misfits[:SHOWN_MISFITS])}{more}; {STRUCTURE}"
            )
    try:
        with silenced():
            # Integers have no gradients.
            model.requires_grad_(False).load_state_dict(state, assign=True)
    except Exception as error:
        subject = f"structure '{recipe.structure}'" if recipe.structure else "structure of the fp32 model"
        raise CheckpointError(
            f"{path}: the state dict of what '{function}' returned does not fit the {subject} ({cause_of(error)}); "
            f"{'let that function give the structure of what is returned' if recipe.structure else STRUCTURE}"
        ) from None
    return model.eval()


def _structure(path: str, fp32: nn.Module) -> nn.Module:
    function = own_function(path, "recipe.structure")
    with calling(f"recipe.structure: '{path}'"), kept(), silenced():
        model = function(fp32)
    if not isinstance(model, nn.Module):
        raise QuantizationError(f"recipe.structure: '{path}' returned a {type(model).__name__}; return an nn.Module")
    return model


def _misfits(model: nn.Module, state: dict[str, Any]) -> list[str]:
    """Keys that do not fit, by name and shape: those that are missing, those of another shape, those that are new."""
    expected, found = schema_of(model.state_dict()), schema_of(state)
    missing = [f"'{key}' is missing" for key in expected if key not in found]
    changed = [
        f"'{key}' is {describe_entry(found[key])} instead of {describe_entry(entry)}"
        for key, entry in expected.items()
        if key in found and found[key].get("shape") != entry.get("shape")
    ]
    return missing + changed + [f"'{key}' is not of this model" for key in found if key not in expected]
