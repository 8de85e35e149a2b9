"""The transformer predicts each token from those before it alone."""

import pytest
import torch

from quantbench.errors import ConfigError
from quantbench.models.token_transformer import token_transformer
from quantbench.registry import MODELS

SMALL = {"vocabulary": 11, "width": 8, "heads": 2, "layers": 2, "context": 6}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return token_transformer(**SMALL).eval()


@torch.no_grad()
def test_a_later_token_changes_nothing_before_it(model):
    tokens = torch.randint(0, 11, (3, 6))
    other = tokens.clone()
    other[:, 4:] = (tokens[:, 4:] + 1) % 11
    first, second = model(tokens), model(other)
    torch.testing.assert_close(first[:, :4], second[:, :4], rtol=0, atol=1e-6)
    assert (first[:, 4:] - second[:, 4:]).abs().amax(dim=(0, 2)).min() > 1e-3


@torch.no_grad()
def test_a_shorter_sequence_gives_the_same_logits(model):
    tokens = torch.randint(0, 11, (3, 6))
    torch.testing.assert_close(model(tokens[:, :3]), model(tokens)[:, :3], rtol=0, atol=1e-6)


@torch.no_grad()
def test_attention_is_that_of_torch(model):
    block = model.blocks[0]
    x = torch.randn(2, 6, 8)
    query, key, value = (part(x).view(2, 6, 2, 4).transpose(1, 2) for part in (block.query, block.key, block.value))
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(block._attended(x), expected.transpose(1, 2).reshape(2, 6, 8))


def test_the_embedded_one_has_0_8_million_parameters():
    assert sum(each.numel() for each in token_transformer(vocabulary=155).parameters()) == 841_371
    assert "mask" not in token_transformer(vocabulary=155).state_dict()


def test_heads_that_do_not_share_the_width_are_refused():
    with pytest.raises(ConfigError, match="heads: 3 do not share a width of 8 evenly"):
        MODELS.create("token_transformer", "a.yaml: workload.model", {**SMALL, "heads": 3})
