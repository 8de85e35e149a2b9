"""Words that have another one now, in files of users and in documents that were written before: read, and written
in the old form where a hash of it was accepted.

Nothing here changes any more: a recipe that is new since has one form only.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from quantbench.errors import OldWordWarning
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
# Names and words that have another one now: old → new.
OLD_RECIPES = {"static_int8_blocks": "static_int8_layers", "qat_int8_blocks": "qat_int8_layers"}
OLD_GATES = {"block_drop_pp": "layer_drop_pp"}
OLD_ATTRIBUTES = {"blocks": "layer_groups"}
# Parameters, of the recipes above and of the kinds that these make.
OLD_KEYS = {"blocks": "layers"}
KINDS_OF_OLD_KEYS = ("static_int8", "qat_int8")
# Values of parameters of one recipe: parameter → old → new.
RECIPE_OF_OLD_VALUES = "low_bit"
OLD_VALUES = {"quantizer": {"clipping": "pact"}}
# Fields that were written at their default too.
ALWAYS_WRITTEN = ("first_bits", "last_bits")
TENSORS = ("activation", "weight")
# All 8 bits of activations, with the default observers otherwise.
FULL_RANGE = StaticInt8(HISTOGRAM_ACTIVATION, PER_CHANNEL_WEIGHT, 0)


def warn_of_old_word(place: str, old: str, new: str) -> None:
    """Hints that something of the user's says a word that has another one now."""
    warnings.warn(f"{place}: '{old}' is '{new}' now; the old word is still read", OldWordWarning, stacklevel=3)


def new_word(word: str, words: Mapping[str, str], place: str) -> str:
    """The word of today, with a hint where it is another one.

    Args:
        word: as the user says it.
        words: old → new.
        place: where it stands, for the hint.
    """
    new = words.get(word, word)
    if new != word:
        warn_of_old_word(place, word, new)
    return new


def recipe_in_new_words(recipe: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A recipe with its parameters as a user names it, in the words of today, with a hint for each that is another.

    Args:
        recipe: `name` and parameters; what is wrong with them is left as it is.
        place: where it stands, for the hints.
    """
    named = dict(recipe)
    if isinstance(name := named.get("name"), str):
        named["name"] = new_word(name, OLD_RECIPES, f"{place}.name")
    if named.get("name") in OLD_RECIPES.values():
        # Both words at once are a mistake, which is left for the check of parameters.
        words = {old: new for old, new in OLD_KEYS.items() if new not in named}
        named = {new_word(key, words, place): value for key, value in named.items()}
    for key, words in OLD_VALUES.items() if named.get("name") == RECIPE_OF_OLD_VALUES else ():
        if isinstance(value := named.get(key), str):
            named[key] = new_word(value, words, f"{place}.{key}")
    return named


def gates_in_new_words(gates: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Gates with their bounds as a user names them, in the words of today, with a hint for each that is another."""
    words = {old: new for old, new in OLD_GATES.items() if new not in gates}
    return {new_word(gate, words, place): bound for gate, bound in gates.items()}


# Names in documents, which nobody writes by hand: read without a hint.
RecipeName = Annotated[str, AfterValidator(lambda name: OLD_RECIPES.get(name, name))]
QuantityName = Annotated[str, AfterValidator(lambda name: OLD_GATES.get(name, name))]


def neutral(described: dict[str, Any]) -> dict[str, Any]:
    """A description as `describe` gives it, from one of any former form; what it does not know it leaves as it is."""
    kind = described.get("kind")
    if not isinstance(kind, str):
        return described
    description = _in_neutral_words(described) if kind in KINDS else described
    if description["kind"] not in KINDS_OF_OLD_KEYS:
        return description
    return {OLD_KEYS.get(key, key): value for key, value in description.items()}


def _in_neutral_words(described: dict[str, Any]) -> dict[str, Any]:
    description = {key: value for key, value in described.items() if key not in ALWAYS_WRITTEN or value is not None}
    for key, words in OLD_VALUES.items():
        if description.get(key) in words:
            description[key] = words[description[key]]
    if description.pop("full_range", False):
        description |= _full_range()
    for tensor in TENSORS:
        if tensor in description:
            description[tensor] = _neutral_tensor(description[tensor])
    return {**description, "kind": KINDS[described["kind"]]}


def accepted_form(recipe: Recipe) -> dict[str, Any]:
    """A description in the words in which hashes of it were accepted and trainings were begun.

    A hash cannot be translated; what is hashed or compared as a whole therefore keeps its form.
    """
    description = describe(recipe)
    kinds = {new: old for old, new in KINDS.items()}
    if recipe.kind not in kinds:
        return description
    if recipe.kind in KINDS_OF_OLD_KEYS:
        old_keys = {new: old for old, new in OLD_KEYS.items()}
        description = {old_keys.get(key, key): value for key, value in description.items()}
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
