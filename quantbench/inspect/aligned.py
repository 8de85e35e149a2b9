"""Two checkpoints brought to the same names: what fusing and preparing for quantization add to them and move."""

from __future__ import annotations

from quantbench.backends.origin import FAKE_QUANTIZER, LOW_BIT_QUANTIZERS, OBSERVER
from quantbench.inspect.anatomy import State
from quantbench.inspect.folding import BATCH_NORM, batch_norms, names_apart

PARTS = (
    ("fake quantizer of the weight", FAKE_QUANTIZER),
    ("observer", OBSERVER),
    *((f"learned range of the {of}", part) for of, part in zip(("input", "weight"), LOW_BIT_QUANTIZERS, strict=True)),
)


def aligned(before: State, after: State) -> tuple[State, State, list[str]]:
    """Both with the names that they share, and a line for everything that was moved or taken out for it.

    Args:
        before: the one nearer to floating point.
        after: the other.
    """
    before, after = dict(before), dict(after)
    lines = [
        *_without_observers(before, after, "removed"),
        *_without_observers(after, before, "added"),
        *_unfused(before, after),
        *_unfused(after, before),
        *_batch_norms_moved_back(before, after),
    ]
    return before, after, lines


def _without_observers(state: State, other: State, what: str) -> list[str]:
    """Takes out the observers and fake quantizers that the other does not have."""
    lines = []
    for name, part in PARTS:
        own = [key for key in state if part in key and key not in other]
        lines += [f"{layer}: {name} {what}" for layer in dict.fromkeys(key.partition(part)[0] for key in own)]
        for key in own:
            del state[key]
    return lines


def _unfused(state: State, other: State) -> list[str]:
    """A layer fused with the activation after it is the member 0 of a group that has the layer's name."""
    lines = []
    for key in [key for key in state if key.endswith(".0.weight")]:
        layer = key.removesuffix(".0.weight")
        if f"{layer}.weight" not in other or key in other or f"{layer}.weight" in state:
            continue
        _rename(state, f"{layer}.0.", f"{layer}.")
        lines.append(f"{layer}: fused with the activation after it, as {layer}.0")
    return lines


def _batch_norms_moved_back(before: State, after: State) -> list[str]:
    """Fusing for training keeps a batch norm, inside of the layer before it."""
    lines = []
    for inner in batch_norms(after):
        layer, _, own = inner.rpartition(".")
        if own != "bn" or any(key.startswith(f"{inner}.") for key in before):
            continue
        free = [
            name
            for name in batch_norms(before)
            if not any(key.startswith(f"{name}.") for key in after)
            and name.rpartition(".")[0] == layer.rpartition(".")[0]
            and len(before[f"{name}.weight"]) == len(after[f"{inner}.weight"])
        ]
        if not free:
            continue

        def order(name: str, inner: str = inner, layer: str = layer) -> tuple[bool, int]:
            same = all(
                before[f"{name}.{part}"].double().equal(after[f"{inner}.{part}"].double()) for part in BATCH_NORM
            )
            return not same, names_apart(layer, name)

        name = min(free, key=order)
        _rename(after, f"{inner}.", f"{name}.")
        lines.append(f"{layer}: batch norm {name} moved into the fused layer, not folded")
    return lines


def _rename(state: State, old: str, new: str) -> None:
    """Gives every key that begins with `old` the beginning `new`, where no other key has that name."""
    for key in [key for key in state if key.startswith(old)]:
        renamed = new + key.removeprefix(old)
        if renamed not in state:
            state[renamed] = state.pop(key)
