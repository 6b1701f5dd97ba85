"""Audio encoder: learns to tell opening and width from a frame's own tokens, then freezes."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import config
import speech
from models.audio import AudioEncoder, chunk_index, log_mel
from progress import Stage, log, planned

POOL = 110


class Readers(nn.Module):
    """Two ways to read tokens: a plain mean, as the denoiser's attention starts, and attention."""

    def __init__(self, width):
        super().__init__()
        self.mean = nn.Linear(width, 2)
        self.queries = nn.Parameter(torch.randn(8, 32) * 0.5)
        self.key = nn.Linear(width, 32)
        self.value = nn.Linear(width, 32)
        self.out = nn.Sequential(nn.Linear(256, 64), nn.GELU(), nn.Linear(64, 2))

    def forward(self, tokens):
        weights = torch.softmax(self.queries @ self.key(tokens).transpose(1, 2) / 32 ** 0.5, -1)
        pooled = (weights @ self.value(tokens)).flatten(1)
        return self.mean(tokens.mean(1)), self.out(pooled)


def fresh_encoder():
    encoder = AudioEncoder(config.DIMS)
    encoder.positional_embedding.mul_(0.5)
    attention = encoder.blocks[0].attn
    with torch.no_grad():
        # Keys equal to queries make the attention local, whatever the clip's length.
        attention.query.weight.copy_(
            torch.eye(config.DIMS["n_audio_state"]) + 0.02 * torch.randn_like(attention.query.weight))
        attention.key.weight.copy_(attention.query.weight)
    return encoder


def _windows(waves, count, seed):
    """Clips of 2.5 to 30 s made of several utterances, some noisy, louder or softer."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        length = int(np.exp(rng.uniform(np.log(2.5), np.log(30))) * speech.RATE)
        parts = []
        while sum(map(len, parts)) < length:
            parts.append(waves[rng.integers(len(waves))])
        wave = np.concatenate(parts)[:length // 320 * 320]
        opening, width = speech.mouth_curves(wave, config.FPS)
        wave = wave * 10 ** (rng.uniform(-4, 4) / 20)
        if rng.random() < 0.5:
            wave = wave + rng.standard_normal(len(wave)) * 10 ** (rng.uniform(-75, -42) / 20)
        mel = log_mel(wave.astype(np.float32))
        target = torch.from_numpy(np.stack([opening, width], 1).astype(np.float32))
        out.append((mel, target))
    return out


def read(encoder, readers, mel, target):
    padded = F.pad(mel, (0, 3000 - mel.shape[1]))
    states = encoder(padded[None])[0, : mel.shape[1] // 2]
    index = chunk_index(len(target), states.shape[0], config.FPS)
    return readers(states[index].flatten(1, 2)), states


def _correlations(a, b):
    return [float(np.corrcoef(a[:, i], b[:, i])[0, 1]) for i in range(2)]


@torch.no_grad()
def _measure(encoder, readers, waves):
    rows = []
    for mel, target in _windows_plain(waves):
        (by_mean, by_attention), _ = read(encoder, readers, mel, target)
        rows.append(_correlations(by_mean.numpy(), target.numpy())
                    + _correlations(by_attention.numpy(), target.numpy()))
    return np.nanmean(rows, 0)


def _windows_plain(waves):
    for wave in waves:
        curves = np.stack(speech.mouth_curves(wave, config.FPS), 1).astype(np.float32)
        yield log_mel(wave), torch.from_numpy(curves)


def train(work, train_waves, held_out_waves):
    """Returns the frozen encoder and its directions of opening and width [2, width]."""
    torch.manual_seed(1)
    encoder = fresh_encoder()
    module = nn.ModuleDict({"encoder": encoder, "readers": Readers(config.DIMS["n_audio_state"])})
    used = [p for n, p in module.named_parameters() if "ln_post" not in n]
    stage = Stage(work, "audio", module, [(used, 1e-3)], average=0.98)
    done = stage.step >= planned(work, "audio")
    pool = [] if done else _windows(train_waves, POOL, 1)
    scale = torch.tensor([2.0, 1.0])

    def loss_of(step, progress):
        loss, size = 0.0, 0
        for i in torch.randint(POOL, (2,)).tolist():
            mel, target = pool[i]
            answers, states = read(encoder, module["readers"], mel, target)
            error = sum(((a - target) ** 2 * scale).sum() for a in answers)
            loss, size = loss + error, size + len(target)
            loss = loss + 1e-4 * len(target) * states.pow(2).mean()
        return loss / size, {}

    stage.run(loss_of)
    names = ("opening by mean", "width by mean", "opening by attention", "width by attention")
    values = _measure(encoder, module["readers"], held_out_waves)
    log(work, "audio held out: " + ", ".join(f"{n} {v:.3f}" for n, v in zip(names, values)))
    return encoder.eval().requires_grad_(False), module["readers"].mean.weight.detach()
