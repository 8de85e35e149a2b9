"""A decoder of transformers on tokens (Vaswani et al. 2017, arXiv:1706.03762), normalized before each part."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

Positive = Annotated[int, Field(ge=1)]


class Block(nn.Module):
    """Causal self-attention and two linear layers, each added to what it was given.

    Args:
        width: values of one token.
        heads: of the attention, which share the width.
        context: most tokens.
    """

    mask: torch.Tensor

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.attention_norm = nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.merge = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.activation = nn.GELU()
        ahead = torch.full((context, context), float("-inf")).triu(1)
        self.register_buffer("mask", ahead, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, tokens, width]` → the same."""
        x = x + self.merge(self._attended(self.attention_norm(x)))
        return x + self.narrow(self.activation(self.widen(self.norm(x))))

    def _attended(self, x: torch.Tensor) -> torch.Tensor:
        n, tokens, width = x.shape
        query, key, value = (
            part(x).view(n, tokens, self.heads, width // self.heads).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        # Written out, since fused kernels hide their products from whoever counts them.
        weights = query @ key.transpose(-2, -1) * self.scale + self.mask[:tokens, :tokens]
        return (weights.softmax(-1) @ value).transpose(1, 2).reshape(n, tokens, width)


class TokenTransformer(nn.Module):
    """Logits of the next token at each place.

    Deviations from the paper: a decoder alone, layers normalized at their input (Radford et al. 2019, GPT-2), learned
    places, GELU, no dropout.

    Args:
        vocabulary: tokens.
        width: values of one token.
        heads: of each attention.
        layers: blocks.
        context: most tokens of a sequence.
    """

    def __init__(self, vocabulary: int, width: int, heads: int, layers: int, context: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Parameter(torch.empty(context, width))
        self.blocks = nn.Sequential(*(Block(width, heads, context) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)
        for embedding in (self.tokens.weight, self.places):
            nn.init.normal_(embedding, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """`[n, tokens]` int64 → logits `[n, tokens, vocabulary]`."""
        x = self.tokens(tokens) + self.places[: tokens.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def token_transformer(
    vocabulary: Annotated[int, Field(ge=2)],
    width: Positive = 128,
    heads: Positive = 4,
    layers: Positive = 4,
    context: Positive = 64,
) -> TokenTransformer:
    """A transformer that predicts the next token; 0.8 million parameters beside those of the vocabulary.

    Raises:
        ValueError: if the heads do not share the width evenly.

    Example:
        >>> model = token_transformer(vocabulary=100, width=16, heads=2, layers=1)
        >>> model(torch.zeros(1, 64, dtype=torch.int64)).shape
        torch.Size([1, 64, 100])
    """
    if width % heads:
        raise ValueError(f"heads: {heads} do not share a width of {width} evenly")
    return TokenTransformer(vocabulary, width, heads, layers, context)
