"""Whisper's audio encoder (official key names), its log-mel and the per-frame chunks."""
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from .layers import heads_attention

RATE, BLOCK = 16000, 3000


class _SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        return self.out(heads_attention(self.query(x), self.key(x), self.value(x), self.heads))


class _Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attn = _SelfAttention(width, heads)
        self.attn_ln = nn.LayerNorm(width)
        self.mlp = nn.ModuleList(
            [nn.Linear(width, width * 4), nn.GELU(), nn.Linear(width * 4, width)])
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x):
        x = x + self.attn(self.attn_ln(x))
        return x + self.mlp[2](self.mlp[1](self.mlp[0](self.mlp_ln(x))))


def sinusoids(length, width):
    rate = torch.exp(torch.arange(width // 2) * (-math.log(10000) / (width // 2 - 1)))
    angle = torch.arange(length)[:, None] * rate[None]
    return torch.cat([angle.sin(), angle.cos()], 1)


class AudioEncoder(nn.Module):
    def __init__(self, dims):
        super().__init__()
        width = dims["n_audio_state"]
        self.conv1 = nn.Conv1d(dims["n_mels"], width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positional_embedding", sinusoids(dims["n_audio_ctx"], width))
        self.blocks = nn.ModuleList(
            [_Block(width, dims["n_audio_head"]) for _ in range(dims["n_audio_layer"])])
        self.ln_post = nn.LayerNorm(width)  # in the file, never used by EchoMimic

    def forward(self, mel):
        """mel [B, 80, 3000] to states [B, 1500, layers + 1, width]."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.positional_embedding
        states = [x]
        for block in self.blocks:
            x = block(x)
            states.append(x)
        return torch.stack(states, 2)


def mel_filters(n_mels=80, n_fft=400):
    """Slaney mel filter bank with Slaney area normalisation."""
    def to_mel(hz):
        hz = np.asarray(hz, dtype=np.float64)
        return np.where(hz < 1000, hz * 3 / 200,
                        15 + np.log(np.maximum(hz, 1e-9) / 1000) * 27 / np.log(6.4))

    def to_hz(mel):
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))

    bins = np.fft.rfftfreq(n_fft, 1 / RATE)
    edges = to_hz(np.linspace(to_mel(0), to_mel(RATE / 2), n_mels + 2))
    up = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    bank = np.maximum(0, np.minimum(up, down)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(bank.astype(np.float32))


_FILTERS = mel_filters()


def log_mel(samples):
    """samples: float array in [-1, 1); returns [80, T], T = samples / 160."""
    wave = torch.as_tensor(samples, dtype=torch.float32)
    spec = torch.stft(wave, 400, 160, window=torch.hann_window(400), return_complex=True)
    power = spec[:, :-1].abs() ** 2
    log = (_FILTERS @ power).clamp(min=1e-10).log10()
    return (torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0


@torch.no_grad()
def clip_states(encoder, mel):
    """States of a whole clip, block by block: [T / 2, layers + 1, width]."""
    parts = []
    for start in range(0, mel.shape[1], BLOCK):
        piece = mel[:, start:start + BLOCK]
        padded = F.pad(piece, (0, BLOCK - piece.shape[1]))
        parts.append(encoder(padded[None])[0, : piece.shape[1] // 2])
    return torch.cat(parts)


def chunk_index(frames, positions, fps):
    """Positions centre-4 ... centre+5 of every frame, clamped into the clip."""
    centre = torch.div(torch.arange(frames) * 50, fps, rounding_mode="floor")
    return (centre[:, None] + torch.arange(-4, 6)[None]).clamp(0, positions - 1)


def frame_count(positions, fps):
    frame = 0
    while frame * 50 // fps <= positions:
        frame += 1
    return frame + 1


def frame_tokens(states, fps=24, frames=None):
    """[T / 2, layers + 1, width] to [frames, 10 (layers + 1), width]."""
    frames = frames or frame_count(states.shape[0], fps)
    return states[chunk_index(frames, states.shape[0], fps)].flatten(1, 2)
