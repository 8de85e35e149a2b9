"""Recipes in documents that were written when their words were those of torch: read, and written in that form
where a hash of it was accepted.

Nothing here changes any more: a recipe that is new since has one form only.
"""

from __future__ import annotations

from typing import Any

from quantbench.recipes.spec import HISTOGRAM_ACTIVATION, PER_CHANNEL_WEIGHT, Recipe, StaticInt8, describe

KINDS = {
    "Fp32": "fp32",
    "DynamicInt8": "dynamic_int8",
    "StaticInt8": "static_int8",
    "QatInt8": "qat_int8",
    "LowBit": "low_bit",
}
OBSERVERS = {
    "MinMaxObserver": ("minmax", "per_tensor"),
    "PerChannelMinMaxObserver": ("minmax", "per_channel"),
    "MovingAverageMinMaxObserver": ("moving_average", "per_tensor"),
    "MovingAveragePerChannelMinMaxObserver": ("moving_average", "per_channel"),
    "HistogramObserver": ("histogram", "per_tensor"),
}
# Values of parameters that have another word now: parameter → old → new.
OLD_VALUES = {"quantizer": {"clipping": "pact"}}
# Fields that were written at their default too.
ALWAYS_WRITTEN = ("first_bits", "last_bits")
TENSORS = ("activation", "weight")
# All 8 bits of activations, with the default observers otherwise.
FULL_RANGE = StaticInt8(HISTOGRAM_ACTIVATION, PER_CHANNEL_WEIGHT, 0)


def neutral(described: dict[str, Any]) -> dict[str, Any]:
    """A description as `describe` gives it, from one of either form; what it does not know it leaves as it is."""
    kind = described.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        return described
    description = {key: value for key, value in described.items() if key not in ALWAYS_WRITTEN or value is not None}
    for key, words in OLD_VALUES.items():
        if description.get(key) in words:
            description[key] = words[description[key]]
    if description.pop("full_range", False):
        description |= _full_range()
    for tensor in TENSORS:
        if tensor in description:
            description[tensor] = _neutral_tensor(description[tensor])
    return {**description, "kind": KINDS[kind]}


def accepted_form(recipe: Recipe) -> dict[str, Any]:
    """A description in the words in which hashes of it were accepted and trainings were begun.

    A hash cannot be translated; what is hashed or compared as a whole therefore keeps its form.
    """
    description = describe(recipe)
    kinds = {new: old for old, new in KINDS.items()}
    if recipe.kind not in kinds:
        return description
    description["kind"] = kinds[recipe.kind]
    if recipe.kind == "low_bit":
        description = {**dict.fromkeys(ALWAYS_WRITTEN), **description}
    for key, words in OLD_VALUES.items():
        for old, new in words.items():
            if description.get(key) == new:
                description[key] = old
    if {tensor: description.get(tensor) for tensor in TENSORS} == _full_range():
        description |= {"activation": None, "weight": None, "full_range": True}
    for tensor in TENSORS:
        if description.get(tensor) is not None:
            description[tensor] = _accepted_tensor(description[tensor])
    return description


def _full_range() -> dict[str, Any]:
    description = describe(FULL_RANGE)
    return {"activation": description["activation"] | {"reduce_range": False}, "weight": description["weight"]}


def _neutral_tensor(description: Any) -> Any:
    observer = description.get("observer") if isinstance(description, dict) else None
    if not isinstance(observer, str) or observer not in OBSERVERS:
        return description
    rest = {key: value for key, value in description.items() if key not in ("observer", "dtype", "qscheme")}
    ends, granularity = OBSERVERS[observer]
    scheme = str(description.get("qscheme")).rpartition("_")[2]
    dtype = str(description.get("dtype")).removeprefix("q")
    return {"range": ends, "dtype": dtype, "granularity": granularity, "scheme": scheme, **rest}


def _accepted_tensor(description: dict[str, Any]) -> dict[str, Any]:
    observers = {how: observer for observer, how in OBSERVERS.items()}
    observer = observers.get((description["range"], description["granularity"]))
    if observer is None:
        return description
    rest = {key: value for key, value in description.items() if key not in ("range", "dtype", "granularity", "scheme")}
    qscheme = f"{description['granularity']}_{description['scheme']}"
    return {"observer": observer, "dtype": f"q{description['dtype']}", "qscheme": qscheme, **rest}
