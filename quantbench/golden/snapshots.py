"""syrupy's JSON snapshots under a golden folder of our own, found by the experiment's id, not the test's place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from syrupy.data import SnapshotCollections
from syrupy.extensions.base import AbstractSyrupyExtension
from syrupy.extensions.json import JSONSnapshotExtension

from quantbench.golden.documents import without_history


def golden_extension(folder: Path) -> type[JSONSnapshotExtension]:
    """An extension that reads the snapshot named `<id>` from `<folder>/<id>.json`, below the history of acceptances.

    Args:
        folder: of all goldens.
    """

    class GoldenExtension(JSONSnapshotExtension):
        @classmethod
        def get_location(cls, *, test_location: Any, index: Any) -> str:  # noqa: ARG003
            return str(folder / f"{index}.json")

        @classmethod
        def get_snapshot_name(cls, *, test_location: Any, index: Any = 0) -> str:
            # Not the single-file form, which replaces the slash of an experiment's id.
            return AbstractSyrupyExtension.get_snapshot_name(test_location=test_location, index=index)

        @classmethod
        def dirname(cls, *, test_location: Any) -> str:  # noqa: ARG003
            return str(folder)

        @classmethod
        def matches_test_location(cls, **_: Any) -> bool:
            # The id leads to the file, whichever test file makes the claim.
            return True

        @classmethod
        def write_snapshot_collection(cls, **_: Any) -> None:
            # The session writes, since only its end knows whether the machine allowed anything to be accepted.
            pass

        def matches(self, *, serialized_data: Any, snapshot_data: Any) -> bool:
            # By content, as the messages tell it: line ends and indentation of a file are no part of what was accepted.
            return bool(json.loads(serialized_data) == without_history(json.loads(snapshot_data)))

        def discover_snapshots(self, **_: Any) -> SnapshotCollections:
            # syrupy calls goldens unused, and deletes them on update, whenever -k or -m left their test out; the
            # plugin audits orphans against the configuration instead.
            return SnapshotCollections()

    return GoldenExtension
