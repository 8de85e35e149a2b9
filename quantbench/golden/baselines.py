"""Committed weights and their cards: `golden/baselines/<name>.safetensors` beside `<name>.json`.

Both are one fact. New weights are written under a temporary name, then the card, whose replacement makes the pair
count, and then the weights are moved into their place. A process that is killed before the card leaves the old pair;
one that is killed after it leaves a card of weights that lie beside it, and whoever asks for them next moves them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from quantbench.errors import BaselineError
from quantbench.files import cache_dir, replacing, sha256_of_file, write_json
from quantbench.golden.interface import Kind
from quantbench.records.base import read_json
from quantbench.records.card import BaselineCard
from quantbench.strict_json import read_json_value
from quantbench.temporary import is_abandoned, temporary_name, temporary_prefix

if TYPE_CHECKING:
    import torch


# Kind of the temporary name of weights that wait for their card; digits of their hash follow.
STAGED = "weights_"
SHOWN_DIGITS = 16


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
    """Path of the weights of that name, which are their card's even if whoever wrote them was killed meanwhile."""
    path = BASELINES.path(golden, name).with_suffix(".safetensors")
    _settle(path)
    return path


def check_place(path: Path) -> None:
    """Refuses a place for weights before hours of training, not after.

    Raises:
        BaselineError: if nothing can be written there.
    """
    probe = path.with_name(temporary_name(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _cannot_be_written(path, error) from None


def save_pair(path: Path, state: dict[str, torch.Tensor], card_of: Callable[[str], BaselineCard]) -> BaselineCard:
    """Writes weights and their card, both or neither, whenever this process is killed.

    Args:
        path: of the weights.
        state: the weights.
        card_of: sha256 of the weights' file → their card.

    Returns:
        The card.

    Raises:
        BaselineError: if they cannot be written; what was there stays.
    """
    from safetensors import SafetensorError

    try:
        with _alone(path):
            unnamed = path.with_name(temporary_name(path.name))
            sha256 = save_weights(unnamed, state)
            staged = path.with_name(temporary_name(path.name, f"{STAGED}{sha256[:SHOWN_DIGITS]}"))
            try:
                unnamed.replace(staged)
                card = card_of(sha256)
                save_card(path, card)
            finally:
                unnamed.unlink(missing_ok=True)
                _settle(path, staged)
    except (OSError, SafetensorError) as error:
        raise _cannot_be_written(path, error) from error
    return card


def _cannot_be_written(path: Path, error: Exception) -> BaselineError:
    cause = getattr(error, "strerror", None) or error
    return BaselineError(
        f"{path}: cannot be written ({cause}); what was there stays as it was; free some space, or name another folder "
        "with --golden"
    )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps every other process from writing this pair, where the cache can hold a lock."""
    name = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]
    lock = FileLock(cache_dir() / "locks" / f"baseline-{name}.lock")
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _settle(path: Path, given_up: Path | None = None) -> None:
    """Moves weights that the card names into their place.

    Others are removed if their writer was killed, or gives them up: its own, where it could not write their card.
    """
    begin = f"{temporary_prefix(path.name)}{STAGED}"
    try:
        waiting = [each for each in path.parent.iterdir() if each.name.startswith(begin)]
    except OSError:
        return
    if not waiting:
        return
    named = f"{begin}{_named_by_card(path)[:SHOWN_DIGITS]}-"
    for each in waiting:
        # Where the folder may only be read, the loader tells that weights and card do not belong together.
        with suppress(OSError):
            if each.name.startswith(named):
                each.replace(path)
            elif each == given_up or is_abandoned(each):
                each.unlink()


def _named_by_card(path: Path) -> str:
    """Hash of the weights that the card is of; empty where there is no card that can be read."""
    try:
        return str(read_json_value(path.with_suffix(".json"))["weights_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


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
        raise _no_baseline(path, retrain)
    advice = _again(retrain)
    card = read_json(BaselineCard, path.with_suffix(".json"), BaselineError, advice)
    found = sha256_of_weights(path, retrain)
    if found != card.weights_sha256:
        # Another process may be writing both right now.
        _settle(path)
        found = sha256_of_weights(path, retrain)
    if found != card.weights_sha256:
        raise BaselineError(f"{path}: sha256 is {found[:16]}…, but its card says {card.weights_sha256[:16]}…; {advice}")
    return card


def sha256_of_weights(path: Path, retrain: str) -> str:
    """Hex sha256 of the weights at `path`, whatever their card says.

    Raises:
        BaselineError: if they are missing or cannot be read; the message ends with the `retrain` command.
    """
    try:
        return sha256_of_file(path)
    except FileNotFoundError:
        raise _no_baseline(path, retrain) from None
    except OSError as error:
        raise BaselineError(f"{path}: cannot be read ({error.strerror}); {_again(retrain)}") from None


def _no_baseline(path: Path, retrain: str) -> BaselineError:
    return BaselineError(f"{path}: no such baseline; restore it from version control, or make it: {retrain}")


def _again(retrain: str) -> str:
    return f"restore it from version control, or make it again: {retrain}"


def load_weights(path: Path, retrain: str) -> dict[str, torch.Tensor]:
    """Reads weights that match their card.

    Raises:
        BaselineError: as `load_card`, or if the file is not whole safetensors.
    """
    from quantbench.backends.checkpoint import read_safetensors

    load_card(path, retrain)
    return read_safetensors(path)
