"""Sounds are trained on as they are, or moved in time; what is meant for images is refused for them."""

import numpy as np
import pytest
import torch
from torch import nn

from quantbench.config.training import TrainingConfig
from quantbench.data.audio import AUDIO_NORMALIZATION
from quantbench.data.cache import CachedSide
from quantbench.data.splits import Split
from quantbench.errors import TrainingError
from quantbench.progress import Progress
from quantbench.training import augmentation
from quantbench.training.loop import train

N, SAMPLES = 24, 200


def split_of(inputs):
    labels = np.arange(len(inputs)) % 2
    return Split("train", CachedSide(inputs, labels, np.zeros((len(inputs), 16), np.uint8)), None, AUDIO_NORMALIZATION)


@pytest.fixture
def sounds():
    """A ramp per sample: every value says where it lay."""
    ramps = np.arange(1, SAMPLES + 1) + 1_000 * np.arange(N)[:, None]
    return split_of(ramps[:, None].astype(np.int16))


class Listener(nn.Module):
    """Keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(SAMPLES, 2)
        self.heard = []

    def forward(self, x):
        self.heard.append(x.detach().clone())
        return self.head(x.flatten(1))


def trained(split, tmp_path, name="a", **settings):
    torch.manual_seed(0)
    config = TrainingConfig(epochs=2, batch_size=8, **settings)
    model = Listener()
    train(model, split, config, tmp_path / f"{name}.pt", Progress("test"))
    return model


def heard_values(model):
    return np.rint(torch.cat(model.heard).cpu().numpy()[:, 0] * 32_768).astype(int)


def refusal(split, tmp_path, *augment):
    with pytest.raises(TrainingError) as error:
        trained(split, tmp_path, augment=augment)
    assert not (tmp_path / "a.pt").exists()
    return str(error.value)


def test_without_augmentation_every_sound_is_heard_as_it_is_once_an_epoch(sounds, tmp_path):
    heard = heard_values(trained(sounds, tmp_path, augment=()))
    assert sorted(map(tuple, heard[:N])) == sorted(map(tuple, sounds.side.inputs[:, 0].astype(int)))


def test_a_time_shift_moves_each_sound_by_up_to_a_tenth_and_silence_moves_in(sounds, tmp_path):
    moved = []
    for row in heard_values(trained(sounds, tmp_path, augment=("time_shift",))):
        sounding = np.flatnonzero(row)
        ramp = row[sounding]
        assert (np.diff(ramp) == 1).all(), "moved as a whole"
        first = int((ramp[0] - 1) % 1_000)
        assert len(sounding) == SAMPLES - abs(int(sounding[0]) - first)
        moved.append(int(sounding[0]) - first)
    assert max(map(abs, moved)) <= SAMPLES // 10
    assert min(moved) < -SAMPLES // 20
    assert max(moved) > SAMPLES // 20


@pytest.mark.parametrize("most", [20, -20])
def test_the_largest_shifts_are_a_tenth_both_ways_and_every_channel_moves_alike(monkeypatch, most):
    monkeypatch.setattr(torch, "randint", lambda low, high, size: torch.full(size, low if most > 0 else high - 1))
    batch = torch.arange(1, SAMPLES + 1, dtype=torch.int16).expand(2, 3, SAMPLES)
    shifted = augmentation._shifted(batch)
    silence, sound = torch.zeros(20, dtype=torch.int16), batch[0, 0]
    expected = torch.cat([silence, sound[:-20]] if most > 0 else [sound[20:], silence])
    assert torch.equal(shifted, expected.expand(2, 3, SAMPLES))
    assert shifted.dtype == torch.int16


def test_a_shifted_training_repeats_bit_for_bit(sounds, tmp_path):
    first, second = (trained(sounds, tmp_path, name, augment=("time_shift",)) for name in "ab")
    assert torch.equal(first.head.weight, second.head.weight)
    assert torch.equal(torch.cat(first.heard), torch.cat(second.heard))


def test_crops_and_flips_are_refused_for_sounds_with_what_is_allowed(sounds, tmp_path):
    assert refusal(sounds, tmp_path, "time_shift", "pad_crop") == (
        "workload.training.augment: 'pad_crop' is not for sounds. Allowed: time_shift; set augment: [time_shift]"
    )
    assert "'horizontal_flip' is not for sounds" in refusal(sounds, tmp_path, "horizontal_flip")


def test_a_time_shift_is_refused_for_images(tmp_path):
    images = split_of(np.zeros((4, 3, 8, 8), np.uint8))
    assert refusal(images, tmp_path, "time_shift", "pad_crop") == (
        "workload.training.augment: 'time_shift' is not for images. Allowed: pad_crop, horizontal_flip; set augment: "
        "[pad_crop]"
    )


def test_samples_of_another_kind_take_no_augmentation(tmp_path):
    rows = split_of(np.zeros((4, 8), np.uint8))
    assert refusal(rows, tmp_path, "time_shift") == (
        "workload.training.augment: 'time_shift' is not for samples of 1 dimensions. Allowed: (none); set augment: []"
    )
