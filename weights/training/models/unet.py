"""The two UNets of EchoMimic V1 and the face locator, with the official key names.

The denoiser and the reference UNet are one class: the reference UNet has no
audio attention, no output layers and no motion modules, and writes a bank of
normalised hidden states that the denoiser's self-attention reads.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from .layers import Attention, Downsample, FeedForward, GroupNorm, ResnetBlock, Upsample
from .motion import MotionModule

AUDIO_GAIN = 3.0


class _SpatialBlock(nn.Module):
    def __init__(self, width, heads, audio_width):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads)
        if audio_width:
            self.norm2 = nn.LayerNorm(width)
            self.attn2 = Attention(width, heads, context=audio_width)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x, ctx):
        n = self.norm1(x)
        a = self.attn1
        k, v = a.to_k(n), a.to_v(n)
        if ctx.write is not None:
            ctx.write.append(n)
        elif ctx.read is not None:
            bank = ctx.read[ctx.index]
            ctx.index += 1
            repeat = x.shape[0] // bank.shape[0]
            k = torch.cat([k, a.to_k(bank).repeat_interleave(repeat, 0)], 1)
            v = torch.cat([v, a.to_v(bank).repeat_interleave(repeat, 0)], 1)
        x = x + a.attend(a.to_q(n), k, v)
        if ctx.audio is not None:
            x = x + AUDIO_GAIN * self.attn2(self.norm2(x), ctx.audio)
        return x + self.ff(self.norm3(x))


class _SpatialTransformer(nn.Module):
    def __init__(self, width, heads, groups, audio_width):
        super().__init__()
        self.norm = GroupNorm(groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([_SpatialBlock(width, heads, audio_width)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x, ctx):
        b, c, height, width = x.shape
        h = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            h = block(h, ctx)
        h = h.transpose(1, 2).reshape(b, c, height, width)
        return x + self.proj_out(h)


class _Context:
    """What travels beside the features: audio, bank to read or write, frame count."""

    def __init__(self, audio=None, read=None, write=None, frames=1, motion=False):
        self.audio, self.read, self.write = audio, read, write
        self.frames, self.motion, self.index = frames, motion, 0


class _Level(nn.Module):
    def __init__(self, widths, out, cfg, attention, audio_width, motion, sampler):
        super().__init__()
        t = cfg["block_out_channels"][0] * 4
        g, h = cfg["norm_num_groups"], cfg["attention_head_dim"]
        self.resnets = nn.ModuleList([ResnetBlock(w, out, g, 1e-5, t) for w in widths])
        if attention:
            self.attentions = nn.ModuleList(
                [_SpatialTransformer(out, h, g, audio_width) for _ in widths])
        if motion:
            self.motion_modules = nn.ModuleList([MotionModule(out, h) for _ in widths])
        if sampler == "down":
            self.downsamplers = nn.ModuleList([Downsample(out)])
        if sampler == "up":
            self.upsamplers = nn.ModuleList([Upsample(out)])

    def layer(self, i, x, time, ctx):
        x = self.resnets[i](x, time)
        if hasattr(self, "attentions"):
            x = self.attentions[i](x, ctx)
        if ctx.motion:
            x = self.motion_modules[i](x, ctx.frames)
        return x


class _Middle(nn.Module):
    def __init__(self, width, cfg, audio_width, motion):
        super().__init__()
        t = cfg["block_out_channels"][0] * 4
        g, h = cfg["norm_num_groups"], cfg["attention_head_dim"]
        self.resnets = nn.ModuleList([ResnetBlock(width, width, g, 1e-5, t) for _ in range(2)])
        self.attentions = nn.ModuleList([_SpatialTransformer(width, h, g, audio_width)])
        if motion:
            self.motion_modules = nn.ModuleList([MotionModule(width, h)])

    def forward(self, x, time, ctx):
        x = self.attentions[0](self.resnets[0](x, time), ctx)
        if ctx.motion:
            x = self.motion_modules[0](x, ctx.frames)
        return self.resnets[1](x, time)


class _TimeEmbedding(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear_1 = nn.Linear(width, width * 4)
        self.linear_2 = nn.Linear(width * 4, width * 4)

    def forward(self, t):
        half = self.linear_1.in_features // 2
        rate = torch.exp(torch.arange(half) * (-math.log(10000.0) / half))
        angle = t[:, None].float() * rate[None]
        return self.linear_2(F.silu(self.linear_1(torch.cat([angle.cos(), angle.sin()], 1))))


class UNet(nn.Module):
    def __init__(self, cfg, audio_width=None, motion=False):
        """cfg: the official unet/config.json; audio_width None makes the reference UNet."""
        super().__init__()
        ch = cfg["block_out_channels"]
        layers = cfg["layers_per_block"]
        self.cfg, self.is_reference = cfg, audio_width is None
        self.conv_in = nn.Conv2d(cfg["in_channels"], ch[0], 3, padding=1)
        self.time_embedding = _TimeEmbedding(ch[0])
        self.down_blocks = nn.ModuleList()
        skips = [ch[0]]
        for i, out in enumerate(ch):
            last = i == len(ch) - 1
            widths = [ch[max(i - 1, 0)]] + [out] * (layers - 1)
            self.down_blocks.append(_Level(
                widths, out, cfg, "CrossAttn" in cfg["down_block_types"][i],
                audio_width, motion, None if last else "down"))
            skips += [out] * (layers if last else layers + 1)
        self.up_blocks = nn.ModuleList()
        before = ch[-1]
        for i, out in enumerate(reversed(ch)):
            widths = []
            for _ in range(layers + 1):
                widths.append(before + skips.pop())
                before = out
            self.up_blocks.append(_Level(
                widths, out, cfg, "CrossAttn" in cfg["up_block_types"][i],
                audio_width, motion, None if i == len(ch) - 1 else "up"))
        self.mid_block = _Middle(ch[-1], cfg, audio_width, motion)
        if not self.is_reference:
            self.conv_norm_out = GroupNorm(cfg["norm_num_groups"], ch[0], eps=1e-5)
            self.conv_out = nn.Conv2d(ch[0], cfg["out_channels"], 3, padding=1)

    def forward(self, x, t, audio=None, bank=None, face=None, frames=1, motion=False):
        """x [B*F, 4, h, w], t [B*F], audio [B*F, tokens, width], face [B, C, h, w].

        The reference UNet returns its bank, the denoiser the predicted v.
        """
        write = [] if self.is_reference else None
        ctx = _Context(audio, bank, write, frames, motion)
        time = F.silu(self.time_embedding(t))
        x = self.conv_in(x)
        if face is not None:
            x = x + face.repeat_interleave(x.shape[0] // face.shape[0], 0)
        skips = [x]
        for level in self.down_blocks:
            for i in range(len(level.resnets)):
                x = level.layer(i, x, time, ctx)
                skips.append(x)
            if hasattr(level, "downsamplers"):
                x = level.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block(x, time, ctx)
        for level in self.up_blocks:
            for i in range(len(level.resnets)):
                x = level.layer(i, torch.cat([x, skips.pop()], 1), time, ctx)
            if hasattr(level, "upsamplers"):
                x = level.upsamplers[0](x)
        if self.is_reference:
            return write
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class FaceLocator(nn.Module):
    def __init__(self, out, widths):
        super().__init__()
        self.conv_in = nn.Conv2d(1, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for a, b in zip(widths, widths[1:]):
            self.blocks.append(nn.Conv2d(a, a, 3, padding=1))
            self.blocks.append(nn.Conv2d(a, b, 3, padding=1, stride=2))
        self.conv_out = nn.Conv2d(widths[-1], out, 3, padding=1)

    def forward(self, mask):
        x = F.silu(self.conv_in(mask))
        for block in self.blocks:
            x = F.silu(block(x))
        return self.conv_out(x)
