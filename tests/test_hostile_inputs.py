"""A small part of the attack with damaged inputs, and that the attack sees each kind of defect."""

import time
import warnings
from dataclasses import replace

import hostile_inputs
import pytest
from hostile_files import DIED, reader_of
from hostile_inputs import DEFECT, DIFFERENT, EQUAL, REFUSED, Tally, attack, table
from hostile_mutations import cut_short, flip_bits
from hostile_readers import Reader, readers

from quantbench.errors import CheckpointError

EACH = 7
# Of model files, each of which a process of its own reads.
OF_MODELS = 1


@pytest.fixture(scope="module")
def every_reader(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = tmp_path_factory.mktemp("hostile")
        patch.setenv("QUANTBENCH_CACHE", str(folder / "cache"))
        yield readers(folder, is_lowering=False)


def test_two_hundred_damaged_inputs_are_refused_in_one_line_or_read_for_a_reason(every_reader, tmp_path):
    tallies, each = {}, {reader.name: OF_MODELS if "models:" in reader.name else EACH for reader in every_reader}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for reader in every_reader:
            tallies[reader.name] = attack(reader, range(each[reader.name]), 7, tmp_path / "inputs")
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    assert total.defects == []
    assert sum(total.counts.values()) == sum(each.values()) >= 200
    assert total.counts[REFUSED] > 100
    assert f"| **all** | {sum(each.values())} | " in table(tallies)


def test_the_same_seed_damages_the_same_bytes(every_reader, tmp_path):
    (reader,) = [each for each in every_reader if each.name == "images: BMP"]
    first, second = (attack(reader, range(20), 3, tmp_path / "inputs").counts for _ in range(2))
    assert first == second


def line(place):
    raise CheckpointError("a.bin: is damaged; make it again")


def changed(place):
    return (place / "a.bin").read_bytes().decode("latin-1")


def hang(place):
    if changed(place) != SAMPLE.decode():
        time.sleep(60)
    return "a"


def crash(place):
    if changed(place) != SAMPLE.decode():
        raise KeyError("step")
    return "a"


def garbled(place):
    if changed(place) != SAMPLE.decode():
        raise CheckpointError("a.bin: two\nlines\x1b[31m")
    return "a"


def empty_handed(place):
    if changed(place) != SAMPLE.decode():
        raise CheckpointError("a.bin: not whole (MemoryError: )")
    return "a"


SAMPLE = b"0123456789" * 9
DEFECTS = {
    "a traceback": (crash, "KeyError: 'step'"),
    "a hang": (hang, "took more than 0.05 s"),
    "a message that no terminal shows": (garbled, "no printable line"),
    "memory that ran out": (empty_handed, "memory ran out"),
    "other content": (changed, "other content was accepted"),
}


@pytest.mark.parametrize(("read", "told"), DEFECTS.values(), ids=DEFECTS)
def test_each_kind_of_defect_is_seen(tmp_path, monkeypatch, read, told):
    monkeypatch.setattr(hostile_inputs, "SECONDS", 0.05)
    tally = attack(Reader("r", "a.bin", SAMPLE, read, [cut_short]), range(3), 1, tmp_path / "inputs")
    assert tally.counts == {DEFECT: 3}
    assert told in tally.defects[0]


def test_memory_beyond_the_files_size_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(hostile_inputs, "GROWTH_BYTES", -1)
    tally = attack(Reader("r", "a.bin", SAMPLE, lambda _: "a", [cut_short]), range(1), 1, tmp_path / "inputs")
    assert "bytes of memory for" in tally.defects[0]


def test_other_content_is_accepted_for_a_reason_alone_and_never_in_a_figure_that_is_watched(tmp_path):
    reader = Reader("r", "a.bin", SAMPLE, lambda place: {"figure": changed(place)}, [flip_bits], "the user's own words")
    assert attack(reader, range(3), 1, tmp_path / "inputs").counts == {DIFFERENT: 3}
    assert attack(replace(reader, watched=("figure",)), range(3), 1, tmp_path / "inputs").counts == {DEFECT: 3}
    assert attack(replace(reader, watched=("other",)), range(3), 1, tmp_path / "inputs").counts == {DIFFERENT: 3}
    assert attack(replace(reader, by_program_only=True), range(3), 1, tmp_path / "inputs").counts == {DEFECT: 3}


def test_equal_content_counts_as_such_and_a_sample_that_is_not_read_ends_the_attack(tmp_path):
    same = Reader("r", "a.bin", SAMPLE, lambda _: "a", [cut_short])
    assert attack(same, range(3), 1, tmp_path / "inputs").counts == {EQUAL: 3}
    with pytest.raises(CheckpointError):
        attack(replace(same, read=line), range(3), 1, tmp_path / "inputs")


def crashed(place):
    if changed(place) != SAMPLE.decode():
        raise CheckpointError(f"a.bin: {DIED}")
    return "a"


def test_a_crash_of_a_runtime_is_a_refusal_that_is_counted(tmp_path):
    found = attack(Reader("a", "a.bin", SAMPLE, crashed, [flip_bits]), range(3), 1, tmp_path / "inputs")
    assert (found.counts[REFUSED], found.crashes, found.defects) == (3, 3, [])
    (tmp_path / "a.bin").write_bytes(SAMPLE)
    with pytest.raises(CheckpointError, match=DIED):
        reader_of("crashing_backend:crashing", "a.bin", 4)(tmp_path)
