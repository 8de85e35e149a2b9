"""Every quantity that no other claim is about, such as one from another distribution, holds its bound."""

from collections.abc import Callable


def test_quantity_holds(check_quantity: Callable[[], None]) -> None:
    check_quantity()
