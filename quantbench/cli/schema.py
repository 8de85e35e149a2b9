"""`quantbench schema`: the JSON schema of workload files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quantbench.errors import ConfigError

OUT_HELP = "Write it to this file, such as configs/quantbench.schema.json."
INSTALLED_HELP = "With the names that other installed distributions add."


def schema(
    out: Annotated[Path | None, typer.Option(help=OUT_HELP)] = None,
    installed: Annotated[bool, typer.Option("--installed", help=INSTALLED_HELP)] = False,
) -> None:
    """Print the JSON schema of workload files, by which editors complete and check them."""
    from quantbench.config.json_schema import as_text, generated_schema, schema_text
    from quantbench.files import write_text

    text = as_text(generated_schema(installed=True)) if installed else schema_text()
    if out is None:
        print(text, end="")
    elif out.exists() and out.read_bytes() != text.encode():
        raise ConfigError(f"{out}: is there already, with other content; name another file, or remove it")
    else:
        write_text(out, text)
        print(f"{out}: written")
