"""Levels and quantiles shared by every interval."""

import math

import pytest

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import check_level, two_sided_z


@pytest.mark.parametrize(("level", "z"), [(0.90, 1.644854), (0.95, 1.959964), (0.99, 2.575829)])
def test_two_sided_z_is_the_tabulated_normal_quantile(level: float, z: float) -> None:
    assert two_sided_z(level) == pytest.approx(z, abs=5e-7)


def test_two_sided_z_is_finite_for_the_highest_level_below_one() -> None:
    assert math.isfinite(two_sided_z(math.nextafter(1.0, 0.0)))


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 95, math.nan])
def test_a_level_that_is_not_a_fraction_is_refused(level: float) -> None:
    with pytest.raises(StatisticsError) as error:
        check_level(level)
    assert str(error.value) == f"confidence level {level} is not strictly between 0 and 1; write 95 % as 0.95"
    with pytest.raises(StatisticsError):
        two_sided_z(level)
