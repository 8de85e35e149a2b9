"""Codes of a few bits take no more bytes than they need, and come back as they were."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quantbench.errors import QuantizationError
from quantbench.quant.low_bit import Coding
from quantbench.quant.packing import pack, packed_bytes, unpack

CODINGS = [Coding(signed=False), Coding(signed=True), Coding(signed=True, symmetric=False)]
WIDTHS = pytest.mark.parametrize("bits", range(2, 9))


def every_code(codes, n):
    """n codes in which each allowed one occurs, if there is room."""
    return torch.arange(n) % (codes.high - codes.low + 1) + codes.low


@pytest.mark.parametrize("coding", CODINGS, ids=["unsigned", "symmetric", "signed"])
@WIDTHS
def test_every_code_of_every_width_comes_back_for_odd_and_even_counts(coding, bits):
    codes = coding.of(bits)
    for n in (0, 1, 2, 3, 5, 7, 8, 255, 256, 1001):
        given_codes = every_code(codes, n)
        packed = pack(given_codes, codes)
        assert packed.dtype == torch.uint8
        assert packed.shape == (packed_bytes(n, bits),)
        assert torch.equal(unpack(packed, codes, given_codes.shape), given_codes)


@given(st.lists(st.integers(-7, 7), min_size=1, max_size=60), st.sampled_from([(-1,), (-1, 1), (1, -1)]))
def test_any_codes_of_any_shape_come_back(values, shape):
    given_codes = torch.tensor(values).reshape(shape)
    codes = Coding(signed=True).of(4)
    assert torch.equal(unpack(pack(given_codes.float(), codes), codes, given_codes.shape), given_codes)


def test_four_codes_of_two_bits_share_a_byte_the_first_in_the_lowest_bits():
    unsigned = Coding(signed=False).of(2)
    assert pack(torch.tensor([3, 0, 1, 2, 1]), unsigned).tolist() == [0b10_01_00_11, 0b01]


def test_two_codes_of_four_bits_share_a_byte_counted_from_the_lowest():
    signed = Coding(signed=True).of(4)
    assert pack(torch.tensor([-7, 7, 0]), signed).tolist() == [14 << 4, 7]


@pytest.mark.parametrize(("bits", "n", "taken"), [(2, 9, 3), (3, 9, 4), (4, 9, 5), (6, 4, 3), (8, 9, 9)])
def test_no_bits_are_left_between_codes(bits, n, taken):
    assert packed_bytes(n, bits) == taken


def test_weights_in_another_memory_layout_are_packed_in_the_order_of_their_indices():
    signed = Coding(signed=True).of(4)
    weight = every_code(signed, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    assert torch.equal(pack(weight.to(memory_format=torch.channels_last), signed), pack(weight, signed))


@pytest.mark.parametrize("wrong", [8.0, -8.0, float("nan")])
def test_a_code_that_does_not_fit_is_refused_with_what_does(wrong):
    with pytest.raises(QuantizationError, match=r"^codes from .* do not fit into 4 bits: allowed are -7 to 7$"):
        pack(torch.tensor([0.0, wrong]), Coding(signed=True).of(4))


@pytest.mark.parametrize(
    ("given_bytes", "found"),
    [
        (torch.zeros(4, dtype=torch.uint8), r"uint8 \[4\]"),
        (torch.zeros(3, dtype=torch.int32), r"int32 \[3\]"),
        (torch.zeros(3, 1, dtype=torch.uint8), r"uint8 \[3, 1\]"),
    ],
)
def test_bytes_that_are_not_of_so_many_codes_are_refused(given_bytes, found):
    with pytest.raises(QuantizationError, match=rf"^5 codes of 4 bits take uint8 \[3\], but there is {found}$"):
        unpack(given_bytes, Coding(signed=True).of(4), torch.Size([5]))


def test_a_code_that_packing_never_writes_is_refused_as_damage():
    # -7..7 leaves out one of the sixteen patterns.
    with pytest.raises(QuantizationError, match=r"^a packed code is 8, and 4 bits hold -7 to 7: damaged$"):
        unpack(torch.tensor([0x0F], dtype=torch.uint8), Coding(signed=True).of(4), torch.Size([2]))
