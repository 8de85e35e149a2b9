"""Mutations of valid files: bytes, JSON and YAML by structure, and the archives of `torch.save`. Seeded."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import torch

Mutation = Callable[[bytes, random.Random], bytes]
# Tokens that `json.dumps` would not write, put in the place of a text that stands for them.
RAW = re.compile(rb'"@@(.*?)@@"')
TOKENS = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "8000000000", "-1", "0", "1e308", "-0.0", "9" * 400,
    "01", "true", "null", "[]", "{}", '""', "[" * 2000 + "]" * 2000, '{"a":' * 200 + "1" + "}" * 200,
    "1" + "0" * 5000, "0x10",
)  # fmt: skip
TEXTS = (
    "../../../etc/passwd", "/dev/zero", "\0", "\ud800", "\x1b[31m", "a\nb", "", "A" * 100_000, "NaN", "1e999", "é×–",
    "..", "%s%n", "PASS", "0" * 64, "=" * 9,
)  # fmt: skip
YAML_TOKENS = (
    '!!int ""', ".nan", "-.inf", "1e999", "2024-02-30", "2024-01-01", "!!python/object:os.system {}", "!!binary x", "~",
    "&a [*a]", "*nowhere", "{<<: 3}", "[" * 300 + "]" * 300, "0o17", "1_000", "!!set {a}", "? [a]", "'", '"\\x', "- -",
    "!!float x", "!!timestamp x", ".x:y", "yes", "\t", "12:30:45", "!!omap []", "@", "`",
)  # fmt: skip


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    """One to three bits are turned over."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def cut_short(data: bytes, rng: random.Random) -> bytes:
    """The end is gone."""
    return data[: rng.randrange(len(data))]


def cut_out(data: bytes, rng: random.Random) -> bytes:
    """A span is gone."""
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.randint(1, 64) :]


def splice(data: bytes, rng: random.Random) -> bytes:
    """A span stands in another place too."""
    start, place, length = rng.randrange(len(data)), rng.randrange(len(data)), rng.randint(1, 256)
    return data[:place] + data[start : start + length] + data[place:]


def overwrite(data: bytes, rng: random.Random) -> bytes:
    """A span is zeros, ones or noise, as of a broken disk."""
    start, length = rng.randrange(len(data)), rng.randint(1, 512)
    filling = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return (data[:start] + filling + data[start + length :])[: len(data)]


BYTES: tuple[Mutation, ...] = (flip_bits, flip_bits, cut_short, cut_out, splice, overwrite)


def _place(value: Any, rng: random.Random) -> tuple[Any, Any]:
    """A container and a key in it, each level as likely as the others."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = rng.choice(keys)
        inner = value[key]
        if not (isinstance(inner, dict | list) and inner) or rng.random() < 0.15:
            return value, key
        value = inner


def _nudged(value: Any, rng: random.Random) -> Any:
    """A number near another, a text with one other character, or what stands for a token."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, value * 10, value + 8, value * 1000))
    if isinstance(value, float):
        return rng.choice((value * 1.001, -value, value + 1, value * 10, value / 100, round(value, 3) + 0.001))
    if isinstance(value, str) and value:
        i = rng.randrange(len(value))
        return value[:i] + rng.choice("Aa0/=.é") + value[i + 1 :]
    return rng.choice(TEXTS)


def _mutated(document: Any, rng: random.Random) -> Any:
    if not isinstance(document, dict | list) or not document:
        return rng.choice(TEXTS)
    holder, key = _place(document, rng)
    kind = rng.randrange(9)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[f"@@dup@@{key}"] = rng.choice((holder[key], 0, None))
    elif kind == 2:
        holder[key] = f"@@{rng.choice(TOKENS)}@@"
    elif kind == 3:
        holder[key] = rng.choice(TEXTS)
    elif kind == 4 and isinstance(holder, dict):
        holder[rng.choice((*TEXTS, f"{key}x"))] = holder.pop(key)
    elif kind == 5:
        other, there = _place(document, rng)
        holder[key], other[there] = json.loads(json.dumps([other[there], holder[key]]))
    elif kind == 6 and isinstance(holder[key], list):
        holder[key] = rng.choice((holder[key] * 2, holder[key][:-1], holder[key][::-1], {"0": holder[key]}))
    elif kind == 7:
        holder[key] = rng.choice(([holder[key]], {"a": holder[key]}, str(holder[key]), None, True))
    else:
        holder[key] = _nudged(holder[key], rng)
    return document


def _written(document: Any) -> bytes:
    text = json.dumps(document, indent=1).replace("@@dup@@", "").encode()
    return RAW.sub(lambda found: json.loads(b'"' + found[1] + b'"').encode(), text)


def edit_json(data: bytes, rng: random.Random) -> bytes:
    """One or two edits of a document: types, numbers, keys, nesting."""
    document = json.loads(data)
    for _ in range(rng.randint(1, 2)):
        document = _mutated(document, rng)
    return _written(document)


def edit_lines(data: bytes, rng: random.Random) -> bytes:
    """Of a journal one line is edited, left out, given twice or moved."""
    lines = data.splitlines(keepends=True)
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        del lines[i]
    elif kind == 1:
        lines.insert(j, lines[i])
    elif kind == 2:
        lines[i], lines[j] = lines[j], lines[i]
    elif kind == 3:
        lines[i] = b'{"kind": "x"}\n'
    else:
        start = lines[i].index(b"{")
        lines[i] = lines[i][:start] + edit_json(lines[i][start:], rng).replace(b"\n", b" ") + b"\n"
    return b"".join(lines)


