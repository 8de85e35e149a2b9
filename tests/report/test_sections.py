"""Generated sections of a Markdown file: each marker's own, nothing else touched, and no harm from a wrong marker."""

import re

import pytest
from published_figures import with_published

from quantbench.errors import ConfigError
from quantbench.report.documents import with_tables

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
LAYERS, LAYERS_END = "<!-- sensitivity: begin -->", "<!-- sensitivity: end -->"
PUBLISHED, PUBLISHED_END = "<!-- published: begin figures.yaml -->", "<!-- published: end -->"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "docs" / "README.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_only_what_stands_between_the_markers_is_replaced(write, make_record):
    path = write(f"before\n\n{BEGIN}\nold table\n{END}\n\nafter\n")
    path.write_text(with_tables(path, [make_record("w/new")]))
    text = path.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n| experiment |")
    assert text.endswith(f"\n{END}\n\nafter\n")
    assert "w/new" in text
    assert "old table" not in text
    assert with_tables(path, [make_record("w/new")]) == text, "a second time changes nothing"


def test_every_section_gets_its_own_and_the_text_between_stays(write, two_layer_workloads):
    path = write(f"a\n{BEGIN}\n1\n{END}\nb\n{LAYERS}\n2\n{LAYERS_END}\nc\n{PUBLISHED}\n3\n{PUBLISHED_END}\nd")
    (path.parent / "figures.yaml").write_text(
        "what: M5\nworkloads: [m5_spoken_words]\nrows: {ptq_static: {accuracy: 75.85}}"
    )
    path.write_text(with_published(path, two_layer_workloads))
    text = with_tables(path, two_layer_workloads)
    parts = re.split("<!-- .* -->\n?", text)
    assert parts[::2] == ["a\n", "b\n", "c\n", "d"]
    assert parts[1].startswith("| experiment | accuracy % |")
    assert parts[3].startswith("**m5_spoken_words, layer by layer (n = 1,000)**")
    assert parts[5].startswith("Published: M5.")
    path.write_text(text)
    assert with_tables(path, two_layer_workloads) == with_published(path, two_layer_workloads) == text


def test_sections_that_others_write_are_left_as_they_are(write, two_layer_workloads):
    theirs = f"{PUBLISHED}\nold\n{PUBLISHED_END}\n<!-- search: begin a/b -->\nold\n<!-- search: end -->\n"
    path = write(f"{theirs}{LAYERS}\nold\n{LAYERS_END}\n")
    text = with_tables(path, two_layer_workloads)
    assert text.startswith(theirs)
    assert "old" not in text.removeprefix(theirs)


def test_globs_choose_the_experiments_of_a_section(write, two_layer_workloads):
    path = write(
        f"<!-- results: begin m5_spoken_words/ptq_block[12] */qat_int8 -->\n{END}\n"
        f"<!-- sensitivity: begin m5_speech_commands/* -->\n{LAYERS_END}\n"
    )
    results, _, layers = with_tables(path, two_layer_workloads).partition(END)
    assert re.findall(r"^\| (m5\S+)", results, re.MULTILINE) == [
        "m5_spoken_words/ptq_block1",
        "m5_spoken_words/ptq_block2",
        "m5_spoken_words/qat_int8",
        "m5_speech_commands/qat_int8",
    ]
    assert "m5_speech_commands, layer by layer" in layers
    assert "m5_spoken_words" not in layers


def test_two_sections_of_one_kind_stand_apart(write, two_workloads):
    path = write(f"<!-- results: begin *_shapes/* -->\n{END}\nmiddle\n<!-- results: begin *_cifar10/* -->\n{END}\n")
    first, second = with_tables(path, two_workloads).split("\nmiddle\n")
    assert "cifar_cnn_shapes/qat_int8" in first
    assert "cifar_cnn_cifar10" not in first
    assert "cifar_cnn_cifar10/qat_int8" in second
    assert "cifar_cnn_shapes" not in second


