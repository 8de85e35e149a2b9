"""Every quantity that no other claim is about, such as one from another distribution, holds its bound."""

from quantbench.claims.test_quantities import *
