"""Parts of the page: what is drawn where, which samples flipped, and media that can be decoded."""

import base64
import io
import wave

import numpy as np
import pytest
from page_records import blame, classes, verdict, whole
from page_structure import parsed
from PIL import Image

from quantbench.records.judged import Judged
from quantbench.records.run import VerdictRecord
from quantbench.records.samples import Samples
from quantbench.report.html import fronts, samples
from quantbench.report.html.blame import blame_part
from quantbench.report.html.classes import classes_part
from quantbench.report.html.content import Content
from quantbench.report.html.drawing import Box, Scale, placed
from quantbench.report.html.judged import bounded, interval_picture
from quantbench.report.html.layers import layers_part
from quantbench.report.html.media import media_of
from quantbench.report.html.page import page
from quantbench.report.html.speed import speed_part
from quantbench.report.html.training import sensitivity_section
from quantbench.stats.intervals import Interval
from quantbench.stats.verdicts import at_least, at_most, no_evidence


def test_an_interval_is_drawn_on_its_side_of_the_bound(make_record):
    tree = parsed(interval_picture("loss", bounded(make_record("w/a"), verdict())))
    interval, bound, beyond = (tree.of_class(name)[0].attributes for name in ("interval", "bound", "beyond"))
    zero, dot = tree.of_class("zero")[0].attributes, tree.of_class("estimate")[0].attributes
    assert float(zero["x1"]) < float(interval["x1"]) < float(dot["cx"]) < float(interval["x2"]) < float(bound["x1"])
    assert beyond["x"] == bound["x1"]
    assert tree.one("title").text == "loss: 0.4, 95% interval 0.1 to 0.7; stays within the bound, at most 1"


def test_a_bound_from_below_is_shaded_from_below(make_record):
    found = VerdictRecord.of(at_least("speedup", 1.1, Interval(0.9, 1.3, 0.99), 1.2, 40, "1.1×", "×"))
    tree = parsed(interval_picture("speedup", bounded(make_record("w/a"), found)))
    beyond = tree.of_class("beyond")[0].attributes
    assert float(beyond["x"]) == 0.0
    assert float(beyond["width"]) == pytest.approx(float(tree.of_class("bound")[0].attributes["x1"]))
    assert "reaches beyond the bound, at least 1.2" in tree.one("title").text


def test_figures_of_older_records_come_from_their_parts(make_record):
    record = make_record("w/a", correct=900, speedup=2.0)
    old = VerdictRecord(quantity="accuracy_drop_pp", outcome="PASS", measured="", requirement="at most 1.5 pp")
    found = bounded(record, old)
    assert (found.estimate, found.bound, found.is_most) == (pytest.approx(1.0), 1.5, True)
    assert (found.low, found.high) == record.accuracy.drop_interval_pp
    speed = VerdictRecord(quantity="speedup", outcome="PASS", measured="", requirement="at least 1.2×")
    assert (bounded(record, speed).estimate, bounded(record, speed).low) == (2.0, 1.9)


@pytest.mark.parametrize("requirement", ["bit-identical logits", "bound 1", "at most as many as before"])
def test_what_has_no_number_to_hold_is_not_drawn(make_record, requirement):
    found = VerdictRecord(quantity="reload", outcome="PASS", measured="", requirement=requirement)
    assert bounded(make_record("w/a"), found) is None


def test_figures_of_a_verdict_are_those_that_decided_it():
    found = Judged.of(at_most("loss", 0.4, Interval(0.1, 1.2, 0.95), 1.0, 1_000, "", ""))
    assert found == Judged(estimate=0.4, interval=(0.1, 1.2), level=0.95, bound=1.0, n=1_000)
    assert Judged.of(no_evidence("loss", 1.0, "no samples")) is None
    assert Judged.of(at_most("loss", float("inf"), None, 1.0, 1_000, "", "")) is None
    unbounded = Judged.of(at_most("loss", 0.4, Interval(0.1, float("inf"), 0.95), 1.0, 1_000, "", ""))
    assert (unbounded.interval, unbounded.level) == (None, None)


def test_figures_that_nothing_could_have_measured_are_refused():
    assert "not finite" in Judged(estimate=float("nan"), n=1).impossible()
    wrong = verdict(interval=(0.7, 0.1))
    assert wrong.impossible() == "a verdict on accuracy_drop_pp of an interval (0.7, 0.1) that is not in order"


def test_verdicts_without_figures_are_written_as_before():
    old = VerdictRecord(quantity="reload", outcome="PASS", measured="m", requirement="r")
    assert "figures" not in old.model_dump_json()
    assert VerdictRecord.model_validate_json(verdict().model_dump_json()) == verdict()


