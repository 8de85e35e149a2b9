"""Committed weights and their cards: `golden/baselines/<name>.safetensors` beside `<name>.json`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from quantbench.errors import BaselineError
from quantbench.files import replacing, sha256_of_file, write_json
from quantbench.golden.interface import Kind
from quantbench.records.base import read_json
from quantbench.records.card import BaselineCard

if TYPE_CHECKING:
    import torch


class Baselines(Kind[BaselineCard]):
    """Trained weights with their card. No claim checks them: each load does.

    They are made by `quantbench train`, `quantbench adopt` and `pytest bench --retrain`, and are named by a workload's
    `baseline`, not by its experiments.
    """

    folder = "baselines"

    def read(self, golden: Path, name: str, retrain: str = "quantbench train") -> BaselineCard | None:
        """The card of the weights, or None if there are none.

        Raises:
            BaselineError: as `load_card`.
        """
        path = weights_path(golden, name)
        return load_card(path, retrain) if path.exists() or path.with_suffix(".json").exists() else None


BASELINES = Baselines()


def weights_path(golden: Path, name: str) -> Path:
    """Path of the weights of that name."""
    return BASELINES.path(golden, name).with_suffix(".safetensors")


def save_weights(path: Path, state: dict[str, torch.Tensor]) -> str:
    """Writes weights whole or not at all.

    Returns:
        The file's sha256, for its card.
    """
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        # Cloned, since safetensors refuses tensors that share memory, as tied weights do.
        save_file({key: tensor.detach().cpu().clone().contiguous() for key, tensor in state.items()}, temporary)
    return sha256_of_file(path)


def save_card(path: Path, card: BaselineCard) -> None:
    """Writes the card beside the weights at `path`."""
    write_json(path.with_suffix(".json"), card.model_dump(mode="json"))


def load_card(path: Path, retrain: str) -> BaselineCard:
    """Reads the card of the weights at `path`.

    Raises:
        BaselineError: if weights or card are missing or damaged, or the weights are not the card's; every message
            ends with the `retrain` command.
    """
    if not path.exists():
        raise BaselineError(f"{path}: no such baseline; restore it from version control, or make it: {retrain}")
    advice = f"restore it from version control, or make it again: {retrain}"
    card = read_json(BaselineCard, path.with_suffix(".json"), BaselineError, advice)
    try:
        found = sha256_of_file(path)
    except OSError as error:
        raise BaselineError(f"{path}: cannot be read ({error.strerror}); {advice}") from None
    if found != card.weights_sha256:
        raise BaselineError(f"{path}: sha256 is {found[:16]}…, but its card says {card.weights_sha256[:16]}…; {advice}")
    return card


def load_weights(path: Path, retrain: str) -> dict[str, torch.Tensor]:
    """Reads weights that match their card.

    Raises:
        BaselineError: as `load_card`, or if the file is not whole safetensors.
    """
    from quantbench.backends.checkpoint import read_safetensors

    load_card(path, retrain)
    return read_safetensors(path)
