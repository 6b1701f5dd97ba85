"""Motion module: two temporal self-attentions at every spatial position."""
import math

import torch
import torch.nn as nn

from .layers import Attention, FeedForward, GroupNorm


class _Positions(nn.Module):
    def __init__(self, width, length=32):
        super().__init__()
        position = torch.arange(length)[:, None]
        rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        table = torch.zeros(1, length, width)
        table[0, :, 0::2] = torch.sin(position * rate)
        table[0, :, 1::2] = torch.cos(position * rate)
        self.register_buffer("pe", table)

    def forward(self, x):
        return x + self.pe[:, : x.shape[1]]


class _TemporalAttention(Attention):
    def __init__(self, width, heads):
        super().__init__(width, heads)
        self.pos_encoder = _Positions(width)

    def forward(self, x):
        return super().forward(self.pos_encoder(x))


class _TemporalBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention_blocks = nn.ModuleList(
            [_TemporalAttention(width, heads) for _ in range(2)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.ff = FeedForward(width)
        self.ff_norm = nn.LayerNorm(width)

    def forward(self, x):
        for norm, attention in zip(self.norms, self.attention_blocks):
            x = x + attention(norm(x))
        return x + self.ff(self.ff_norm(x))


class _TemporalTransformer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm = GroupNorm(32, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList([_TemporalBlock(width, heads)])
        self.proj_out = nn.Linear(width, width)
        # A module that starts as the identity leaves stage 1 untouched.
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x, frames):
        bf, c, height, width = x.shape
        b = bf // frames
        h = self.norm(x).reshape(b, frames, c, height * width)
        h = h.permute(0, 3, 1, 2).reshape(b * height * width, frames, c)
        h = self.proj_in(h)
        for block in self.transformer_blocks:
            h = block(h)
        h = self.proj_out(h).reshape(b, height * width, frames, c)
        return x + h.permute(0, 2, 3, 1).reshape(bf, c, height, width)


class MotionModule(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.temporal_transformer = _TemporalTransformer(width, heads)

    def forward(self, x, frames):
        return self.temporal_transformer(x, frames)
