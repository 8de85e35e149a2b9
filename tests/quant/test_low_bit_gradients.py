"""The gradients that autograd finds are those of the papers, element by element."""

import pytest
import torch

from quantbench.quant.learned_step import LearnedStep
from quantbench.quant.low_bit import LearnedClipping, NormalizedClipping

N = 300


def elements(seed=0, spread=1.5):
    """Values on both sides of every clip that is used here, and what arrives from above for each."""
    random = torch.Generator().manual_seed(seed)
    x = spread * torch.randn(N, generator=random)
    return x.requires_grad_(), torch.randn(N, generator=random)


def backward(quantizer, x, upstream):
    (quantizer(x) * upstream).sum().backward()
    return x.grad


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_clipping_passes_x_inside_and_sums_alpha_above(bits):
    # PACT, equation 3: ∂y/∂α = 1 where x ≥ α, 0 elsewhere; ∂y/∂x = 1 where 0 ≤ x < α.
    quantizer = LearnedClipping(bits).eval()
    x, upstream = elements()
    with torch.no_grad():
        x[0] = 1.0  # exactly α
    found = backward(quantizer, x, upstream)
    inside, above = (x > 0) & (x < 1), x >= 1
    assert 0 < inside.sum() < N
    assert torch.equal(found, torch.where(inside, upstream, 0.0))
    assert float(quantizer.alpha.grad) == pytest.approx(float(upstream[above].sum()), rel=1e-5)


def test_signed_clipping_moves_alpha_from_both_ends():
    quantizer = LearnedClipping(4, signed=True).eval()
    x, upstream = elements()
    found = backward(quantizer, x, upstream)
    assert torch.equal(found, torch.where(x.abs() < 1, upstream, 0.0))
    expected = upstream[x >= 1].sum() - upstream[x <= -1].sum()
    assert float(quantizer.alpha.grad) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("alpha", [0.8, 2.5])
def test_normalized_clipping_moves_alpha_by_its_rounding_error_inside(bits, alpha):
    # APoT, section 2.2: ∂ŵ/∂α = sign(w') where |w'| > α, rounded(w'/α) - w'/α elsewhere; ∂ŵ/∂w' = 1 where |w'| ≤ α.
    # The deviation multiplies both, and divides w: it is left in the gradient of α, and cancels in that of w.
    quantizer = NormalizedClipping(bits).eval()
    quantizer.alpha.data.fill_(alpha)
    w, upstream = elements(seed=1)
    found = backward(quantizer, w, upstream)
    deviation = w.detach().std(correction=0) + 1e-5
    normalized = ((w - w.mean()) / deviation).detach()
    share, highest = normalized / alpha, 2 ** (bits - 1) - 1
    rounded = (share * highest).round() / highest
    inside = share.abs() <= 1
    assert 0 < inside.sum() < N
    by_element = torch.where(inside, rounded - share, share.sign())
    assert found == pytest.approx(torch.where(inside, upstream, 0.0), rel=1e-5)
    expected = float((deviation * by_element * upstream).sum())
    assert float(quantizer.alpha.grad) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("is_weight", [False, True])
def test_a_step_moves_by_its_rounding_error_inside_and_the_code_outside(bits, signed, is_weight):
    # LSQ, equation 3: ∂v̂/∂s = round(v/s) - v/s inside, -Qn below, Qp above, times 1/√(N·Qp); equation 5: ∂v̂/∂v = 1
    # inside, 0 outside.
    quantizer = LearnedStep(bits, signed, is_weight).eval()
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    quantizer.step.data.fill_(2 / highest)
    x, upstream = elements(seed=2, spread=2.5)
    samples = x.detach().reshape(3, N // 3).requires_grad_()
    found = backward(quantizer, samples, upstream.reshape(3, -1)).flatten()
    ratio = (x / quantizer.step).detach()
    inside = (ratio > lowest) & (ratio < highest)
    assert 0 < inside.sum() < N
    by_element = torch.where(inside, ratio.round() - ratio, ratio.clamp(lowest, highest))
    n = N if is_weight else N // 3
    expected = float((by_element * upstream).sum()) / (n * highest) ** 0.5
    assert found == pytest.approx(torch.where(inside, upstream, 0.0), rel=1e-5)
    assert float(quantizer.step.grad) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    "quantizer", [LearnedClipping(4), NormalizedClipping(2), LearnedStep(4, signed=True, is_weight=True)], ids=str
)
def test_descent_brings_the_range_nearer_to_the_values(quantizer):
    x = 5 * torch.rand(2000, generator=torch.Generator().manual_seed(3)) + (0 if quantizer.coding.signed else 0.5)
    target = x - x.mean() if isinstance(quantizer, NormalizedClipping) else x
    quantizer.eval()
    parameters = list(quantizer.parameters())
    for parameter in parameters:
        parameter.data.fill_(0.3)

    def lost():
        return (quantizer(x) - target).square().mean()

    before = lost().item()
    descent = torch.optim.SGD(parameters, lr=0.05)
    for _ in range(200):
        descent.zero_grad()
        lost().backward()
        descent.step()
    assert lost().item() < 0.5 * before
