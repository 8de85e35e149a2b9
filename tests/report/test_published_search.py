"""A published search beside ours: the published one, had it been ours, comes out twice, line by line."""

from pathlib import Path

import published_search as script
import pytest
from made_searches import PUBLISHED_DECISIONS, PUBLISHED_DROPS, published_search, sensitivity
from matplotlib import pyplot as plt
from published_search import PublishedSearch, beside, layers_plot_beside, read_published_search

from quantbench.errors import ConfigError
from quantbench.report.search import markdown

FIGURES = Path(__file__).parents[2] / "docs" / "published" / "vgg16.yaml"
EXPERIMENT = "vgg16_cifar10/low_bit_4"


@pytest.fixture(scope="module")
def published():
    return read_published_search(FIGURES, EXPERIMENT, 13)


def test_the_published_file_holds_the_figures_of_the_search(published):
    assert published.sensitivities_pp == PUBLISHED_DROPS
    assert [(each.layer, each.drop_pp) for each in published.decisions] == list(PUBLISHED_DECISIONS)
    assert [each.accepted for each in published.decisions] == [drop <= 1.0 for _, drop in PUBLISHED_DECISIONS]
    assert published.bits == (4,) * 8 + (2,) * 5


def test_its_order_follows_from_its_sensitivities(published):
    order = sorted(range(13), key=lambda i: (published.sensitivities_pp[i], i))
    assert [each.layer for each in published.decisions] == order


def test_published_drops_stand_beside_ours(published):
    table = beside(published_search(), published).sensitivities
    assert table.columns[2:4] == ("drop pp [95 %]", "published pp")
    assert table.rows[0] == ("conv0", "0", "+9.50 [+8.94, +10.09]", "+9.50", "10,000", "20.0", "15.0", "0.01")


def test_the_decision_log_stands_beside_the_published_one_line_by_line(published):
    rows = beside(published_search(), published).decisions.rows
    assert rows[0] == ("conv9", "9", "-0.06", "accepted", "10,000", "all samples", "9", "-0.06", "accepted")
    assert rows[5][1:4] == ("6", "+1.36", "rejected")
    assert all(row[1:4] == (row[6], row[7], row[8]) for row in rows)


def test_the_published_widths_stand_below_those_found(published):
    found = beside(published_search(), published).found
    assert found[0] == f"found: {[4] * 8 + [2] * 5}: 5 of 13 layers (38.5 %) at 2 bits"
    assert found[1] == f"published: {[4] * 8 + [2] * 5}: 5 of 13 layers (38.5 %) at 2 bits"
    assert found[2].startswith("costs: ")


def test_markdown_has_both_in_one_table_and_says_whose_figures_they_are(published):
    lines = markdown(beside(published_search(), published)).splitlines()
    assert "| conv9 | 9 | -0.06 | accepted | 10,000 | all samples | 9 | -0.06 | accepted |" in lines
    assert lines[-2].endswith("`quantbench search vgg16_cifar10/low_bit_4`")
    assert lines[-1].startswith("- published: VGG16 with 4-bit weights on CIFAR-10")
    assert lines[-1].endswith("90.68 %, 27 passes")


def test_published_drops_are_marks_beside_the_bars(tmp_path, monkeypatch):
    published = PublishedSearch(
        what="w", experiments=("e",), accuracy=90, epsilon_pp=1, sensitivities_pp=(3.0, 1.0), bits=(4, 2), passes=5,
        decisions=({"layer": 1, "drop_pp": 1, "accepted": True}, {"layer": 0, "drop_pp": 4, "accepted": False}),
    )  # fmt: skip
    record = published_search(sensitivities=[sensitivity("a", 0, 1_000, 10, 0), sensitivity("b", 1, 1_000, 30, 0)])
    drawn = []
    with monkeypatch.context() as patch:
        patch.setattr(plt, "close", drawn.append)
        layers_plot_beside(record, published, [tmp_path / "a.png"])
    plt.close(drawn[0])
    (axis,) = drawn[0].axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b", "a"]
    assert [bar.get_width() for bar in axis.patches] == [3.0, 1.0]
    marks = next(line for line in axis.get_lines() if line.get_label() == "published")
    assert list(marks.get_xdata()) == [1.0, 3.0]


def read(tmp_path, text, experiment=EXPERIMENT, layers=13):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return read_published_search(path, experiment, layers)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vgg16_shapes/low_bit_4", "x/y", None),
        ("vgg16_cifar10/low_bit_4", "x/y", "is set beside x/y, vgg16_shapes/low_bit_4, not vgg16_cifar10/low_bit_4"),
        ("4, 2, 2, 2, 2, 2]", "4]", "13 sensitivities, 8 bits and 13 decisions; each layer has one of each"),
        ("accuracy: 90.68", "accurcy: 90.68", "p.yaml: accurcy"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_published_file_is_told(tmp_path, old, new, message):
    text = FIGURES.read_text()
    assert old in text
    if message is None:
        assert read(tmp_path, text.replace(old, new)).experiments == ("vgg16_cifar10/low_bit_4", "x/y")
        return
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text.replace(old, new))
    assert message in str(error.value)


def test_a_published_search_of_all_layers_is_not_set_beside_some(tmp_path):
    with pytest.raises(ConfigError) as error:
        read(tmp_path, FIGURES.read_text(), layers=1)
    assert str(error.value) == (
        f"{tmp_path}/p.yaml: is of 13 layers, but of {EXPERIMENT} 1 are tried; search without --layer"
    )


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the script on a record; gives its message, or None."""
    (tmp_path / "s.json").write_text(published_search().model_dump_json())
    monkeypatch.chdir(tmp_path)

    def run(record="s.json", published=FIGURES):
        monkeypatch.setattr("sys.argv", ["published_search.py", record, str(published), "doc.md"])
        try:
            script.main()
        except SystemExit as ended:
            return ended.code
        return None

    return run


def test_the_script_replaces_the_section_of_its_experiment_and_draws_the_layers(run, tmp_path, published):
    path = tmp_path / "doc.md"
    path.write_text(f"before\n<!-- search: begin {EXPERIMENT} -->\nold\n<!-- search: end -->\nafter\n")
    assert run() is None
    section = markdown(beside(published_search(), published))
    assert path.read_text() == (f"before\n<!-- search: begin {EXPERIMENT} -->\n{section}<!-- search: end -->\nafter\n")
    name = "search_vgg16_cifar10_low_bit_4_layers"
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [f"{name}.png", f"{name}.svg"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"record": "none.json"}, "none.json: cannot be read"),
        ({"published": "none.yaml"}, "none.yaml: cannot be read: No such file"),
        ({}, "doc.md: put the lines '<!-- search: begin vgg16_cifar10/low_bit_4 -->'"),
    ],
)
def test_after_a_mistake_nothing_is_written(run, tmp_path, given, message):
    (tmp_path / "doc.md").write_text("no section\n")
    assert message in run(**given)
    assert (tmp_path / "doc.md").read_text() == "no section\n"
    assert not (tmp_path / "out").exists()
