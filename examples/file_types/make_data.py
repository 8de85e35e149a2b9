"""Makes files of twenty types by code, as inputs of magika's model, and copies that model out of its wheel.

pip install magika
python make_data.py
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import shutil
import sys
import tarfile
import wave
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np

MADE = Path(__file__).parent / "made"
# Of each type on each side.
COUNTS = {"test": 30, "train": 12}
# The model takes the first and the last bytes of a file, without white space at its ends, and this number beside them.
ENDS, BLOCK, NOTHING = 1024, 4096, 256
WORDS = [
    "batch", "buffer", "config", "count", "error", "frame", "index", "layer", "line", "model", "name", "node", "path",
    "result", "sample", "scale", "state", "token", "total", "user", "value", "weight",
]  # fmt: skip
Draw = random.Random


def repeated(draw: Draw, line: Callable[[Draw], str], least: int, most: int, joint: str = "\n") -> str:
    """So many lines, each drawn anew."""
    return joint.join(line(draw) for _ in range(draw.randrange(least, most)))


def word(draw: Draw) -> str:
    """A word, or two."""
    return draw.choice(WORDS) + (f"_{draw.choice(WORDS)}" if draw.random() < 0.5 else "")


def text(draw: Draw) -> bytes:
    """What lies in archives."""
    return repeated(draw, word, 200, 2000, " ").encode()


def function(draw: Draw, form: str) -> str:
    """A template in which each `@` is a word and each `#` a number."""
    return "".join(word(draw) if c == "@" else str(draw.randrange(99)) if c == "#" else c for c in form)


# Type → what stands at the beginning, what is repeated, what stands at the end.
TEXTS = {
    "c": (
        "#include <stdio.h>\n#include <stdlib.h>\n",
        "static int @(const char *@, size_t n)\n{\n    for (int i = 0; i < #; i++)\n        printf(\"%d\\n\", @[i]);\n"
        "    return #;\n}\n",
        "",
    ),
    "csv": ("name,count,scale,state\n", "@,#,0.#,#", "\n"),
    "go": (
        "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n",
        "func @(path string, n int) (string, error) {\n\tif err := os.Chdir(path); err != nil {\n"
        "\t\treturn \"\", fmt.Errorf(\"@: %w\", err)\n\t}\n\tx := #\n\treturn fmt.Sprint(x), nil\n}\n",
        "",
    ),
    "html": (
        "<!DOCTYPE html>\n<html>\n<head><title>page</title></head>\n<body>\n",
        '<div class="@"><p>@ @ <a href="/@">@</a></p></div>',
        "\n</body>\n</html>\n",
    ),
    "ini": ("", "[@]\n@ = #\n@ = @\n", ""),
    "java": (
        "package com.example;\n\nimport java.util.List;\n\npublic class Main {\n",
        "    private final int @ = #;\n    public static String @(List<String> given) throws Exception {\n"
        "        System.out.println(\"@\");\n        return given.get(#).toString();\n    }",
        "\n}\n",
    ),
    "javascript": (
        "'use strict';\n",
        "function @(@) {\n  const found = document.getElementById('@');\n  let all = { @: # };\n"
        "  return found === undefined ? null : all.map((x) => x + #);\n}\nmodule.exports.@ = @;",
        "",
    ),
    "python": (
        "import os\nimport sys\n\n\n",
        "def @(@, other=None):\n    \"\"\"Return the @ of @.\"\"\"\n    for i in range(#):\n        if other is None:\n"
        "            raise ValueError(\"@\")\n    return i + #\n\n",
        "",
    ),
    "shell": (
        "#!/bin/bash\nset -euo pipefail\n\n",
        "@=\"$(cat /etc/@ | grep @)\"\nif [ -z \"$1\" ]; then\n  echo \"@\" >&2\n  exit #\nfi",
        "\n",
    ),
    "sql": (
        "",
        "CREATE TABLE @ (id INTEGER PRIMARY KEY, @ VARCHAR(#) NOT NULL);\nINSERT INTO @ (id, @) VALUES (#, '@');\n"
        "SELECT @, COUNT(*) FROM @ WHERE @ > # GROUP BY @;",
        "\n",
    ),
    "xml": (
        '<?xml version="1.0" encoding="UTF-8"?>\n<root>\n',
        '  <item id="#"><@>@</@></item>',
        "\n</root>\n",
    ),
    "yaml": ("---\n", "@:\n  @: #\n  all:\n    - @\n    - @: 0.#", "\n"),
}  # fmt: skip


def zipped(draw: Draw) -> bytes:
    """An archive of a few texts."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for i in range(draw.randrange(2, 6)):
            # Without a date of its own a member has that of the clock.
            file.writestr(zipfile.ZipInfo(f"{i}_{word(draw)}.txt"), text(draw), zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def tarred(draw: Draw) -> bytes:
    """An archive of a few texts, not compressed."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for i in range(draw.randrange(2, 5)):
            content = text(draw)
            member = tarfile.TarInfo(f"{i}_{word(draw)}.txt")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def sound(draw: Draw) -> bytes:
    """Noise."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(draw.randbytes(4_000))
    return stream.getvalue()


def array(draw: Draw) -> bytes:
    """Numbers of numpy's."""
    stream = io.BytesIO()
    np.save(stream, np.array([draw.random() for _ in range(draw.randrange(100, 400))]))
    return stream.getvalue()


BINARIES: dict[str, Callable[[Draw], bytes]] = {
    "bzip": lambda draw: bz2.compress(text(draw)),
    "gzip": lambda draw: gzip.compress(text(draw), mtime=0),
    "npy": array,
    "tar": tarred,
    "wav": sound,
    "xz": lambda draw: lzma.compress(text(draw)),
    "zip": zipped,
}


def made(kind: str, draw: Draw) -> bytes:
    """A file of a type."""
    if kind in BINARIES:
        return BINARIES[kind](draw)
    if kind == "json":
        rows = [{word(draw): draw.random(), word(draw): draw.choice(WORDS)} for _ in range(draw.randrange(10, 30))]
        return json.dumps(rows, indent=2).encode()
    first, line, last = TEXTS[kind]
    return (first + repeated(draw, lambda draw: function(draw, line), 8, 30) + last).encode()


def model_input(content: bytes) -> np.ndarray:
    """The first and the last bytes of a file, `[2048]`."""
    first, last = content[:BLOCK].lstrip()[:ENDS], content[-BLOCK:].rstrip()[-ENDS:]
    found = np.full(2 * ENDS, NOTHING, np.int32)
    found[: len(first)] = list(first)
    found[2 * ENDS - len(last) :] = list(last)
    return found


def side(name: str, labels: list[str]) -> dict[str, np.ndarray]:
    """Samples of one side, by the names of the model's inputs."""
    kinds, draw = sorted([*TEXTS, *BINARIES, "json"]), random.Random(name)
    files = [(kind, made(kind, draw)) for kind in kinds for _ in range(COUNTS[name])]
    return {
        "bytes": np.stack([model_input(content) for _, content in files]),
        "targets": np.array([labels.index(kind) for kind, _ in files]),
        "classes": np.array(labels),
    }


def main() -> None:
    """Writes `made/`."""
    try:
        installed = metadata.files("magika") or []
    except metadata.PackageNotFoundError:
        sys.exit("magika is not installed: pip install magika")
    model = next(each for each in installed if each.name == "model.onnx")
    config = json.loads(Path(model.locate()).with_name("config.min.json").read_text(encoding="utf-8"))
    MADE.mkdir(exist_ok=True)
    shutil.copyfile(model.locate(), MADE / "fp32.onnx")
    for name in COUNTS:
        np.savez_compressed(MADE / f"{name}.npz", **side(name, config["target_labels_space"]))
    print(f"{MADE}: magika {metadata.version('magika')}'s model, and files of {len(TEXTS) + len(BINARIES) + 1} types")


if __name__ == "__main__":
    main()
