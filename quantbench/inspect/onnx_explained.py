"""Two files of ONNX, and every difference between them explained by what quantization does, or left unexplained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from quantbench.backends.entry import describe_entry
from quantbench.backends.onnx_description import entries
from quantbench.backends.onnx_file import Node, OnnxModel
from quantbench.inspect.explanation import Explanation
from quantbench.inspect.onnx_layers import DEQUANTIZE, GIVEN, INTEGER, QUANTIZE, Floats, Graph, Layer, Weight

# Rounding moves a code by half a step at most; a little more where float arithmetic differs.
LARGEST_ROUNDING = 0.51
# Share of the largest value by which the same computation in float32 differs.
LARGEST_FLOAT_ERROR = 1e-4
# Operators that do nothing to values in inference.
IDLE = ("Identity", "Dropout", "Constant", "Cast")
ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "Tanh")
BATCH_NORM = "BatchNormalization"


def explain_onnx(
    before: OnnxModel, after: OnnxModel, names: tuple[str, str] = ("the first file", "the second file")
) -> Explanation:
    """Accounts for every operator and every constant of either file.

    Args:
        before: the one nearer to floating point.
        after: the other.
        names: what the two are called.
    """
    return _Comparison(before, after).run(names)


class _Comparison:
    def __init__(self, before: OnnxModel, after: OnnxModel) -> None:
        self.result = Explanation()
        self.old, self.new = Graph(before), Graph(after)
        # What no rule has accounted for yet: places of nodes, and names of constants.
        self.gone, self.added = set(range(len(before.nodes))), set(range(len(after.nodes)))
        self.lost, self.found = set(before.constants), set(after.constants)

    def run(self, names: tuple[str, str]) -> Explanation:
        """Applies the rules in turn; each takes what it explains."""
        self._versions()
        for old, new in self._pairs():
            self._layer(old, new)
        self._same_constants()
        self._activations()
        self._same_nodes()
        self._removed()
        self._renamed()
        self._left_over(names)
        return self.result

    def _versions(self) -> None:
        one, other = self.old.model, self.new.model
        for domain in dict.fromkeys([*one.opset, *other.opset]):
            before, after = one.opset.get(domain), other.opset.get(domain)
            if before != after:
                moved = "added" if before is None else "removed" if after is None else f"{before} → {after}"
                self.result.explained.append(f"operator set {domain or 'ai.onnx'}: {moved}")
        for what, ours, theirs in (("input", one.inputs, other.inputs), ("output", one.outputs, other.outputs)):
            for name in dict.fromkeys([*ours, *theirs]):
                if ours.get(name) != theirs.get(name):
                    line = f"{what} '{name}': {ours.get(name, '(absent)')} → {theirs.get(name, '(absent)')}"
                    is_size = name in ours and name in theirs and _sizes(ours[name]) == _sizes(theirs[name])
                    (self.result.explained if is_size else self.result.unexplained).append(line)

    def _pairs(self) -> list[tuple[Layer, Layer]]:
        """Layers of both files that are the same: by name, by the name of the weight, by order and shape."""
        keys: list[Callable[[Layer], object]] = [
            lambda layer: layer.name,
            lambda layer: _base(layer.weight.key),
            lambda layer: layer.weight.values.shape,
        ]
        left, right, pairs = list(self.old.layers), list(self.new.layers), []
        for key in keys:
            for layer in list(left):
                fitting = [each for each in right if key(each) == key(layer)
                           and each.weight.values.shape == layer.weight.values.shape]  # fmt: skip
                if fitting:
                    pairs.append((layer, fitting[0]))
                    left.remove(layer)
                    right.remove(fitting[0])
        return sorted(pairs, key=lambda pair: pair[0].at)

    def _layer(self, old: Layer, new: Layer) -> None:
        """A layer in both files: its weight rounded, its batch norm folded, its bias as that gives."""
        self.gone -= old.nodes
        self.added -= new.nodes
        self.lost -= old.keys
        self.found -= new.keys
        weight, bias = old.weight.values, None if old.bias is None else old.bias.values
        norm = self.old.next_of(old.at, BATCH_NORM)
        if norm is not None and self.new.next_of(new.at, BATCH_NORM) is None:
            folded = self._folded(norm, weight, bias)
            if folded is not None:
                weight, bias = folded
                self.gone.discard(norm)
                self.lost -= set(self.old.nodes[norm].inputs)
                self.result.explained.append(
                    f"{old.name}: batch norm {self._name(norm)} folded into its weight and bias"
                )
        node, last = self.new.nodes[new.at], old.at if norm is None or norm in self.gone else norm
        relu = self.old.next_of(last)
        if relu is not None and self._clips_at_zero(node, GIVEN.get(new.op)):
            self._clipped(relu)
        self._weight(old, new, weight)
        self._bias(old, new, bias)

    def _name(self, at: int) -> str:
        return self.old.nodes[at].name or "after it"

    def _folded(self, norm: int, weight: Floats, bias: Floats | None) -> tuple[Floats, Floats] | None:
        """`w' = w γ / √(σ² + ε)`, `b' = (b − μ) γ / √(σ² + ε) + β`; see `quantbench.inspect.folding`."""
        node = self.old.nodes[norm]
        parts = [self.old.constant(name) for name in node.inputs[1:5]]
        if len(parts) != 4 or any(part is None or part.shape != weight.shape[:1] for part in parts):
            return None
        gamma, beta, mean, variance = (np.asarray(part) for part in parts)
        factor = gamma / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
        shift = ((0.0 if bias is None else bias) - mean) * factor + beta
        return weight * factor.reshape(-1, *[1] * (weight.ndim - 1)), shift

    def _weight(self, old: Layer, new: Layer, expected: Floats) -> None:
        ours, theirs = entries(self.old.model)[old.weight.key], entries(self.new.model)[new.weight.key]
        became = f"{describe_entry(ours)} → {describe_entry(theirs)}"
        if new.weight.codes is not None and old.weight.codes is None:
            steps = _steps_apart(expected, new.weight)
            (self.result.rounded if steps <= LARGEST_ROUNDING else self.result.moved)[old.name] = steps
            how = f", {old.op} → {new.op}" if new.op in INTEGER else ""
            self.result.explained.append(f"{old.name}: weight quantized: {became}{how}")
            return
        if ours.get("dtype") != theirs.get("dtype"):
            self.result.explained.append(f"{old.name}: weight in another type: {became}")
        if difference := _difference(expected, new.weight.values, ours.get("dtype") != theirs.get("dtype")):
            self.result.values.append(f"{old.name}: weight differs by up to {difference:.3g}")
        elif ours == theirs:
            self.result.unchanged += 1

    def _bias(self, old: Layer, new: Layer, expected: Floats | None) -> None:
        found = new.bias
        if expected is None and found is None:
            return
        one = np.zeros(()) if expected is None else expected
        other = np.zeros(()) if found is None else found.values
        step = 0.0 if found is None or found.scale is None else LARGEST_ROUNDING * found.scale
        excess = np.abs(one - other) - step
        limit = LARGEST_FLOAT_ERROR * max(float(np.abs(one).max(initial=0.0)), 1e-30)
        if not bool((excess <= limit).all()):
            furthest = float(np.abs(one - other).max())
            line = f"{old.name}: bias differs by up to {furthest:.3g} from what the float layer gives"
            (self.result.values if old.name in self.result.moved else self.result.unexplained).append(line)

    def _same_constants(self) -> None:
        """Constants of one name, with one value or another one."""
        for key in sorted(self.lost & self.found):
            one, other = self.old.model.constants[key], self.new.model.constants[key]
            if (one.dtype, one.shape) != (other.dtype, other.shape):
                continue
            self.lost.discard(key)
            self.found.discard(key)
            if one.dtype == "string" or np.array_equal(one.values(), other.values()):
                self.result.unchanged += 1
            else:
                self.result.values.append(f"{key}: values differ")

    def _activations(self) -> None:
        """Pairs of nodes that quantize an activation, with their scales; and activations that these clip as well."""
        pairs = [at for at in sorted(self.added) if self._is(self.new, at, QUANTIZE, DEQUANTIZE)]
        quantized = [at for at in pairs if self._is(self.new, at, QUANTIZE)]
        self._take(pairs)
        if quantized:
            n = len(pairs) - len(quantized)
            self.result.explained.append(
                f"{len(quantized)} activations quantized: {len(quantized)} {QUANTIZE} and {n} {DEQUANTIZE} inserted"
            )
        clipped = {self.new.nodes[at].inputs[0] for at in quantized if self._clips_at_zero(self.new.nodes[at], 2)}
        for at in sorted(self.gone):
            if self.old.nodes[at].outputs[0] in clipped:
                self._clipped(at)

    def _clipped(self, at: int) -> None:
        """Accounts for an activation function that codes from zero on make needless."""
        node = self.old.nodes[at]
        if at in self.gone and node.op in ("Relu", "Clip"):
            self._drop(at)
            name = node.name or node.outputs[0]
            self.result.explained.append(f"{name}: {node.op} removed: its output is quantized from 0 on")

    def _clips_at_zero(self, node: Node, place: int | None) -> bool:
        """True if the smallest code of what a node gives stands for zero; `place` is that of its zero point."""
        is_given = place is not None and place < len(node.inputs)
        tensor = self.new.model.constants.get(node.inputs[place]) if place is not None and is_given else None
        if tensor is None or tensor.dtype not in ("uint8", "int8"):
            return False
        return bool((tensor.values() == np.iinfo(tensor.dtype).min).all())

    def _same_nodes(self) -> None:
        """Nodes of one operator, first those of one name."""
        for key in (lambda node: (node.op, node.name), lambda node: node.op):
            places: dict[object, list[int]] = {}
            for at in sorted(self.added):
                places.setdefault(key(self.new.nodes[at]), []).append(at)
            for at in sorted(self.gone):
                if fitting := places.get(key(self.old.nodes[at])):
                    self.gone.discard(at)
                    self.added.discard(fitting.pop(0))

    def _removed(self) -> None:
        """Nodes that do nothing, and activations that a fused operator computes."""
        fused = Counter(node.attributes.get("activation") for node in self.new.nodes)
        for at in sorted(self.gone):
            node = self.old.nodes[at]
            if node.op in IDLE:
                self._drop(at)
                self.result.explained.append(f"{node.name or node.op}: {node.op} removed")
            elif node.op in ACTIVATIONS and fused[node.op]:
                fused[node.op] -= 1
                self._drop(at)
                self.result.explained.append(f"{node.name or node.op}: {node.op} fused into the operator before it")

    def _renamed(self) -> None:
        """Operators that became the form on integers of the same: `Add → QLinearAdd`."""
        for op, count in Counter(self.old.nodes[at].op for at in self.gone).items():
            forms = [at for at in sorted(self.added) if self.new.nodes[at].op.endswith((f".QLinear{op}", f".Nhwc{op}"))]
            pairs = list(zip([at for at in sorted(self.gone) if self.old.nodes[at].op == op], forms, strict=False))
            for at, form in pairs:
                self.gone.discard(at)
                self._take([form])
            if pairs:
                self.result.explained.append(f"{op} → {self.new.nodes[pairs[0][1]].op}: {len(pairs)} of {count}")

    def _left_over(self, names: tuple[str, str]) -> None:
        for name, graph, places, keys in (
            (names[0], self.old, self.gone, self.lost), (names[1], self.new, self.added, self.found),
        ):  # fmt: skip
            self.result.unexplained += [
                f"{graph.nodes[at].name or graph.nodes[at].outputs[0]}: {graph.nodes[at].op} only in {name}"
                for at in sorted(places)
            ]
            schema = entries(graph.model)
            self.result.unexplained += [
                f"{key}: only in {name}: {describe_entry(schema[key])}" for key in schema if key in keys
            ]

    def _is(self, graph: Graph, at: int, *ops: str) -> bool:
        return graph.nodes[at].op.rpartition(".")[2] in ops

    def _take(self, places: Iterable[int]) -> None:
        """Accounts for nodes of the second file with the constants that they take."""
        for at in places:
            self.added.discard(at)
            self.found -= set(self.new.nodes[at].inputs)

    def _drop(self, at: int) -> None:
        """The same of the first file."""
        self.gone.discard(at)
        self.lost -= {*self.old.nodes[at].inputs, *self.old.nodes[at].outputs}


def _steps_apart(expected: Floats, found: Weight) -> float:
    """Largest distance of codes from the float values, in steps; values beyond the codes are clipped first."""
    if found.codes is None or found.scale is None or found.zero_point is None:
        return float("inf")
    exact = expected / np.where(found.scale == 0, 1.0, found.scale) + found.zero_point
    return float(np.abs(np.clip(exact, found.codes.min(), found.codes.max()) - found.codes).max(initial=0.0))


def _difference(expected: Floats, found: Floats, is_cast: bool) -> float:
    """Largest difference, if it is more than arithmetic explains; a cast to 16 bits explains more."""
    largest = float(np.abs(expected - found).max(initial=0.0))
    share = 1e-2 if is_cast else LARGEST_FLOAT_ERROR
    return largest if not largest <= share * float(np.abs(expected).max(initial=0.0)) else 0.0


def _base(key: str) -> str:
    """Name of a weight without what tools add to it."""
    for added in ("_quantized", "_Transposed", "_reordered"):
        key = key.replace(added, "")
    return key


def _sizes(words: str) -> tuple[str, int]:
    """Type and rank of an input in words; open sizes may have other names, and be fixed."""
    return words.partition(" ")[0], words.count(",")
