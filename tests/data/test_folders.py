"""Every entry of a class folder that is not hidden is used, or refused by its path; the same for images and sounds."""

import os
import socket

import numpy as np
import pytest
import soundfile
from PIL import Image

from quantbench import cache
from quantbench.data import folders
from quantbench.data.audio_folder import audio_folder
from quantbench.data.cache import open_cached
from quantbench.data.folders import ClassFolders, Contents, printable
from quantbench.data.image_folder import image_folder
from quantbench.errors import DataError

NOT_UTF8 = os.fsdecode(b"\xff\xfe")


def write_image(path, seed=0):
    pixels = np.random.RandomState(seed).randint(0, 256, (8, 8, 3)).astype(np.uint8)
    with path.open("wb") as file:
        Image.fromarray(pixels).save(file, "PNG")


def write_sound(path, seed=0):
    sound = np.random.RandomState(seed).randint(-20_000, 20_000, 200).astype(np.int16)
    with path.open("wb") as file:
        soundfile.write(file, sound, 8_000, format="WAV")


KINDS = {"image": (image_folder, write_image, "png"), "sound": (audio_folder, write_sound, "wav")}


class Folder:
    """Two classes, on each side one file of each."""

    def __init__(self, root, kind):
        self.root, (self.source, self.write, self.suffix) = root, KINDS[kind]
        for seed, place in enumerate(("train/a", "train/b", "test/a", "test/b")):
            (root / place).mkdir(parents=True)
            self.write(root / place / f"0.{self.suffix}", seed)

    def opened(self):
        return open_cached("own", self.source(str(self.root)))

    def refusal(self):
        with pytest.raises(DataError) as caught:
            self.opened()
        told = str(caught.value)
        assert "\n" not in told
        assert told.isprintable()
        return told


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    return Folder(tmp_path / "own", request.param)


@pytest.fixture
def images(tmp_path):
    return Folder(tmp_path / "own", "image")


def test_a_set_in_a_cache_that_may_only_be_read_is_opened_though_its_files_are_described_anew(folder, monkeypatch):
    first = folder.opened()
    # As after a copy of the folder: the same content, other times.
    for path in folder.root.rglob(f"*.{folder.suffix}"):
        os.utime(path, (1, 1))

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache.FileLock, "acquire", refused)
    np.testing.assert_array_equal(folder.opened().train.inputs, first.train.inputs)


def test_links_to_files_and_to_class_folders_are_followed(folder, tmp_path):
    (folder.root / "train/a").rename(tmp_path / "elsewhere")
    (folder.root / "train/a").symlink_to(tmp_path / "elsewhere")
    folder.write(tmp_path / "one", 9)
    (folder.root / f"test/b/link.{folder.suffix}").symlink_to(tmp_path / "one")
    data = folder.opened()
    assert (len(data.train.labels), len(data.test.labels)) == (2, 3)
    assert data.test.path_of(2) == f"{folder.root}/test/b/link.{folder.suffix}"


def test_a_link_that_leads_nowhere_is_refused_by_its_name(folder):
    path = folder.root / f"test/a/x.{folder.suffix}"
    path.symlink_to("gone")
    assert folder.refusal() == f"{path}: is a link to gone, which leads nowhere; repair or remove it"


@pytest.mark.parametrize("place", ["train/c", "test"])
def test_a_folder_that_is_a_link_that_leads_nowhere_is_refused_by_its_name(folder, place, tmp_path):
    if (folder.root / place).exists():
        (folder.root / place).rename(tmp_path / "moved")
    (folder.root / place).symlink_to("gone")
    assert folder.refusal().startswith(f"{folder.root}/{place}: is ")


@pytest.mark.parametrize(("place", "target"), [("train/a/up", ".."), ("train/loop", "."), ("train/a/here", "../a")])
def test_a_link_back_to_a_folder_above_is_refused_and_never_followed_for_ever(images, place, target):
    (images.root / place).symlink_to(target)
    assert ": is a link to a folder that it lies in; remove it" in images.refusal()


