"""Test samples as they are stored, to be shown beside a verdict that they decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantbench.config.schema import Workload
from quantbench.data.audio import AUDIO_NORMALIZATION, SAMPLE_RATE
from quantbench.errors import DataError
from quantbench.experiment.workload import OpenWorkload
from quantbench.measure.gradual import random_order


@dataclass(frozen=True)
class StoredSamples:
    """Some samples of a test split.

    Attributes:
        inputs: `[m, channels, …]` as stored, in the order that they were asked for.
        sample_rate: of sounds, Hz; None where samples are none.
    """

    inputs: NDArray[Any]
    sample_rate: int | None


def stored_samples(
    workload: Workload, golden: Path, numbers: Sequence[tuple[bool, int]], test_sha256: str
) -> StoredSamples:
    """Samples of a workload's test split, if it is the one that a record was made on.

    Args:
        workload: whose data.
        golden: folder of goldens.
        numbers: of samples from 0, in the split, or, where that is said, among those that are drawn in random order.
        test_sha256: hash of the split in the record.

    Raises:
        DataError: if the data is not on this machine, damaged, or not that of the record.
    """
    test = OpenWorkload(workload, golden).splits.test
    if test.sha256 != test_sha256:
        raise DataError("the data on this machine is not that of the record")
    order = random_order(test) if any(is_drawn for is_drawn, _ in numbers) else np.arange(len(test))
    positions = [int(order[number]) if is_drawn else number for is_drawn, number in numbers]
    inputs, _ = test.take(np.array(positions, dtype=np.int64))
    is_sound = test.normalization.full_scale == AUDIO_NORMALIZATION.full_scale and inputs.ndim == 3
    rate = workload.config.data.params.get("sample_rate", SAMPLE_RATE)
    return StoredSamples(inputs, int(rate) if is_sound else None)
