"""Autoencoder: starts as an 8x8 mean, learns the details, then gets latents of unit spread."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import config
from models.layers import Downsample, ResnetBlock, Upsample
from models.vae import SCALE, Autoencoder
from progress import Stage, log

HELD_OUT = 40  # identities that the autoencoder never sees


def _start_as_means(vae):
    """Copies and 2x2 means everywhere, small residual branches: colours pass from the first step."""
    with torch.no_grad():
        for m in vae.modules():
            if isinstance(m, ResnetBlock):
                m.conv2.weight.mul_(0.3)
                m.conv2.bias.zero_()
                if hasattr(m, "conv_shortcut"):
                    nn.init.dirac_(m.conv_shortcut.weight)
                    m.conv_shortcut.weight.add_(0.02 * torch.randn_like(m.conv_shortcut.weight))
                    m.conv_shortcut.bias.zero_()
            elif isinstance(m, (Downsample, Upsample)):
                nn.init.dirac_(m.conv.weight)
                if isinstance(m, Downsample):
                    eye = torch.eye(m.conv.weight.shape[0])[:, :, None, None] * 0.25
                    m.conv.weight.zero_()
                    m.conv.weight[:, :, :2, :2] = eye
                m.conv.weight.add_(0.01 * torch.randn_like(m.conv.weight))
                m.conv.bias.zero_()
        for conv in (vae.encoder.conv_in, vae.decoder.conv_in):
            n = conv.weight.shape[1]
            conv.weight[:n].mul_(0.1)
            nn.init.dirac_(conv.weight[:n])


def to_input(pictures):
    """uint8 [..., 128, 128, 3] to float [..., 3, 128, 128] in [-1, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(pictures)).float().div_(127.5).sub_(1)
    return x.movedim(-1, -3)


def _batch(pictures, rng, whole):
    count, side = (6, config.PX) if whole else (16, 64)
    out = []
    for _ in range(count):
        p = pictures[rng.integers(HELD_OUT, len(pictures)), rng.integers(pictures.shape[1])]
        y, x = 0, 0
        if not whole:
            # Corners on whole latents; half of the crops hold the face's middle.
            y, x = (8 * rng.integers(0, 9), 8 * rng.integers(0, 9))
            if rng.random() < 0.5:
                y, x = 8 * rng.integers(5, 9), 8 * rng.integers(2, 7)
        out.append(p[y:y + side, x:x + side])
    return to_input(np.stack(out))


def train(work, pictures):
    torch.manual_seed(2)
    vae = Autoencoder(config.VAE)
    _start_as_means(vae)
    stage = Stage(work, "vae", vae, [(vae.parameters(), 1.5e-3)], average=0.99)
    rng = np.random.default_rng(20 + stage.step)

    def loss_of(step, progress):
        x = _batch(pictures, rng, progress > 0.65)
        z = vae.encode(x)
        # A little noise: the denoiser's latents will not be perfect either.
        spread = z.detach().std((0, 2, 3), keepdim=True)
        y = vae.decode(z + 0.06 * spread * torch.randn_like(z))
        small_x, small_y = F.avg_pool2d(x, 8), F.avg_pool2d(y, 8)
        weight = max(0.05, 1 - progress / 0.4)
        error = y - x
        loss = (error.abs().mean() + 2 * error.pow(2).mean() + (small_y - small_x).abs().mean()
                + weight * (z[:, :3] - 2 * small_x).pow(2).mean() + 1e-4 * z.pow(2).mean())
        psnr = 10 * torch.log10(4 / error.detach().pow(2).mean())
        return loss, {"psnr": psnr.item()}

    stage.run(loss_of)
    _normalise(vae, pictures)
    log(work, f"vae held out: {_psnr(vae, pictures):.2f} dB")
    return vae.eval().requires_grad_(False)


def polish(work, vae, pictures, latents):
    """More steps for the decoder alone, on whole pictures; latents, and so the UNets, stay valid."""
    parts = nn.ModuleList([vae.decoder, vae.post_quant_conv]).requires_grad_(True)
    stage = Stage(work, "decoder", parts, [(parts.parameters(), 7e-4)], average=0.98)
    rng = np.random.default_rng(30 + stage.step)
    weight = torch.ones(1, 1, config.PX, config.PX)
    weight[..., 44:68, 40:88] = 2   # eyes
    weight[..., 78:112, 44:84] = 4  # mouth
    weight /= weight.mean()

    def loss_of(step, progress):
        ids = rng.integers(HELD_OUT, len(pictures), 6)
        which = rng.integers(0, pictures.shape[1], 6)
        x = to_input(np.stack([pictures[i, j] for i, j in zip(ids, which)]))
        z = latents[torch.from_numpy(ids), torch.from_numpy(which)]
        error = vae.decode((z + 0.06 * torch.randn_like(z)) / SCALE) - x
        psnr = 10 * torch.log10(4 / error.detach().pow(2).mean())
        return (weight * (error.abs() + 2 * error.pow(2))).mean(), {"psnr": psnr.item()}

    stage.run(loss_of)
    vae.eval().requires_grad_(False)
    log(work, f"vae held out after polish: {_psnr(vae, pictures):.2f} dB")


@torch.no_grad()
def _normalise(vae, pictures):
    """Folds mean and deviation into the 1x1 convolutions: scaled latents get N(0, 1) spread."""
    z = torch.cat([vae.encode(to_input(pictures[i, ::4])) for i in range(HELD_OUT, min(140, len(pictures)))])
    mean, gain = z.mean((0, 2, 3)), 1 / (SCALE * z.std((0, 2, 3)))
    n = vae.latents
    vae.quant_conv.weight[:n] *= gain[:, None, None, None]
    vae.quant_conv.bias[:n] = (vae.quant_conv.bias[:n] - mean) * gain
    post = vae.post_quant_conv
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(1)
    post.weight /= gain[None, :, None, None]


@torch.no_grad()
def _psnr(vae, pictures):
    errors = []
    for i in range(HELD_OUT):
        x = to_input(pictures[i, ::4])
        errors.append((vae.decode(vae.encode(x)).clamp(-1, 1) - x).pow(2).mean())
    return float(10 * torch.log10(4 / torch.stack(errors).mean()))


@torch.no_grad()
def latents(work, vae, pictures):
    """Scaled latents of every picture, kept in the work folder."""
    path = f"{work}/latents.pt"
    try:
        return torch.load(path, weights_only=True)
    except FileNotFoundError:
        z = torch.stack([vae.encode(to_input(p)) * SCALE for p in pictures])
        torch.save(z, path)
        return z
