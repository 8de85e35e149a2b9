"""Divergences of a layer's output and of the logits when the layer is switched: sums that add up over batches."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log10

import torch
from torch.nn.functional import log_softmax


@dataclass
class Divergences:
    """Sums over the samples seen so far; those of batches are added in double precision.

    Attributes:
        signal: squares of the values of the reference.
        noise: squares of the differences from it.
        logits_signal: the same of the logits.
        logits_noise: the same of the logits.
        kl: Kullback-Leibler divergences, nats.
        samples: seen.
    """

    signal: float = 0.0
    noise: float = 0.0
    logits_signal: float = 0.0
    logits_noise: float = 0.0
    kl: float = 0.0
    samples: int = 0

    def add_output(self, high: torch.Tensor, low: torch.Tensor) -> None:
        """A layer's output at both widths on the same input, any shape."""
        signal, noise = _energies(high, low)
        self.signal += signal
        self.noise += noise

    def add_logits(self, high: torch.Tensor, low: torch.Tensor) -> None:
        """Logits `[m, classes]` with the layer at both widths."""
        signal, noise = _energies(high, low)
        self.logits_signal += signal
        self.logits_noise += noise
        log_p, log_q = log_softmax(high.double(), dim=1), log_softmax(low.double(), dim=1)
        self.kl += float((log_p.exp() * (log_p - log_q)).sum())
        self.samples += len(high)

    def add(self, sums: list[float | None]) -> None:
        """Adds what `sums` gave elsewhere."""
        values = [float("nan") if each is None else each for each in sums]
        self.signal += values[0]
        self.noise += values[1]
        self.logits_signal += values[2]
        self.logits_noise += values[3]
        self.kl += values[4]
        self.samples += int(values[5])

    def sums(self) -> list[float | None]:
        """All of them for JSON, which has no NaN."""
        values = [self.signal, self.noise, self.logits_signal, self.logits_noise, self.kl, float(self.samples)]
        return [each if isfinite(each) else None for each in values]

    @property
    def output_sqnr_db(self) -> float | None:
        """Signal-to-quantization-noise ratio of the output, `10 log10(Σ high² / Σ (high − low)²)`; None where there is
        no noise, or no figure."""
        return _sqnr_db(self.signal, self.noise)

    @property
    def logits_sqnr_db(self) -> float | None:
        """The same of the logits."""
        return _sqnr_db(self.logits_signal, self.logits_noise)

    @property
    def logits_kl(self) -> float | None:
        """`Σ_c p_c log(p_c / q_c)` of the softmax with the layer high (p) and low (q), nats, mean over samples."""
        mean = self.kl / self.samples if self.samples else float("nan")
        # A divergence is not negative; the rounding of equal distributions may be.
        return max(mean, 0.0) if isfinite(mean) else None


def _energies(high: torch.Tensor, low: torch.Tensor) -> tuple[float, float]:
    # Of one batch in single precision, which is off by less than 0.001 dB; double would take as long as a forward.
    reference, noise = high.flatten().float(), (high - low).flatten().float()
    return float(torch.dot(reference, reference)), float(torch.dot(noise, noise))


def _sqnr_db(signal: float, noise: float) -> float | None:
    if not (isfinite(signal) and isfinite(noise)) or noise == 0.0 or signal == 0.0:
        return None
    return 10.0 * log10(signal / noise)
