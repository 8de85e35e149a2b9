"""`python -m quantbench.golden.translate golden`: checkpoint goldens, their recipes put into the words of today.

Goldens in the old words are read and compare equal all the same; translated ones read like what is accepted now.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from quantbench.files import write_json
from quantbench.recipes.translation import neutral


def translate(golden: Path) -> list[Path]:
    """Rewrites each golden below `checkpoints/` whose recipe is in the old words, and nothing else of it.

    Args:
        golden: the folder of goldens.

    Returns:
        The files that were rewritten.
    """
    changed = []
    for path in sorted((golden / "checkpoints").rglob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        told = neutral(content["recipe"])
        if told != content["recipe"]:
            write_json(path, {**content, "recipe": told})
            changed.append(path)
    return changed


if __name__ == "__main__":
    print("\n".join(map(str, translate(Path(sys.argv[1])))))