def test_flips_are_told_with_their_classes():
    facts = classes(("cat", "dog", "cow"))
    (lost, gained, changed) = samples._of_answers(facts)
    assert (lost.position, lost.kind, lost.words) == (3, "lost", "cat: cat → dog")
    assert (gained.position, gained.kind, gained.words) == (6, "gained", "dog: cat → dog")
    assert (changed.position, changed.kind, changed.words) == (8, "changed", "dog: cat → cow")


def test_flips_without_answers_come_from_the_bits(make_record):
    found = samples.flips(make_record("w/a", correct=908))
    assert [(flip.position, flip.kind) for flip in found] == [(908, "lost"), (909, "lost")]


def test_of_many_flips_some_of_each_kind_are_shown():
    found = [samples.Flip(i, "lost" if i < 30 else "gained", "") for i in range(60)]
    kinds = [flip.kind for flip in samples.shown(found)]
    assert (kinds.count("lost"), kinds.count("gained")) == (12, 6)
    assert len(samples.shown(found[:30])) == 18
    assert len(samples.shown(found[25:28])) == 3


def test_samples_of_several_experiments_are_wanted_first(make_record):
    wanted = samples.wanted([make_record("w/a", correct=909), make_record("w/b", correct=908), make_record("v/c")])
    assert wanted["w"] == [("w", False, 909), ("w", False, 908)]
    assert set(wanted) == {"w", "v"}


def test_a_sound_that_was_embedded_is_linked_the_second_time(make_record):
    sound = media_of(np.zeros((1, 80), np.int16), 8_000)
    record = whole(make_record("w/a"))
    content, heard = Content([record], media={("w", False, 3): sound}), set()
    assert "<audio" in samples.samples_part(record, content, heard)
    again = parsed(samples.samples_part(record, content, heard))
    assert again.all("audio") == []
    assert again.one("a").attributes["href"] == "#sound-s0-3"


def test_classes_are_shown_before_and_after(make_record):
    tree = parsed(classes_part(whole(make_record("w/a"))))
    (matrix,) = tree.of_class("matrix")
    rows = [[cell.text for cell in row.children] for row in matrix.all("tr")]
    assert rows[1] == ["cat", "5 → 4 (-1)", "0 → 1 (+1)"]
    assert rows[2] == ["dog", "2 → 1 (-1)", "3 → 4 (+1)"]
    assert "worse" in matrix.all("td")[1].attributes["class"]
    assert "better" in matrix.all("td")[2].attributes["class"]


def test_of_many_classes_the_pairs_that_changed_are_listed(make_record):
    facts = classes(tuple(f"c{i}" for i in range(20)))
    tree = parsed(classes_part(whole(make_record("w/a"), classes=facts)))
    rows = [[cell.text for cell in row.children] for row in tree.all("table")[0].all("tr")]
    assert ["c0 taken for c1", "0", "1", "+1"] in rows
    assert ["c1 taken for c0", "2", "0", "-2"] in rows


def test_work_of_layers_is_told_by_precision(make_record):
    tree = parsed(layers_part(whole(make_record("w/a"))))
    rows = [[cell.text for cell in row.children] for row in tree.all("tr")[1:]]
    assert rows == [["conv", "int8", "90", "90.0%"], ["fc", "floating point", "10", "10.0%"]]


def test_every_pair_of_forwards_is_a_point(make_record):
    record = make_record("w/a", speedup=2.0)
    tree = parsed(speed_part(record))
    assert [each.attributes["d"].count("M") for each in tree.of_class("pairs")] == [3, 3, 3]
    assert "reference / candidate 2.000 times [1.900, 2.080]" in tree.one("title").text
    strayed = record.model_copy(update={"latency": record.latency.model_copy(update={"strayed": True})})
    assert "the machine was too noisy" in parsed(speed_part(strayed)).text


def test_the_front_is_of_what_is_lost_and_small_and_fast(make_record):
    records = [
        make_record("w/good", 909, 300, 2.0),
        make_record("w/worse", 900, 300, 2.0),
        make_record("w/fast", 890, 300, 3.0),
        make_record("w/untimed", 908, 300, None),
    ]
    points = [fronts.point_of(record) for record in records]
    assert [point.name for point in points if fronts.is_on_front(point, points)] == ["good", "fast"]
    assert points[0].time == 0.5
    assert points[0].loss == pytest.approx(0.1)


def test_labels_keep_clear_of_each_other_and_stay_in_their_room():
    points = [(100.0 + i % 3, 100.0 + i, f"experiment_{i}") for i in range(12)]
    room = Box(0, 0, 400, 400)
    boxes = [Box(x, y - 10, x + 6.3 * len(words), y + 3) for x, y, words, _ in placed(points, room)]
    assert [i for i, box in enumerate(boxes) if any(box.meets(other) for other in boxes[:i])] == []
    assert all(box.left >= 0 and box.right <= 400 and box.top >= 0 and box.bottom <= 400 for box in boxes)


