"""The page of recorded runs: verdict first, whole by itself, read by anyone, and nothing of a file taken as markup."""

import itertools
import re
from importlib.resources import files

import numpy as np
import pytest
from page_records import HOSTILE, blame, classes, verdict, whole
from page_structure import parsed

from quantbench.records.run import ExperimentError, NotRun
from quantbench.report.curves import Curves
from quantbench.report.html import page as page_module
from quantbench.report.html.content import Content
from quantbench.report.html.media import Media, media_of
from quantbench.report.html.page import page

CURVES = Curves("w", 3, 2, 100, 50, (1.0, 0.5, 0.2), (0.5, 0.7, 0.9), (1.0, 0.6, 0.7), (0.5, 0.68, 0.66))
STYLE = files("quantbench.report.html").joinpath("style.css").read_text()


@pytest.fixture
def content(two_workloads, two_layer_workloads):
    """Everything that a page can hold."""
    first, second, *others = two_workloads
    records = [
        whole(first, verdicts=[verdict()]),
        whole(second, verdicts=[verdict(outcome="FAIL", estimate=2.0, interval=(1.5, 2.5)), verdict("checkpoint")]),
        *others,
        *two_layer_workloads,
    ]
    picture = media_of(np.zeros((3, 4, 4), np.uint8))
    sound = media_of(np.zeros((1, 80), np.int16), 8_000)
    return Content(
        records=records,
        errors=[ExperimentError(experiment="w/broken", reason="no such layer")],
        not_run=[NotRun(experiment="w/absent", reason="no data")],
        files=["records.json"],
        curves=[CURVES],
        blames=[blame("cifar_cnn_shapes/ptq_dynamic_int8")],
        media={("cifar_cnn_shapes", False, 3): picture, ("cifar_cnn_shapes", False, 6): sound},
    )


@pytest.fixture
def tree(content):
    return parsed(page(content))


def test_the_verdict_comes_first_and_names_what_fails(tree):
    first = tree.one("main").children[0]
    assert first.attributes["id"] == "verdict"
    assert "1 of 36 experiments fails a gate." in first.text
    (failing,) = (each for each in first.all("li") if "FAIL" in each.text)
    assert failing.text.startswith("✗ FAIL cifar_cnn_shapes/ptq_dynamic_int8 accuracy_drop_pp: 2.0 pp")
    assert failing.one("a").attributes["href"] == "#experiment-cifar_cnn_shapes/ptq_dynamic_int8"


@pytest.mark.parametrize(
    ("verdicts", "errors", "said"),
    [
        ([verdict()], [], "PASS All 1 gates of 1 experiment hold."),
        (
            [verdict(), verdict(outcome="INCONCLUSIVE")],
            [],
            "INCONCLUSIVE No gate fails, but 1 verdict is",
        ),
        ([verdict(outcome="FAIL")], ["x"], "FAIL 1 of 1 experiment fails a gate."),
        ([verdict()], ["x"], "error 1 experiment could not be measured whole."),
        ([verdict(outcome="INCONCLUSIVE", change="NO BASELINE")], [], "not run Nothing was judged."),
    ],
)
def test_the_headline_tells_the_worst(make_record, verdicts, errors, said):
    record = make_record("w/a").model_copy(update={"verdicts": verdicts})
    made = page(Content([record], [ExperimentError(experiment="w/b", reason=each) for each in errors]))
    assert said in parsed(made).by_id("verdict").of_class("headline")[0].text
    assert parsed(made).one("head").one("title").text.startswith(said.split()[0])


def test_what_was_not_run_is_told_beside_gates_that_hold(make_record):
    record = make_record("w/a").model_copy(update={"verdicts": [verdict()]})
    for n, words in ((1, "1 experiment was not run"), (2, "2 experiments were not run")):
        left = [NotRun(experiment=f"w/{i}", reason="no data") for i in range(n)]
        said = parsed(page(Content([record], not_run=left))).by_id("verdict").of_class("headline")[0].text
        assert f"PASS All 1 gates of 1 experiment hold; {words}." in said


def test_changes_since_acceptance_are_told_worst_first(make_record):
    changes = ("IMPROVED", "REGRESSED", "SAME")
    record = make_record("w/a").model_copy(update={"verdicts": [verdict(change=change) for change in changes]})
    found = parsed(page(Content([record]))).by_id("changes")
    assert "1 IMPROVED, 1 SAME, 1 REGRESSED." in found.text
    assert [each.text for each in found.all("h3")] == ["Worse (1)", "Better (1)"]


