"""A few of the kills that `benchmarks/kills.py` makes by the hundred, and that it finds what they would leave."""

import importlib
import multiprocessing
import os
import random
import shutil
import sys
import time

import kills
import kills_processes
import pytest

from quantbench.measure.environment import environment
from quantbench.temporary import temporary_name

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
ADOPTING = kills.KINDS["adopting"]
# Operations on files that make new weights and their card count, from the last one.
LAST = 5


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    # Once here, where each fork would import them anew.
    for module in (
        "quantbench.cli.app",
        "quantbench.data.image_folder",
        "quantbench.experiment.adoption",
        "quantbench.backends.module",
        "scipy.optimize",
        "scipy.stats",
    ):
        importlib.import_module(module)
    environment()
    return kills.Place(tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="module")
def adopted(place):
    """Adopting that nothing disturbs."""
    return kills.undisturbed(place, "adopting", ADOPTING)


def test_adopting_that_is_killed_at_its_last_steps_ends_with_the_same_bits_the_next_time(place, adopted):
    tally = kills.Tally()
    for before in range(adopted.changes - LAST + 1, adopted.changes + 1):
        kills.trial(place, "adopting", ADOPTING, adopted, kills.Kill(group=False, before=before), tally)
    assert (tally.kills, tally.same, tally.defects) == (LAST, LAST, [])


def test_processes_of_whoever_forks_are_not_waited_for(place):
    other = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
    other.start()
    try:
        place.begin("made")
        assert place.run(["quantbench", "--version"])[1] == 0
    finally:
        other.terminate()
        other.join()


def test_a_command_that_is_killed_at_random_ends_with_the_same_bits_the_next_time(place):
    tally = kills.kills_of(place, "adopting at random", ADOPTING, 2, 0)
    assert (tally.kills, tally.same, tally.defects) == (2, 2, [])


def test_whatever_is_left_or_differs_is_a_defect(place, adopted, monkeypatch):
    def leaving(command, kill=None):
        (place.root / temporary_name("left")).touch()
        (place.root / "log").write_text("the command's words")
        place.weights.write_bytes(b"other")
        return 1, 0

    place.weights = place.root / "golden" / "baselines" / "tiny.safetensors"
    monkeypatch.setattr(place, "run", leaving)
    monkeypatch.setattr(kills, "still_alive", lambda _: [])
    tally = kills.Tally()
    kills.trial(place, "adopting", ADOPTING, adopted, kills.Kill(group=True, before=1), tally)
    (defect,) = tally.defects
    assert (tally.same, tally.files) == (0, 2), "of the killed run and of the next one"
    assert "other bits in " in defect
    assert "golden/baselines/tiny.safetensors" in defect


def test_new_weights_beside_the_old_card_are_damage(place, adopted):
    place.begin("adopting")
    assert place.damaged() == []
    shutil.copy(place.root / "second.safetensors", place.root / "golden" / "baselines" / "tiny.safetensors")
    (told,) = place.damaged()
    assert "tiny.safetensors: sha256 is " in told


def test_a_process_that_is_left_is_found_and_ended(monkeypatch):
    started = os.posix_spawn(shutil.which("sleep"), ["sleep", "60"], {}, setsid=True)
    monkeypatch.setattr(kills_processes, "ENDED_S", 0.2)
    assert kills_processes.still_alive(started) == [started]
    os.waitpid(started, 0)
    assert kills_processes.alive(started) == []


def test_kills_are_drawn_from_the_seed():
    expected = kills.Undisturbed(0, {}, 2.0, 50)
    one, same, other = (
        [kills.kill_at_random(draw, expected) for _ in range(40)] for draw in map(random.Random, (0, 0, 1))
    )
    assert one == same
    assert one != other
    assert {each.group for each in one} == {True, False}
    assert any(each.before for each in one)
    assert any(each.after_s for each in one)