def test_a_link_to_itself_is_refused(folder):
    path = folder.root / "train/a/self"
    path.symlink_to("self")
    assert folder.refusal().startswith(f"{path}: is a link to self, which leads nowhere")


def test_folders_nested_without_end_are_refused(images):
    path = images.root / "train/a"
    for _ in range(folders.DEEPEST + 1):
        path = path / "d"
        path.mkdir()
    assert f"lies more than {folders.DEEPEST} folders deep" in images.refusal()


def test_images_in_folders_below_their_class_are_used_after_those_in_it(images):
    (images.root / "train/a/0more").mkdir()
    images.write(images.root / "train/a/0more/x.png", 9)
    data = images.opened()
    assert [data.train.path_of(i).removeprefix(str(images.root)) for i in range(3)] == [
        "/train/a/0.png", "/train/a/0more/x.png", "/train/b/0.png",
    ]  # fmt: skip
    assert data.train.labels.tolist() == [0, 0, 1]


def test_an_empty_folder_that_is_called_like_a_file_is_refused(folder):
    path = folder.root / f"train/a/x.{folder.suffix}"
    path.mkdir()
    assert folder.refusal().startswith(f"{path}: is a folder that holds no ")


def test_an_empty_class_folder_is_refused_even_where_both_sides_have_it(folder):
    for side in ("train", "test"):
        (folder.root / side / "c").mkdir()
    told = folder.refusal()
    assert told.startswith(f"{folder.root}/train/c: holds no ")
    assert told.endswith("; put some there, or remove the folder")


def test_a_file_beside_the_class_folders_is_refused_with_where_it_belongs(folder):
    path = folder.root / f"train/x.{folder.suffix}"
    folder.write(path)
    told = folder.refusal()
    assert told.startswith(f"{path}: is not in a ")
    assert told.endswith("'s folder; put it into " + f"{folder.root}/train/" + told[told.rindex("<") :])


def special(path, what):
    if what == "a named pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))


@pytest.mark.parametrize("what", ["a named pipe", "a socket"])
def test_what_would_keep_a_reader_waiting_is_refused_unread(folder, monkeypatch, what):
    # Addresses of sockets are short.
    monkeypatch.chdir(folder.root / "test/a")
    name = f"p.{folder.suffix}"
    special(name, what)
    assert folder.refusal() == f"{folder.root}/test/a/{name}: is {what}; take it out of the folder"


def test_a_file_without_its_name_in_utf_8_is_used_and_refused_by_a_name_that_can_be_printed(folder):
    path = folder.root / "train/b" / f"{NOT_UTF8}.{folder.suffix}"
    folder.write(path, 9)
    data = folder.opened()
    assert len(data.train.labels) == 3
    assert data.train.path_of(2) == f"{folder.root}/train/b/\\xff\\xfe.{folder.suffix}"
    path.write_bytes(b"")
    assert f"{folder.root}/train/b/\\xff\\xfe.{folder.suffix}: not a readable " in folder.refusal()


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\u202eb"])
def test_names_with_control_characters_are_escaped_in_messages(folder, name):
    path = folder.root / f"train/b/{name}.{folder.suffix}"
    path.write_bytes(b"?")
    escaped = name.encode("unicode_escape").decode()
    assert f"{folder.root}/train/b/{escaped}.{folder.suffix}: not a readable " in folder.refusal()


@pytest.mark.parametrize("name", [NOT_UTF8, "two\nlines"])
def test_a_class_whose_name_cannot_be_printed_is_refused(folder, name):
    for side in ("train", "test"):
        (folder.root / side / "b").rename(folder.root / side / name)
    told = folder.refusal()
    assert told.startswith(f"{folder.root}/train/{printable(name)}: a ")
    assert told.endswith(" has a name that can be printed, in UTF-8; rename the folder")