def edit_yaml(data: bytes, rng: random.Random) -> bytes:
    """A value, a key or a line of a page of YAML."""
    lines = data.decode().splitlines()
    places = [i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    i, kind = rng.choice(places), rng.randrange(6)
    if kind == 0:
        del lines[i]
    elif kind == 1:
        lines.insert(i, lines[rng.choice(places)])
    elif kind == 2:
        lines[i] = rng.choice(("  ", "\t", "- ", "? ")) + lines[i]
    elif kind == 3 and ":" in lines[i]:
        head, _, _ = lines[i].partition(":")
        lines[i] = f"{head}: {rng.choice((*YAML_TOKENS, *(each for each in TEXTS if each.isprintable())))}"
    else:
        words = re.findall(r"[\w.-]+", lines[i]) or ["a"]
        tokens = (*YAML_TOKENS, *(each for each in TOKENS if len(each) < 500))
        lines[i] = lines[i].replace(rng.choice(words), rng.choice(tokens), 1)
    return "\n".join(lines).encode(errors="surrogateescape")


def _members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(each.filename, archive.read(each)) for each in archive.infolist()]


def _archive(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return made.getvalue()


def edit_archive(data: bytes, rng: random.Random) -> bytes:
    """A member is dropped, renamed, changed, compressed or said to be of another size, all checksums being right."""
    members = _members(data)
    i, kind = rng.randrange(len(members)), rng.randrange(5)
    name, content = members[i]
    if kind == 0:
        del members[i]
    elif kind == 1:
        members[i] = (rng.choice(("../x", "x/data.pkl", f"{name}x", "archive/data/9")), content)
    elif kind == 2 and content:
        members[i] = (name, rng.choice(BYTES)(content, rng))
    elif kind == 3:
        members[i] = (name, content + bytes(1 << 20))
        return _archive(members, zipfile.ZIP_DEFLATED)
    else:
        made = bytearray(_archive(members))
        at = made.index(b"PK\x01\x02")
        field = rng.choice((16, 20, 24, 42))
        made[at + field : at + field + 4] = struct.pack("<I", rng.choice((0, 1, 6_700_000, 0xFFFF_FFFF)))
        return bytes(made)
    return _archive(members)


GLOBALS = (
    b"cos\nsystem\n", b"cbuiltins\nbytearray\n", b"ctorch\nTensor\n", b"ctorch._utils\n_rebuild_sparse_tensor\n",
    b"ctorch._utils\n_rebuild_meta_tensor_no_storage\n", b"ctorch._utils\n_rebuild_qtensor\n",
    b"ctorch\nDoubleStorage\n",
    b"ctorch.nn.parameter\nParameter\n", b"cbuiltins\nset\n", b"ctorch._utils\n_rebuild_parameter\n", b"c__main__\nX\n",
)  # fmt: skip


def edit_pickle(data: bytes, rng: random.Random) -> bytes:
    """Opcodes of the pickle: other functions, sizes, strides, offsets and keys, all checksums being right."""
    members = dict(_members(data))
    name = next(each for each in members if each.endswith("data.pkl"))
    pickled = members[name]
    functions = list(re.finditer(rb"c[\w.]+\n[\w.]+\n", pickled))
    numbers = list(re.finditer(rb"K.", pickled, re.DOTALL))
    kind = rng.randrange(4)
    if kind == 0 and functions:
        found = rng.choice(functions)
        pickled = pickled[: found.start()] + rng.choice(GLOBALS) + pickled[found.end() :]
    elif kind <= 2 and numbers:
        found = rng.choice(numbers)
        number = rng.choice((0, 1, 2, 255, -1, 2**31 - 1, 2_000_000_000))
        pickled = pickled[: found.start()] + b"J" + struct.pack("<i", number) + pickled[found.end() :]
    else:
        i = rng.randrange(2, len(pickled))
        pickled = pickled[:i] + bytes([rng.randrange(256)]) + pickled[i + 1 :]
    members[name] = pickled
    return _archive(list(members.items()))


def edit_tensors(data: bytes, rng: random.Random) -> bytes:
    """A state dict with a tensor that is none, expanded, sparse, elsewhere, damaged in its scales, or a strange key."""
    state = dict(torch.load(io.BytesIO(data), weights_only=True))
    key = rng.choice(list(state))
    ones = torch.ones(4)
    made = rng.choice(
        (
            lambda: ones[:1].expand(1_000_000_000),
            lambda: torch.eye(3).to_sparse(),
            lambda: torch.ones(3, device="meta"),
            lambda: torch._make_per_tensor_quantized_tensor(
                torch.ones(4, dtype=torch.int8), rng.choice((0.1, -1.0, float("nan"))), 999
            ),
            lambda: torch._make_per_channel_quantized_tensor(
                torch.ones(4, 2, dtype=torch.int8),
                torch.full((4,), rng.choice((1.0, 0.0, float("inf")))).double(),
                torch.full((4,), rng.choice((0, 300))),
                0,
            ),
            lambda: torch.full((4,), float("nan")),
            lambda: ones.as_strided((3, 3), (1, 0)),
            lambda: "text",
            lambda: None,
            lambda: {"a": {"b": ones}},
            lambda: ones.to(torch.complex64),
            lambda: torch.eye(3).to_sparse_csr(),
            lambda: bytearray(4),
            lambda: [ones] * 3,
            lambda: ones[None].to(torch.float16),
            lambda: ones.untyped_storage(),
        )
    )()
    if rng.random() < 0.15:
        state[rng.choice(("\0", "a\nb", "\x1b[2J", "é", ""))] = state.pop(key)
    else:
        state[key] = made
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
