"""Files of OpenVINO that are not what they should be: one line each, before the runtime reads them."""

import os
import re
from pathlib import Path

import pytest
from tiny_ir import write_ir

from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.backends.openvino_runtime import ir_files
from quantbench.backends.openvino_runtime.backend import files_of
from quantbench.errors import CheckpointError
from quantbench.recipes.spec import Fp32

SPEC = BackendSpec("openvino", {}, "here")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_ir(tmp_path_factory.mktemp("ir") / "whole.xml")


@pytest.fixture
def model(whole, tmp_path):
    """A copy that may be damaged."""
    for path in files_of(whole):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / whole.name


def changed(path, pattern, by):
    text = path.read_text()
    found, n = re.subn(pattern, by, text, count=1)
    assert n, "nothing was changed"
    path.write_text(found)


def refusal(path):
    """The line with which a model is refused when it is loaded."""
    with pytest.raises(CheckpointError) as error:
        SPEC.create().load(Artifact.of_files(SPEC, [path, path.with_suffix(".bin")], Fp32()), 1)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_model_is_its_xml_and_its_bin(model):
    assert files_of(model) == (model, model.with_suffix(".bin"))


def test_another_format_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"a\.pt: backend 'openvino' loads \.xml \(with its \.bin\) and \.onnx"):
        files_of(tmp_path / "a.pt")


def test_a_bin_that_is_missing_is_named(model):
    model.with_suffix(".bin").unlink()
    with pytest.raises(CheckpointError, match=r"whole\.xml: the values .* are missing: no whole\.bin beside it"):
        files_of(model)


@pytest.mark.parametrize("bytes_left", [0, 1000])
def test_a_bin_that_is_cut_short_is_named_with_the_layer_that_it_lacks(model, bytes_left):
    values = model.with_suffix(".bin")
    values.write_bytes(values.read_bytes()[:bytes_left])
    assert re.search(rf"whole\.bin: has {bytes_left:,} bytes, and layer 'fc' of whole\.xml lies at 880 to 2,416",
                     refusal(model))  # fmt: skip


def test_a_bin_that_is_far_too_long_is_of_another_model(model):
    values = model.with_suffix(".bin")
    values.write_bytes(values.read_bytes() + bytes(5000))
    assert "of which whole.xml uses 2,416: it is of another model" in refusal(model)


@pytest.mark.parametrize("at", [100, 1000, 3000])
def test_an_xml_that_is_cut_short_says_so(model, at):
    model.write_text(model.read_text()[:at])
    assert "whole.xml: is cut short, or no XML at all" in refusal(model)


def test_other_xml_is_no_model(model):
    model.write_text("<svg><g/></svg>")
    assert "is no OpenVINO model: it begins with <svg>" in refusal(model)


def test_entities_that_would_grow_are_refused_before_anything_is_parsed(model):
    bomb = '<!DOCTYPE net [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><net version="11">&b;</net>'
    model.write_text(bomb)
    assert "holds a document type (<!DOCTYPE), which no IR has" in refusal(model)


def test_elements_within_elements_are_bounded(model):
    model.write_text('<net version="11">' + "<a>" * 100 + "</a>" * 100 + "</net>")
    assert "more than 64 elements within each other" in refusal(model)


def test_an_xml_of_any_size_is_not_read(model, monkeypatch):
    monkeypatch.setattr(ir_files, "LARGEST_XML", 1000)
    assert ".xml of more than 1,000 is not read" in refusal(model)


@pytest.mark.parametrize(("key", "value"), [("offset", "-8"), ("size", "1e9"), ("offset", "9" * 30)])
def test_a_place_that_is_no_number_is_refused(model, key, value):
    changed(model, rf'{key}="\d+"', f'{key}="{value}"')
    assert f"the {key} of layer 'conv' is '{value}', no number" in refusal(model)


def test_values_outside_of_the_bin_are_refused(model):
    changed(model, r'offset="0"', 'offset="99999999999"')
    assert "whole.bin: has 2,416 bytes, and layer 'conv' of whole.xml lies at 99,999,999,999" in refusal(model)


def test_an_operator_that_is_unknown_is_named(model):
    changed(model, r'type="ReLU"', 'type="Sparkle"')
    assert re.search(r"whole\.xml: openvino \d+\.\d+\.\d+ cannot read it \(.*Sparkle", refusal(model))


def test_a_newer_operator_set_is_named(model):
    changed(model, r'type="ReLU" version="opset1"', 'type="ReLU" version="opset99"')
    assert "opset99" in refusal(model)


def test_a_newer_format_asks_for_an_update(model):
    changed(model, r'version="11"', 'version="99"')
    assert "does not read IR version 99; update openvino" in refusal(model)


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(model):
    values = model.with_suffix(".bin")
    values.unlink()
    os.mkfifo(values)
    with pytest.raises(CheckpointError, match=r"whole\.bin: cannot be read \(is a named pipe"):
        files_of(model)


def test_one_file_of_two_is_no_model(model):
    with pytest.raises(CheckpointError, match=r"is two files, \.xml and \.bin; 1 are given"):
        SPEC.create().load(Artifact.of_files(SPEC, [model], Fp32()), 1)


def test_an_onnx_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match=r"a\.onnx: "):
        files_of(path)


def test_a_device_that_is_not_there_is_told_with_those_that_are(model):
    spec = BackendSpec("openvino", {"device": "GPU.7"}, "here")
    with pytest.raises(CheckpointError, match=r"openvino finds no GPU\.7 on this machine; it has CPU"):
        spec.create().load(Artifact.of_files(spec, files_of(model), Fp32()), 1)


def test_layers_of_a_large_file_are_read_at_once(tmp_path):
    """The check takes far less time than the runtime's own reading: it is linear in the size of the file."""
    layer = '<layer id="{i}" name="c{i}" type="Const"><data offset="0" size="4"/></layer>'
    path = tmp_path / "many.xml"
    path.write_text('<net version="11">' + "".join(layer.format(i=i) for i in range(20000)) + "</net>")
    Path(tmp_path / "many.bin").write_bytes(bytes(4))
    assert files_of(path)[1].name == "many.bin"
