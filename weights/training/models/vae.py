"""AutoencoderKL with the official key names."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from .layers import Attention, Downsample, GroupNorm, ResnetBlock, Upsample

SCALE = 0.18215


class _MidAttention(Attention):
    def __init__(self, width, groups):
        super().__init__(width, 1, bias=True)
        self.group_norm = GroupNorm(groups, width, eps=1e-6)

    def forward(self, x):
        b, c, height, width = x.shape
        h = super().forward(self.group_norm(x).flatten(2).transpose(1, 2))
        return x + h.transpose(1, 2).reshape(b, c, height, width)


class _Middle(nn.Module):
    def __init__(self, width, groups):
        super().__init__()
        self.resnets = nn.ModuleList([ResnetBlock(width, width, groups, 1e-6) for _ in range(2)])
        self.attentions = nn.ModuleList([_MidAttention(width, groups)])

    def forward(self, x):
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class _Level(nn.Module):
    def __init__(self, c_in, c_out, layers, groups, sampler):
        super().__init__()
        self.resnets = nn.ModuleList([
            ResnetBlock(c_in if i == 0 else c_out, c_out, groups, 1e-6) for i in range(layers)])
        if sampler == "down":
            self.downsamplers = nn.ModuleList([Downsample(c_out, padding=0)])
        if sampler == "up":
            self.upsamplers = nn.ModuleList([Upsample(c_out)])

    def forward(self, x):
        for resnet in self.resnets:
            x = resnet(x)
        if hasattr(self, "downsamplers"):
            x = self.downsamplers[0](x)
        if hasattr(self, "upsamplers"):
            x = self.upsamplers[0](x)
        return x


class _Encoder(nn.Module):
    def __init__(self, ch, layers, groups, latents):
        super().__init__()
        self.conv_in = nn.Conv2d(3, ch[0], 3, padding=1)
        self.down_blocks = nn.ModuleList([
            _Level(ch[max(i - 1, 0)], c, layers, groups, None if i == len(ch) - 1 else "down")
            for i, c in enumerate(ch)])
        self.mid_block = _Middle(ch[-1], groups)
        self.conv_norm_out = GroupNorm(groups, ch[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(ch[-1], latents * 2, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class _Decoder(nn.Module):
    def __init__(self, ch, layers, groups, latents):
        super().__init__()
        ch = list(reversed(ch))
        self.conv_in = nn.Conv2d(latents, ch[0], 3, padding=1)
        self.mid_block = _Middle(ch[0], groups)
        self.up_blocks = nn.ModuleList([
            _Level(ch[max(i - 1, 0)], c, layers + 1, groups, None if i == len(ch) - 1 else "up")
            for i, c in enumerate(ch)])
        self.conv_norm_out = GroupNorm(groups, ch[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(ch[-1], 3, 3, padding=1)

    def forward(self, z):
        x = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Autoencoder(nn.Module):
    def __init__(self, cfg):
        """cfg: the official sd-vae-ft-mse/config.json."""
        super().__init__()
        args = (cfg["block_out_channels"], cfg["layers_per_block"], cfg["norm_num_groups"],
                cfg["latent_channels"])
        self.latents = cfg["latent_channels"]
        self.encoder = _Encoder(*args)
        self.decoder = _Decoder(*args)
        self.quant_conv = nn.Conv2d(self.latents * 2, self.latents * 2, 1)
        self.post_quant_conv = nn.Conv2d(self.latents, self.latents, 1)

    def encode(self, images):
        """Mean of the posterior, not scaled; images in [-1, 1]."""
        return self.quant_conv(self.encoder(images))[:, : self.latents]

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))