def test_hidden_entries_are_no_part_of_the_data(folder):
    (folder.root / "train/.trash").mkdir()
    (folder.root / "train/a/.DS_Store").write_bytes(b"?")
    os.mkfifo(folder.root / "test/a/.pipe")
    assert len(folder.opened().train.labels) == 2


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.png"

    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    path.write_bytes(b"")
    monkeypatch.setattr(os, "open", forbidden)
    with pytest.raises(DataError) as caught, Contents().opened(str(path)):
        pass
    assert str(caught.value) == f"{path}: cannot be read (Permission denied); allow it, or take it out of the folder"


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def forbidden(_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "train").mkdir()
    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(DataError, match=r"train: cannot be read \(Permission denied\)"):
        ClassFolders(tmp_path, "image").files("train")


def test_a_file_that_is_changed_between_hashing_and_decoding_is_refused(folder):
    source = folder.source(str(folder.root))
    source.content(lambda *_: None)
    path = folder.root / f"test/a/0.{folder.suffix}"
    folder.write(path, 9)
    with pytest.raises(DataError) as caught:
        source.decode(lambda *_: None)
    assert f"{path}: was changed while it was read; run again when it is at rest" in str(caught.value)


def swapped(first, second):
    """Exchanges the contents of two files and gives both their former times."""
    contents, times = [path.read_bytes() for path in (first, second)], [path.stat() for path in (first, second)]
    for path, content, stat in zip((first, second), contents[::-1], times, strict=True):
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_contents_that_were_exchanged_with_sizes_and_times_kept_are_noticed(folder):
    first, second = (folder.root / f"test/{label}/0.{folder.suffix}" for label in "ab")
    size = max(path.stat().st_size for path in (first, second))
    for path in (first, second):
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    before = folder.opened().test
    swapped(first, second)
    after = folder.opened().test
    np.testing.assert_array_equal(after.inputs, before.inputs[::-1])
    np.testing.assert_array_equal(after.digests, before.digests[::-1])


def test_a_second_folder_with_the_same_names_sizes_and_times_has_its_own_samples(folder, tmp_path):
    other = Folder(tmp_path / "other", "image" if folder.suffix == "png" else "sound")
    for number, path in enumerate(sorted(other.root.rglob("0.*"))):
        twin = folder.root / path.relative_to(other.root)
        other.write(path, 90 + number)
        size = max(path.stat().st_size, twin.stat().st_size)
        for each in (path, twin):
            each.write_bytes(each.read_bytes().ljust(size, b"\0"))
            os.utime(each, ns=(1, 1))
    first, second = folder.opened(), other.opened()
    assert not np.array_equal(first.test.inputs, second.test.inputs)
    assert not np.array_equal(first.test.digests, second.test.digests)
    assert second.test.path_of(0).startswith(str(other.root))


def test_the_same_contents_elsewhere_are_not_decoded_again_and_are_named_by_their_own_paths(folder, tmp_path):
    folder.opened()
    folder.root.rename(tmp_path / "moved")
    folder.root = tmp_path / "moved"
    source = folder.source(str(folder.root))
    source.decode_files = lambda *_: pytest.fail("it is there")
    assert open_cached("own", source).train.path_of(0) == f"{tmp_path}/moved/train/a/0.{folder.suffix}"


def test_files_are_hashed_once_as_long_as_the_system_describes_them_alike(folder):
    folder.opened()
    source = folder.source(str(folder.root))
    source.content = lambda _: pytest.fail("nothing changed")
    assert len(open_cached("own", source).train.labels) == 2


@pytest.mark.parametrize("module", ["folders", "pictures"])
def test_another_decoder_makes_other_data(images, monkeypatch, tmp_path, module):
    from quantbench.data import image_folder as owner

    before = image_folder(str(images.root)).fingerprint()
    edited = tmp_path / f"{module}.py"
    edited.write_text("# edited")
    monkeypatch.setattr(getattr(owner, module), "__file__", str(edited))
    assert image_folder(str(images.root)).fingerprint() != before


def test_names_of_classes_that_look_alike_are_told_apart(folder):
    for side, name in (("train", "r\N{LATIN SMALL LETTER E WITH ACUTE}d"), ("test", "re\N{COMBINING ACUTE ACCENT}d")):
        (folder.root / side / "a").rename(folder.root / side / name)
    with pytest.raises(DataError, match=r"different .*s: 're\\u0301d', 'r\\xe9d'; give both the same ones"):
        folder.opened()
