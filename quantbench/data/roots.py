"""Place of a data folder that a workload file names: `root:`, with `~`, variables and relative paths."""

from __future__ import annotations

import os
import re
from pathlib import Path

from quantbench.errors import DataMissingError
from quantbench.files import beside, data_dir

VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
# Has a default, and so is never unset.
DATA_VARIABLE = "QUANTBENCH_DATA"


class Root:
    """The folder that `root:` names.

    A relative one lies in the folder of the workload file, if there is one of that name, else in `$QUANTBENCH_DATA`.

    Args:
        given: as written, with `~`, `$VAR` and `${VAR}`.
        key: of the workload file that it is written under.

    Attributes:
        path: the folder, as far as variables are set.
    """

    def __init__(self, given: str, key: str = "data.root") -> None:
        self.key = key
        self._unset = [name for name in _variables(given) if name not in os.environ and name != DATA_VARIABLE]
        self.given = Path(VARIABLE.sub(_value, given)).expanduser()
        self.path = data_dir() / self.given
        self._beside: Path | None = None

    def locate(self, folder: Path) -> None:
        """Looks for a relative root in the folder of the workload file first."""
        self._beside = beside(folder.absolute(), self.given)
        # A link that leads nowhere is found too, and then refused by its name.
        if os.path.lexists(self._beside):
            self.path = self._beside

    def check(self, how: str) -> None:
        """Refuses a root with a variable that is not set.

        Args:
            how: the data is got, for the message.

        Raises:
            DataMissingError: naming the variable.
        """
        if self._unset:
            raise DataMissingError(
                f"{self.key}: ${self._unset[0]} is not set; set it to its folder. To get the data: {how}"
            )

    @property
    def looked(self) -> str:
        """The other place where the folder is not either, for messages; empty where there is none."""
        other = self._beside
        return "" if other is None or other == self.path else f" (there is no {other} either)"


def _variables(given: str) -> list[str]:
    return [plain or braced for plain, braced in VARIABLE.findall(given)]


def _value(match: re.Match[str]) -> str:
    name = match[1] or match[2]
    return os.environ.get(name) or (str(data_dir()) if name == DATA_VARIABLE else match[0])
