"""Files of `torch.save`: whole by their checksums, no larger than they are, and of ordinary tensors alone."""

import io
import os
import tracemalloc
import zipfile

import pytest
import torch

from quantbench.backends.torch_file import read_sealed, read_torch_file, seal
from quantbench.errors import CheckpointError

ONES = torch.ones(4)
INTEGERS = torch.ones(4, 2, dtype=torch.int8)


class Own(torch.Tensor):
    pass


def per_tensor(scale, zero_point):
    return torch._make_per_tensor_quantized_tensor(INTEGERS, scale, zero_point)


def per_channel(scale, zero_point):
    scales, zeros = torch.full((4,), scale, dtype=torch.float64), torch.full((4,), zero_point)
    return torch._make_per_channel_quantized_tensor(INTEGERS, scales, zeros, 0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "w.pt"


@pytest.fixture
def refusal(path):
    """The one line about what is saved, or about the file as it is."""

    def refused(*saved):
        for each in saved:
            torch.save(each, path)
        with pytest.raises(CheckpointError) as caught:
            read_torch_file(path)
        text = str(caught.value)
        assert text.startswith(f"{path}: ")
        assert text.endswith("; save a state dict again, with torch.save(model.state_dict(), …)")
        assert "\n" not in text
        return text.removeprefix(f"{path}: ")

    return refused


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (ONES[:1].expand(1_000_000_000), "is an expanded tensor of 1,000,000,000 values, of which fewer are"),
        (ONES.as_strided((3, 3), (1, 0)), "is an expanded tensor of 9 values"),
        (torch.eye(3).to_sparse(), "is a sparse_coo tensor; make it dense"),
        (torch.ones(3, device="meta"), "is a tensor on the device 'meta', without values here"),

        (per_tensor(0.1, 128), "has a zero point outside of -128..127, the integers of qint8"),
        (per_channel(0.1, -129), "has a zero point outside of -128..127, the integers of qint8"),
        (per_tensor(float("nan"), 0), "has a scale that is no positive number"),
        (per_tensor(-0.5, 0), "has a scale that is no positive number"),
        (per_channel(0.0, 0), "has a scale that is no positive number"),
        (per_channel(float("inf"), 0), "has a scale that is no positive number"),
        (torch.zeros(2).untyped_storage(), "is a TypedStorage, no tensor and no plain value"),
    ],
)  # fmt: skip
def test_a_tensor_that_is_none_to_calculate_with_is_named_by_its_key(refusal, value, told):
    assert refusal({"conv": {"weight": value}}).startswith(f"'conv.weight' {told}")
    assert refusal({"fc": (ONES, value)}).startswith(f"'fc.1' {told}")


@pytest.mark.parametrize("value", [bytearray(8), ONES.as_subclass(Own)], ids=["bytearray", "subclass"])
def test_classes_that_may_be_of_any_size_or_hold_anything_are_refused_before_they_are_made(refusal, value):
    assert refusal({"a": value}).startswith(
        "refused: opening it could run code or build objects that are not tensors ("
    )


@pytest.mark.parametrize("key", ["a\nb", "\0", "\x1b[2J"])
def test_a_key_that_cannot_be_printed_is_refused(refusal, key):
    assert "cannot be printed" in refusal({key: ONES})


def test_containers_that_hold_themselves_are_refused(refusal):
    state = {"a": ONES}
    state["again"] = state
    assert "is nested too deeply" in refusal(state)


def test_few_containers_that_name_each_other_many_times_are_refused_before_all_are_walked_through(refusal):
    inner = []
    for _ in range(26):
        inner = [inner, inner]
    assert "is one of more values than the file has bytes: its containers name each other" in refusal({"a": inner})