@pytest.mark.parametrize("text", ["no markers\n", "<!-- result: begin -->\n<!-- result: end -->\n", ""])
def test_a_document_without_any_marker_is_refused_with_what_to_put_there(write, make_record, text):
    with pytest.raises(ConfigError, match=rf"put the lines '{BEGIN}' and '{END}' where the results belong"):
        with_tables(write(text), [make_record("w/a")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{BEGIN}\nno end\n", f"the marker '{BEGIN}' has no '{END}' after it; put it where the section ends"),
        (f"{END}\n{BEGIN}\n", f"the marker '{BEGIN}' has no '{END}' after it; put it where the section ends"),
        (f"{BEGIN}\n{LAYERS_END}\n", f"the marker '{BEGIN}' has no '{END}' after it"),
        (f"{BEGIN}\n{END}\n{LAYERS}\n", f"the marker '{LAYERS}' has no '{LAYERS_END}' after it"),
        (f"{END}\n", f"the marker '{END}' has no '{BEGIN}' before it; put it where the section begins"),
        (f"{BEGIN}\n{END}\n{END}\n", f"the marker '{END}' has no '{BEGIN}' before it"),
        (f"<!-- results: beginn -->\n{END}\n{LAYERS}\n{LAYERS_END}", f"the marker '{END}' has no '{BEGIN}' before it"),
        (
            f"{BEGIN}\n{LAYERS}\n{LAYERS_END}\n{END}\n",
            f"the marker '{LAYERS}' stands inside the section of '{BEGIN}', which would replace it; put '{END}' before",
        ),
        (f"{BEGIN}\n{BEGIN}\n{END}\n{END}\n", f"the marker '{BEGIN}' stands inside the section of '{BEGIN}'"),
        (f"{BEGIN}\n{PUBLISHED}\n{END}\n", f"the marker '{PUBLISHED}' stands inside the section of '{BEGIN}'"),
    ],
)
def test_a_marker_without_its_other_or_inside_another_section_is_named(write, two_layer_workloads, text, message):
    path = write(text)
    with pytest.raises(ConfigError) as refused:
        with_tables(path, two_layer_workloads)
    assert str(refused.value).startswith(f"{path}: {message}")
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (
            "<!-- results: begin m5_*/* m6_*/* -->",
            "<!-- results: begin m5_*/* m6_*/* -->: no record of 'm6_*/*'; correct it, or measure it with: "
            "pytest bench --experiment 'm6_*/*' --json FILE",
        ),
        ("<!-- results: begin qat_int8 -->", "no record of 'qat_int8'; correct it, or measure it with: "),
        ("<!-- sensitivity: begin m6_*/* -->", "no record of 'm6_*/*'; correct it, or measure it with: "),
        (
            "<!-- sensitivity: begin */qat_int8 -->",
            "<!-- sensitivity: begin */qat_int8 -->: none of these records is of one layer in int8; measure some: ",
        ),
    ],
)
def test_globs_that_choose_nothing_are_named_with_the_command_that_measures(
    write, two_layer_workloads, marker, message
):
    name = marker.split(":")[0]
    with pytest.raises(ConfigError) as refused:
        with_tables(write(f"{marker}\n{name}: end -->\n"), two_layer_workloads)
    assert message in str(refused.value)
    assert "README.md: <!-- " in str(refused.value)


def test_a_section_of_figures_that_are_not_there_or_wrong_names_their_file(write, two_layer_workloads):
    path = write(f"{PUBLISHED}\n{PUBLISHED_END}\n")
    with pytest.raises(ConfigError, match=r"docs/figures\.yaml: cannot be read: No such file or directory"):
        with_published(path, two_layer_workloads)
    (path.parent / "figures.yaml").write_text("what: [")
    with pytest.raises(ConfigError, match=r"docs/figures\.yaml: line 1: not valid YAML"):
        with_published(path, two_layer_workloads)


@pytest.mark.parametrize("files", ["", "a b"])
def test_a_section_of_figures_names_one_file(write, two_layer_workloads, files):
    path = write(f"<!-- published: begin {files} -->\n{PUBLISHED_END}")
    with pytest.raises(ConfigError, match="<!-- published: begin FILE --> names one file"):
        with_published(path, two_layer_workloads)


def test_a_document_that_cannot_be_read_is_named_once(tmp_path, make_record):
    path = tmp_path / "README.md"
    with pytest.raises(ConfigError) as refused:
        with_tables(path, [make_record("w/a")])
    assert str(refused.value) == f"{path}: cannot be read (No such file or directory); name a Markdown file"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"README\.md: cannot be read \(not UTF-8 text\); name a Markdown file"):
        with_tables(path, [make_record("w/a")])
