"""The example of docs/your-model.md, typed as it stands there, passes its own gates."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

DOCS = (Path(__file__).parents[2] / "docs" / "your-model.md").read_text(encoding="utf-8")
CLASSES = ("blue", "green", "red")


def block(language, page=DOCS):
    """The first block of code in that language."""
    return re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)[1]


@pytest.fixture
def documented(tmp_path, monkeypatch, machine):
    """A folder with the documented package and workload, coloured images, and weights that tell the colours apart."""
    from PIL import Image

    random = np.random.RandomState(0)
    for side, n in (("train", 380), ("test", 140)):
        for label, name in enumerate(CLASSES):
            folder = tmp_path / "my_images" / side / name
            folder.mkdir(parents=True)
            for i in range(n):
                # A noise of eight by eight squares, brighter in one colour.
                pixels = random.randint(0, 150, (8, 8, 3))
                pixels[..., label] += 105
                Image.fromarray(pixels.astype(np.uint8)).resize((64, 64)).save(folder / f"{i}.png")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "models.py").write_text(block("python"))
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "my_model.yaml").write_text(
        block("yaml").replace("/data/my_images", str(tmp_path / "my_images"))
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    torch.save(told_apart(importlib.import_module("my_package.models").Net(3)), tmp_path / "weights.pt")
    yield tmp_path
    for name in ("my_package", "my_package.models", "my_package.quantize"):
        sys.modules.pop(name, None)


def told_apart(net):
    """Weights after a few steps on images of the same kind."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(net.train().parameters(), lr=0.05, momentum=0.9)
    for _ in range(40):
        labels = torch.randint(3, (24,))
        colours = torch.rand(24, 3, 8, 8) * 150 / 255
        colours[torch.arange(24), labels] += 105 / 255
        images = (nn.functional.interpolate(colours, size=64) - 0.5) / 0.25
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    return net.state_dict()


@pytest.mark.usefixtures("documented")
def test_the_documented_model_passes_the_documented_gates(quantbench):
    status, _, err = quantbench("adopt", "my_model", "weights.pt")
    assert (status, err) == (0, "")
    status, _, err = quantbench("run", "my_model/*")
    # Goldens were not accepted yet, which pytest does.
    assert re.findall(r"my_model/\S+: (\w+): (?:FAIL|INCONCLUSIVE)", err) == ["checkpoint", "accuracy_vs_accepted"], err
    assert status == 1


def test_the_documented_quantizers_pass_the_documented_gates(documented, quantbench):
    section = DOCS.partition("## Your own quantizer")[2]
    (documented / "my_package" / "quantize.py").write_text(block("python", section))
    config = documented / "configs" / "my_model.yaml"
    config.write_text(config.read_text().partition("experiments:")[0] + block("yaml", section))
    assert quantbench("adopt", "my_model", "weights.pt")[0] == 0
    status, _, err = quantbench("run", "my_model/*")
    found = re.findall(r"my_model/(\S+): (\w+): (?:FAIL|INCONCLUSIVE)", err)
    assert {claim for _, claim in found} == {"checkpoint", "accuracy_vs_accepted"}, err
    assert {name for name, _ in found} == {"torchao_int8", "rounded_to_6_bits"}
    assert status == 1
