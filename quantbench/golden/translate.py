"""`python -m quantbench.golden.translate golden`: goldens and cards, their recipes put into the words of today.

Goldens in the old words are read and compare equal all the same; translated ones read like what is accepted now.
"""

from __future__ import annotations

import sys
from pathlib import Path

from quantbench.files import write_json
from quantbench.recipes.translation import OLD_RECIPES, neutral
from quantbench.strict_json import read_json_value

FOLDERS = ("checkpoints", "baselines")


def translate(golden: Path) -> list[Path]:
    """Rewrites each checkpoint golden and each card of weights whose recipe is in old words, and nothing else of it.

    Args:
        golden: the folder of goldens.

    Returns:
        The files that were rewritten.
    """
    changed = []
    for path in sorted(path for folder in FOLDERS for path in (golden / folder).rglob("*.json")):
        content = read_json_value(path)
        recipe = content["recipe"]
        # A golden describes its recipe, a card names it.
        today = neutral(recipe) if isinstance(recipe, dict) else OLD_RECIPES.get(recipe, recipe)
        if today != recipe:
            write_json(path, {**content, "recipe": today})
            changed.append(path)
    return changed


if __name__ == "__main__":
    print("\n".join(map(str, translate(Path(sys.argv[1])))))