def test_scales_have_round_ticks_within_their_range():
    assert Scale(-0.44, 0.33, 0, 100).ticks() == pytest.approx([-0.4, -0.2, 0.0, 0.2])
    assert Scale(0.8, 5.5, 0, 100, is_log=True)(0.8) == 0
    assert 1 in Scale(0.8, 5.5, 0, 100, is_log=True).ticks()


def test_layers_of_different_samples_are_told_not_drawn(two_layer_workloads):
    first, *others = two_layer_workloads
    wrong = [first.model_copy(update={"test_sha256": "f" * 64}), *others]
    assert "Not shown: " in sensitivity_section(Content(wrong))
    tree = parsed(sensitivity_section(Content(two_layer_workloads)))
    assert len(tree.all("svg")) == 2
    assert len(tree.all("table")) == 4


def test_a_picture_holds_its_pixels():
    pixels = np.random.RandomState(0).randint(0, 256, (3, 5, 7)).astype(np.uint8)
    media = media_of(pixels)
    decoded = Image.open(io.BytesIO(base64.b64decode(media.uri.partition(",")[2])))
    assert (np.asarray(decoded) == pixels.transpose(1, 2, 0)).all()
    assert (media.kind, media.width, media.height) == ("picture", 7, 5)


def test_a_large_or_normalized_picture_is_brought_to_what_a_page_shows():
    values = np.linspace(-2, 2, 400 * 300, dtype=np.float32).reshape(1, 400, 300)
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(media_of(values).uri.partition(",")[2]))))
    assert decoded.shape == (80, 60)
    assert decoded.min() == 0
    assert decoded.max() > 250


def test_a_sound_can_be_played_at_its_rate():
    tone = (20_000 * np.sin(np.arange(16_000) / 20)).astype(np.int16)[None]
    with wave.open(io.BytesIO(base64.b64decode(media_of(tone, 16_000).uri.partition(",")[2]))) as sound:
        assert (sound.getframerate(), sound.getnframes(), sound.getsampwidth()) == (8_000, 8_000, 1)
        samples_of = np.frombuffer(sound.readframes(8_000), np.uint8)
    assert (samples_of.min(), samples_of.max()) == (1, 255)


@pytest.mark.parametrize("shape", [(12,), (2, 50), (5, 8, 8), (1, 0), (3, 0, 4), (1, 2, 3, 4)])
def test_what_is_neither_picture_nor_sound_has_no_media(shape):
    assert media_of(np.zeros(shape, np.float32), 8_000) is None


def partly(record, used, total):
    """The same record, of the first samples that were drawn."""
    samples_of = Samples(used=used, total=total, why="decided", decided={}, error_share=0.2)
    return record.model_copy(update={"accuracy": record.accuracy.model_copy(update={"samples": samples_of})})


def test_samples_that_were_drawn_are_counted_as_such(make_record):
    record = partly(make_record("w/a", correct=909), 1_000, 50_000)
    assert samples.wanted([record, make_record("w/b", correct=909)])["w"] == [("w", True, 909), ("w", False, 909)]
    picture = media_of(np.zeros((3, 4, 4), np.uint8))
    shown = samples.samples_part(record, Content([record], media={("w", False, 909): picture}), set())
    assert "1,000 of 50,000 samples were looked at, in random order" in shown
    assert "sample s0" not in shown
    assert "sample s0-d909" in samples.samples_part(record, Content([record], media={("w", True, 909): picture}), set())


def test_samples_beyond_those_that_were_drawn_have_no_place(make_record):
    assert samples.wanted([partly(make_record("w/a", correct=909), 900, 50_000)]) == {}


def test_the_layer_to_blame_is_told_with_its_error_and_causes():
    tree = parsed(blame_part(blame("w/a")))
    assert tree.one("strong").text == "conv is to blame."
    assert [row.children[0].text for row in tree.all("tr")[1:]] == ["→ conv", "fc"]
    # Two of the key, both of the first layer, one of the second, which is exact by itself.
    assert len(tree.of_class("filled")) == 5
    assert "conv: 90 % of its error: its range is too small" in tree.text
    assert blame_part(None) == ""


def test_the_blame_of_a_verdict_stands_beside_it(make_record):
    found = verdict(outcome="FAIL").model_copy(update={"blame": "conv is to blame."})
    tree = parsed(page(Content([make_record("w/a").model_copy(update={"verdicts": [found]})])))
    assert "To blame: conv is to blame." in tree.by_id("verdict").text
    assert "To blame: conv is to blame." in tree.of_class("gates")[0].text