def test_of_what_is_no_pickle_a_part_is_taken_in_however_large_it_is(path, refusal):
    with path.open("wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    assert "refused: opening it could run code" in refusal()
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


def test_tensors_that_share_memory_are_read_as_tied_weights_are_and_not_by_the_thousand(path, refusal):
    weight = torch.randn(1000)
    torch.save({"embedding": weight, "head": weight}, path)
    assert torch.equal(read_torch_file(path)["head"], weight)
    assert refusal({f"k{i}": weight for i in range(1000)}).startswith(
        "its tensors take 4,000,000 bytes, and the file has "
    )


@pytest.mark.parametrize(
    "value",
    [
        per_tensor(0.1, -128), per_channel(0.1, 127), torch.nn.Parameter(ONES), torch.empty(0), torch.tensor(3),
        torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last), torch.ones(4, 4).t(),
        torch.ones(3).to(torch.uint16),
        "text", None, 1.5, torch.qint8, torch.Size([3]), {"lr": 0.1, "betas": (0.9, 0.99), 0: [True]}, float("nan"),
    ],
)  # fmt: skip
def test_ordinary_tensors_and_plain_values_are_read(path, value):
    torch.save({"a": value}, path)
    found = read_torch_file(path)["a"]
    assert repr(found) == repr(value)


def test_one_flipped_bit_of_a_weight_is_found_although_torch_reads_it(path, refusal):
    torch.save({"a": torch.arange(1000.0)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(torch.arange(1000.0).numpy().tobytes()) + 2000] ^= 1
    path.write_bytes(data)
    assert not torch.equal(torch.load(path, weights_only=True)["a"], torch.arange(1000.0))
    assert refusal().startswith("not a whole checkpoint (BadZipFile: Bad CRC-32 for file 'w/data/0')")


def rebuilt(path, compression, edit=lambda name, content: [(name, content)]):
    """The archive with other members, all checksums being right."""
    made = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(made, "w", compression) as other:
        for member in archive.infolist():
            for name, content in edit(member.filename, archive.read(member)):
                other.writestr(zipfile.ZipInfo(name), content, compression)
    path.write_bytes(made.getvalue())


def test_a_small_file_that_would_become_a_large_one_is_refused_before_it_does(path, refusal):
    torch.save({"a": torch.zeros(4_000_000)}, path)
    rebuilt(path, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 50_000
    told = refusal()
    assert "is compressed, " in told
    assert "which torch.save never does" in told


def test_members_that_claim_more_than_the_file_has_are_refused(path, refusal):
    torch.save({"a": torch.zeros(4)}, path)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 20 : at + 28] = (6_700_000).to_bytes(4, "little") * 2
    path.write_bytes(data)
    assert "its members claim 6,700," in refusal()


def test_a_tensor_of_the_old_format_that_claims_more_than_the_file_has_is_refused_before_memory_is_taken(path, refusal):
    torch.save({"a": torch.zeros(200)}, path, _use_new_zipfile_serialization=False)
    assert read_torch_file(path)["a"].shape == (200,)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"K\xc8N", b"J\xff\xff\xff\x7fN", 1))
    assert "a tensor claims 2,147,483,647 values, and the file has " in refusal()


@pytest.mark.parametrize("kind", ["named pipe", "folder", "socket"])
def test_what_is_no_file_is_refused_and_never_waited_for(path, refusal, kind):
    if kind == "folder":
        path.mkdir()
    elif kind == "named pipe":
        os.mkfifo(path)
    else:
        os.mknod(path, 0o140644)
    assert refusal().startswith(f"cannot be read (is a {kind}, not a file); ")


def test_a_sealed_file_is_read_by_torch_too_and_by_us_only_as_it_was_sealed(path):
    torch.save({"a": torch.arange(9.0)}, path)
    seal(path)
    assert torch.equal(torch.load(path, weights_only=True)["a"], torch.arange(9.0))
    assert torch.equal(read_sealed(path, "x")["a"], torch.arange(9.0))
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=r"w\.pt: is cut short or changed; begin anew"):
            read_sealed(path, "begin anew")
