"""A rehearsal of a recipe on a copy and a few samples: what goes wrong is found before hours are spent on it."""

from __future__ import annotations

import torch
from torch import nn
from torch.ao import quantization as ao

from quantbench.backends.copying import copied
from quantbench.backends.torch_ao.diagnosis import diagnosis, explained
from quantbench.backends.torch_ao.fused_forward import check_fused, tensors_in
from quantbench.backends.torch_ao.layer_groups import fused_with_qconfig
from quantbench.backends.torch_ao.shared_layers import calls_of, check_aliases, check_shared
from quantbench.backends.torch_ao.steps import convert, prepare, prepare_qat, show
from quantbench.errors import QuantizationError


def rehearse(
    model: nn.Module,
    samples: torch.Tensor,
    qconfig: ao.QConfig,
    layers: tuple[str, ...] | None = None,
    is_qat: bool = False,
) -> None:
    """Takes every step of a recipe but its training on a few samples: fuse, prepare, calibrate, convert, one forward.

    Refuses a fused model that computes something else than the model, a layer whose one scale is to fit the results of
    several calls, values that are not finite, and an operator that meets tensors that it has no kernel for. Everything
    around the quantized part may do what it likes: only a forward that fails is refused.

    Args:
        model: fp32; it stays as it was, and so do the random numbers drawn after this.
        samples: a few inputs `[n, …]`, normalized.
        qconfig: the recipe's, observers or fake quantizers.
        layers: the layers that are quantized; None for the whole model.
        is_qat: the recipe is trained with fake quantizers.

    Raises:
        QuantizationError: naming module, class, file and line, the operator, and what to use instead.
    """

    def fuse(copy: nn.Module) -> nn.Module:
        return fused_with_qconfig(copied(copy, "fuse").train(is_qat), qconfig, layers, is_qat)

    with torch.random.fork_rng(devices=[]):
        # An error of the first forward in here is the fp32 model's own.
        fused = check_fused(copied(model, "rehearsal").eval(), fuse, samples)
        prepared = prepare_qat(fused, in_place=True).eval() if is_qat else prepare(fused, in_place=True)
        check_aliases(model, prepared)
        # Ranges are those of values that nothing was rounded or clipped in.
        prepared.apply(ao.disable_fake_quant)
        with calls_of(prepared) as calls, explained("rehearsal", prepared):
            show(prepared, [samples])
        # Calibration, not training, tells of a layer that saw nothing before it takes long.
        converted = convert(prepared, structure_only=not is_qat)
        check_shared(calls, model, prepared, converted)
        try:
            with torch.inference_mode():
                output = converted(samples)
        except Exception as error:
            raise QuantizationError(diagnosis(error, converted, model)) from error
    if any(tensor.is_quantized for tensor in tensors_in(output)):
        raise QuantizationError(f"{type(model).__name__} gives a quantized tensor: put a DeQuantStub at its output")
