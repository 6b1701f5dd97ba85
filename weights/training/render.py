"""Portrait and speech to frames with a checkpoint, exactly as the official accelerated pipeline does."""
import numpy as np
import torch

import config
import sampling
from data import face_mask
from models.audio import clip_states, frame_tokens, log_mel
from models.vae import SCALE


@torch.no_grad()
def render(nets, picture, box, wave, frames=None, steps=config.STEPS, seed=0, motion=True):
    """picture uint8 [px, px, 3], box of the face or None; returns uint8 [F, px, px, 3]."""
    tokens = frame_tokens(clip_states(nets.audio, log_mel(wave)), config.FPS, frames)
    pixels = torch.from_numpy(picture).float().permute(2, 0, 1)[None] / 127.5 - 1
    mask = np.ones(picture.shape[:2], np.float32) if box is None else face_mask(box, len(picture))
    face = nets.locator(torch.from_numpy(mask)[None, None])
    bank = nets.reference(nets.vae.encode(pixels) * SCALE, torch.zeros(1))
    side = len(picture) // 8
    noise = torch.randn(len(tokens), 4, side, side, generator=torch.Generator().manual_seed(seed))
    latents = sampling.sample(nets.denoiser, bank, face, tokens, noise, steps, motion=motion)
    out = [nets.vae.decode(z / SCALE) for z in latents.split(8)]
    video = (torch.cat(out) / 2 + 0.5).clamp(0, 1) * 255
    return video.round().byte().permute(0, 2, 3, 1).numpy()
