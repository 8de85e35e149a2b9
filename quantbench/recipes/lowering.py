"""The backends of ours that run each kind of recipe, named without importing them.

A configuration is checked by this table, since a backend's own `supports` costs the import of its library. A backend
that is not in it is asked when it runs.
"""

from __future__ import annotations

from quantbench.recipes.spec import Recipe

# Suffix of a file that was made elsewhere → the backend that loads it.
FORMATS = {
    ".onnx": "onnxruntime", ".xml": "openvino", ".tflite": "litert", ".pt": "torchscript", ".ts": "torchscript",
    ".pt2": "pt2e", ".pte": "executorch",
}  # fmt: skip
# Runtime into which an fp32 reference can be written → the libraries without which it cannot.
RUNTIMES = {"onnxruntime": ("onnx", "onnxruntime"), "openvino": ("openvino",)}
# Runtimes that compile for seconds first, and whose fp32 form is asked for by name alone.
ON_REQUEST = ("pt2e", "executorch")
# Of files that were made elsewhere, whose suffix tells the backend, and of which `torch` loads state dicts alone.
READY_MADE = "ready_made"
# The first backend of any other kind is its default.
KINDS: dict[str, tuple[str, ...]] = {
    "eager": ("fp32", "dynamic_int8", "static_int8", "qat_int8"),
    "fx": ("fp32", "dynamic_int8", "static_int8", "qat_int8"),
    "low_bit": ("fp32", "low_bit"),
    "torch": ("fp32", "function", "ready_made"),
    "onnxruntime": ("fp32", "dynamic_int8", "static_int8", "weight_only", "ready_made", "function"),
    "openvino": ("fp32", "static_int8", "weight_only", "ready_made", "function"),
    "pt2e": ("fp32", "dynamic_int8", "static_int8", "qat_int8", "ready_made", "function"),
    "executorch": ("fp32", "dynamic_int8", "static_int8", "ready_made", "function"),
    "torchao": ("fp32", "dynamic_int8", "weight_only"),
}


def default_backend(recipe: Recipe) -> str | None:
    """The first backend that is known to run such recipes, or None if none is."""
    if recipe.kind == READY_MADE:
        return FORMATS[".onnx"]
    return next((backend for backend, kinds in KINDS.items() if recipe.kind in kinds), None)


def unsupported(backend: str, recipe: Recipe) -> str | None:
    """The reason why a backend does not run a recipe; None if it does, or if nothing is known of that backend.

    Example:
        >>> from quantbench.recipes.qat_int8 import qat_int8
        >>> unsupported("low_bit", qat_int8())
        "backend 'low_bit' does not run recipes of kind qat_int8; set backend: eager"
    """
    if backend not in KINDS or recipe.kind in KINDS[backend]:
        return None
    needed = default_backend(recipe) or "one that does"
    return f"backend '{backend}' does not run recipes of kind {recipe.kind}; set backend: {needed}"
