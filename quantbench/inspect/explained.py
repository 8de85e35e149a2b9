"""Two checkpoints, and every difference between their keys explained by what quantization does, or left unexplained."""

from __future__ import annotations

from typing import Any

import torch

from quantbench.backends.checkpoint import describe_entry, schema_of
from quantbench.backends.origin import PACKED, PACKED_CODES, PACKED_DTYPE, WIDTHS, is_dynamic
from quantbench.backends.quantized_tensors import is_quantized
from quantbench.inspect.aligned import aligned
from quantbench.inspect.anatomy import State, value_difference
from quantbench.inspect.explanation import Explanation
from quantbench.inspect.folding import (
    LARGEST_ROUNDING,
    Layer,
    batch_norms,
    bias_difference,
    find_folding,
    is_rounded,
    is_same,
    layer_of,
    natural,
    steps_apart,
)
from quantbench.quant.packing import packed_bytes


def explain(before: State, after: State, names: tuple[str, str] = ("the first file", "the second file")) -> Explanation:
    """Accounts for every key of either state dict.

    Args:
        before: the one nearer to floating point.
        after: the other.
        names: what the two are called.
    """
    return _Comparison(before, after).run(names)


class _Comparison:
    def __init__(self, before: State, after: State) -> None:
        self.result = Explanation()
        self.before, self.after, self.result.explained = aligned(before, after)
        self.old, self.new = schema_of(self.before), schema_of(self.after)
        # Keys that no rule has accounted for yet.
        self.gone = {key for key in self.old if key not in self.new}
        self.added = {key for key in self.new if key not in self.old}
        # Batch norms that went somewhere, and keys whose values a rule has judged.
        self.free = [name for name in batch_norms(self.before) if f"{name}.running_mean" in self.gone]
        self.judged: set[str] = set()
        # Biases that are not what their exactly rounded weights let expect: a line for each.
        self.doubtful: list[str] = []

    def run(self, names: tuple[str, str]) -> Explanation:
        """Applies the rules in turn; each takes the keys that it explains."""
        # Layers in the order of their numbers, so that each finds the batch norm after it still free.
        for key in sorted(self.old.keys() & self.new.keys(), key=natural):
            if self.old[key] != self.new[key]:
                self.judged.add(key)
                if not self._reformatted(key):
                    self.result.unexplained.append(f"{key}: {_became(self.old[key], self.new[key])}")
        for key in sorted((key for key in self.added if key.endswith(PACKED)), key=natural):
            self._packed(key)
        for key in sorted((key for key in self.added if key.endswith(PACKED_CODES)), key=natural):
            self._packed_codes(key)
        for key in sorted((key for key in self.old if key.endswith(".weight") and self.free), key=natural):
            self._folded_in_float(key)
        self._scales()
        self._compare_values()
        trained = self.result.moved or self.result.values
        (self.result.values if trained else self.result.unexplained).extend(self.doubtful)
        for name, keys, schema in zip(names, (self.gone, self.added), (self.old, self.new), strict=True):
            self.result.unexplained += [
                f"{key}: only in {name}: {describe_entry(schema[key])}" for key in schema if key in keys
            ]
        return self.result

    def _reformatted(self, key: str) -> bool:
        """A tensor, or the tensors of a packed layer, of the same shapes in another number format."""
        old, new = self.before[key], self.after[key]
        layer = key.rpartition(".")[0]
        if key.endswith(PACKED) and _shapes(old) == _shapes(new) != []:
            self.result.explained.append(
                f"{key.removesuffix(PACKED)}: packed otherwise: {_became(self.old[key], self.new[key])}"
            )
            return True
        if not all(isinstance(value, torch.Tensor) for value in (old, new)) or old.shape != new.shape:
            return False
        # Nothing in quantization leads back from integers.
        if is_quantized(old) and not is_quantized(new):
            return False
        # Scales are numbers of one meaning each; another dtype there is no quantization.
        if not (old.is_floating_point() or is_quantized(old)) or not (new.is_floating_point() or is_quantized(new)):
            return False
        what = "quantized otherwise" if is_quantized(old) and is_quantized(new) else "dtype changed"
        self.result.explained.append(f"{layer}: {what}: {key} {_became(self.old[key], self.new[key])}")
        expected = layer_of(self.before, layer)
        if is_quantized(new) and not is_quantized(old) and key.endswith(".weight") and expected:
            self._quantized(layer, expected, new, self.after.get(f"{layer}.bias"))
        elif not is_quantized(new) and (difference := value_difference(old.to(new.dtype), new)):
            self.result.values.append(f"{key}: {difference}")
        return True

    def _quantized(self, layer: str, expected: Layer, found: torch.Tensor, bias: Any) -> None:
        """An int8 layer: the batch norm that went into it, and whether its weight and bias are what that gives."""
        folding = find_folding(layer, expected, self.before, self.free, lambda each: is_rounded(each, found))
        if folding is not None:
            expected = folding.layer
            self._take_batch_norm(layer, folding.batch_norm)
            if folding.is_exact and folding.batch_norm != folding.by_name:
                self.result.unexplained.append(
                    f"{layer}: {folding.batch_norm} is folded into it, but by its name {folding.by_name} belongs to it"
                )
        steps = steps_apart(expected, found)
        (self.result.rounded if steps <= LARGEST_ROUNDING else self.result.moved)[layer] = steps
        self._judge_bias(layer, expected.bias, bias)

    def _take_batch_norm(self, layer: str, name: str) -> None:
        self.free.remove(name)
        self.gone = {key for key in self.gone if not key.startswith(f"{name}.")}
        self.result.explained.append(f"{layer}: batch norm {name} folded into its weight and bias")

    def _judge_bias(self, layer: str, expected: torch.Tensor | None, found: Any) -> None:
        """A bias beside weights that fit is what folding gives, or nothing where nothing was."""
        key = f"{layer}.bias"
        if expected is None and found is None:
            self.added.discard(key)
        if expected is None or not isinstance(found, torch.Tensor) or expected.shape != found.shape:
            return
        self.judged.add(key)
        self.added.discard(key)
        if difference := bias_difference(expected, found):
            line = f"{key}: differs by up to {difference:.3g} from what the float layer gives"
            (self.result.values if layer in self.result.moved else self.doubtful).append(line)

    def _packed(self, key: str) -> None:
        """A linear layer whose weight and bias went into one packed object."""
        layer, packed = key.removesuffix(PACKED), self.after[key]
        expected, shapes = layer_of(self.before, layer), _shapes(packed)
        if expected is None or f"{layer}.weight" not in self.gone or len(shapes) != 2:
            return
        weight = list(expected.weight.shape)
        # A batch norm folded into it would have given it a bias.
        if shapes != _shapes((expected.weight, expected.bias)) and not (self.free and shapes == [weight, weight[:1]]):
            return
        self.gone -= {f"{layer}.weight", f"{layer}.bias"}
        self.added -= {key, f"{layer}{PACKED_DTYPE}"}
        inside = ", bias inside" if packed[1] is not None else ""
        became = _became(self.old[f"{layer}.weight"], self.new[key]["members"][0])
        self.result.explained.append(f"{layer}: linear packed: weight {became}{inside}")
        if is_quantized(packed[0]) and not is_quantized(expected.weight):
            self._quantized(layer, expected, packed[0], packed[1])

    def _packed_codes(self, key: str) -> None:
        """A low-bit layer, whose weight became codes."""
        layer = key.removesuffix(PACKED_CODES)
        weight, widths = self.before.get(f"{layer}.weight"), self.after.get(f"{layer}{WIDTHS}")
        if not isinstance(weight, torch.Tensor) or not isinstance(widths, torch.Tensor) or widths.shape != (2,):
            return
        bits, input_bits = widths.tolist()
        if self.after[key].shape != (packed_bytes(weight.numel(), bits),):
            return
        self.gone.discard(f"{layer}.weight")
        self.added -= {key, *(f"{layer}{part}" for part in (WIDTHS, ".weight_scale", ".clip"))}
        self.result.packed[layer] = bits
        became = f"{_became(self.old[f'{layer}.weight'], self.new[key])}: {bits}-bit codes"
        self.result.explained.append(f"{layer}: weight packed: {became}, of {input_bits} bits for its input")

    def _folded_in_float(self, key: str) -> None:
        """A layer that stayed in floating point with a batch norm folded into it, as in a fused model."""
        layer = key.removesuffix(".weight")
        expected, found = layer_of(self.before, layer), layer_of(self.after, layer)
        if expected is None or found is None or is_quantized(expected.weight) or is_quantized(found.weight):
            return
        folding = find_folding(layer, expected, self.before, self.free, lambda each: is_same(each, found.weight))
        if folding is not None and folding.is_exact:
            self._take_batch_norm(layer, folding.batch_norm)
            self.judged.add(key)
            self._judge_bias(layer, folding.layer.bias, found.bias)

    def _scales(self) -> None:
        """The scale and zero point of a layer's output, of a stub's, or of an operation's."""
        for key in sorted((key for key in self.added if key.endswith(".scale")), key=natural):
            layer = key.removesuffix(".scale")
            pair = {key, f"{layer}.zero_point"}
            if not pair <= self.added or not all(_is_number(self.after[each]) for each in pair):
                continue
            is_layer = self._is_quantized_layer(layer)
            others = any(other.startswith(f"{layer}.") for other in (set(self.new) | set(self.old)) - pair)
            if is_layer or not others:
                self.added -= pair
                # Converted stubs keep theirs in one dimension, operations such as an addition in none.
                stub = "of a quantization stub" if self.after[key].dim() else "of an operation's output"
                whose = "of its output" if is_layer else stub
                if is_layer and is_dynamic(self.after):
                    whose = "(unused: its activations are quantized dynamically)"
                self.result.explained.append(f"{layer}: scale and zero point {whose} added")

    def _is_quantized_layer(self, layer: str) -> bool:
        weight = self.after.get(f"{layer}.weight")
        return f"{layer}{PACKED}" in self.after or (is_quantized(weight))

    def _compare_values(self) -> None:
        for key in self.old:
            if key not in self.new or key in self.judged:
                continue
            difference = value_difference(self.before[key], self.after[key])
            if difference is None:
                self.result.unchanged += 1
            else:
                self.result.values.append(f"{key}: {difference}")


def _became(old: dict[str, Any], new: dict[str, Any]) -> str:
    return f"{describe_entry(old)} → {describe_entry(new)}"


def _shapes(value: Any) -> list[list[int] | None]:
    """Of a packed tuple's members, None for what is no tensor; nothing for what is no packed layer."""
    if not isinstance(value, tuple) or not value or not isinstance(value[0], torch.Tensor):
        return []
    return [list(each.shape) if isinstance(each, torch.Tensor) else None for each in value]


def _is_number(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not is_quantized(value) and value.numel() == 1