def test_the_page_has_its_landmarks_and_one_heading_of_all(tree):
    body = tree.one("body")
    for name in ("header", "nav", "main", "footer", "h1"):
        body.one(name)
    assert tree.one("html").attributes["lang"] == "en"
    levels = [int(each.name[1]) for each in body.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(each.text for each in body.all("h1", "h2", "h3", "h4"))


def test_every_picture_says_in_words_what_it_shows(tree):
    pictures = tree.all("svg")
    assert len(pictures) > 30
    for each in pictures:
        assert each.attributes["role"] == "img"
        assert each.one("title").text == " ".join((each.attributes["aria-label"] or "").split())
        assert len(each.one("title").text) > 10
    assert all(each.attributes.get("aria-label") for each in tree.of_class("sample") + tree.all("audio"))


def test_every_table_has_a_caption_and_names_rows_and_columns(tree):
    tables = tree.all("table")
    assert len(tables) > 20
    for each in tables:
        assert each.one("caption").text
        assert {head.attributes.get("scope") for head in each.all("th")} == {"col", "row"}
        assert all(head.text for head in each.all("th"))
        widths = {len(row.children) for row in each.all("tr")}
        assert len(widths) == 1


def test_what_scrolls_is_reached_with_the_keyboard(tree):
    for each in tree.of_class("scroll"):
        assert each.attributes["tabindex"] == "0"
        assert each.attributes["aria-label"]


def test_ids_are_there_once_and_every_link_leads_to_one(tree):
    ids = [each.attributes["id"] for each in tree.all() if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    links = [each.attributes["href"] or "" for each in tree.all("a")]
    assert {link[1:] for link in links if not link.startswith("#experiment-w/")} <= set(ids)


def test_nothing_is_asked_of_the_network(content):
    made = page(content)
    assert re.findall(r"(?:src|href)=\"(?!#|data:)|url\(\"(?!data:)|@import", made) == []
    assert not re.search(r"https?://|//[a-z]", made)
    assert "default-src 'none'" in made
    assert len(made) < 3_000_000


def test_the_policy_lets_in_the_script_of_the_page_alone(tree):
    import base64
    import hashlib

    (script,) = tree.all("script")
    digest = base64.b64encode(hashlib.sha256("".join(script.words).encode()).digest()).decode()
    (policy,) = (m.attributes["content"] for m in tree.all("meta") if m.attributes.get("http-equiv"))
    assert f"script-src 'sha256-{digest}'" in policy


def test_names_and_messages_of_files_are_never_markup(make_record):
    hostile = verdict(outcome="FAIL").model_copy(
        update=dict.fromkeys(("measured", "requirement", "warning", "quantity", "blame"), HOSTILE)
    )
    record = whole(make_record("w/a"), verdicts=[hostile], classes=classes((HOSTILE, f"{HOSTILE}2", "x")))
    record = record.model_copy(
        update={"command": HOSTILE, "data_note": HOSTILE, "recipe": {"kind": HOSTILE, HOSTILE: HOSTILE},
                "backend": HOSTILE, "environment": record.environment.model_copy(update={"processor": HOSTILE})}
    )  # fmt: skip
    made = page(
        Content(
            [record, make_record("w/b")],
            [ExperimentError(experiment=HOSTILE, reason=HOSTILE)],
            [NotRun(experiment=f"{HOSTILE}2", reason=HOSTILE)],
            files=[HOSTILE],
            notes=[HOSTILE],
            blames=[blame("w/a", HOSTILE, HOSTILE)],
            curves=[Curves(HOSTILE, 1, None, 1, 0, (1.0,), (0.5,), (), ())],
        )
    )
    tree = parsed(made)
    assert len(tree.all("script")) == 1
    assert "<script>alert" not in made
    assert made.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 15
    assert "\u202e" not in made
    assert {each.attributes["id"] for each in tree.of_class("experiment")} >= {
        "experiment-w/a", "experiment--script-alert-1--/script-----",
    }  # fmt: skip


def test_experiments_that_need_attention_are_open(tree):
    folded = {each.attributes["data-name"]: "open" in each.attributes for each in tree.of_class("experiment")}
    assert folded["cifar_cnn_shapes/ptq_dynamic_int8"]
    assert folded["w/broken"]
    assert not folded["cifar_cnn_shapes/fp32_baseline"]
    assert not folded["w/absent"]


def test_the_same_records_give_the_same_bytes(content):
    assert page(content) == page(content)


def test_a_picture_is_in_the_page_once_however_often_it_is_shown(content, tree):
    made = page(content)
    uri = content.media["cifar_cnn_shapes", False, 3].uri
    assert made.count(uri) == 1
    assert len(tree.of_class("s0-3")) == 2
    assert len(tree.all("audio")) == 1


def test_media_beyond_the_size_of_a_page_are_left_out_with_a_note(content, monkeypatch):
    bare = len(
        page(Content(content.records, content.errors, content.not_run, (), content.files, content.curves)).encode()
    )
    monkeypatch.setattr(page_module, "LARGEST_BYTES", bare + 20_000 + 5_000)
    big = {("cifar_cnn_shapes", False, i): Media("picture", f"data:image/png;base64,{'A' * 2_000}") for i in range(10)}
    made = page(Content(content.records, content.errors, content.not_run, (), content.files, content.curves, big))
    assert made.count("A" * 2_000) == 2
    assert "8 pictures or sounds of samples are left out" in made


def colours(block):
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


PALETTES = [colours(block) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)]


@pytest.mark.parametrize("palette", PALETTES, ids=["light", "dark", "print"])
def test_words_and_marks_stand_out_from_what_is_behind_them(palette):
    """Source: WCAG 2.2, 1.4.3 (words, 4.5) and 1.4.11 (marks, 3)."""
    assert len(palette) == 15
    words = [
        (each, ground) for each in ("text", "muted", "link", "open", "fail", "pass") for ground in ("page", "surface")
    ]
    words += [(each, f"{each}-soft") for each in ("pass", "fail", "open")]
    words += [("text", f"{each}-soft") for each in ("pass", "fail")]
    assert [pair for pair in words if contrast(*(palette[each] for each in pair)) < 4.5] == []
    marks = [("mark", "page"), ("series-1", "page"), ("series-2", "page"), ("series-1", "fail-soft"), ("fail", "page")]
    assert [pair for pair in marks if contrast(*(palette[each] for each in pair)) < 3] == []
