"""Reference UNet, denoiser and locator; then the motion modules. All on cached latents."""
import numpy as np
import torch
import torch.nn as nn

import config
import speech
from data import face_mask
from models.audio import chunk_index, clip_states, log_mel
from models.unet import FaceLocator, UNet
from progress import Stage
from sampling import alphas_cumprod, trailing_timesteps

IDENTITIES, FRAMES = 6, 4          # a batch of the spatial stage
CLIPS = 2                          # a batch of the motion stage
MOTION = "motion_modules"


class Trio(nn.Module):
    def __init__(self, directions=None):
        super().__init__()
        torch.manual_seed(3)
        width = config.DIMS["n_audio_state"]
        self.denoiser = UNet(config.UNET, audio_width=width, motion=True)
        self.reference = UNet(config.UNET)
        self.locator = FaceLocator(config.UNET["block_out_channels"][0], config.LOCATOR)
        with torch.no_grad():
            for name, m in self.denoiser.named_modules():
                if name.endswith("attn1"):
                    # Like finds like: the reference is read from the first steps on.
                    m.to_k.weight.copy_(1.5 * m.to_q.weight)
                if name.endswith("attn2") and directions is not None:
                    # The mouth's opening stands out among the values, read almost evenly.
                    m.to_k.weight.mul_(0.3)
                    gains = torch.randn(m.to_v.weight.shape[0], 2) * torch.tensor([1.0, 0.5])
                    m.to_v.weight.mul_(0.5).add_(gains @ directions)
            own = self.denoiser.state_dict()
            self.reference.load_state_dict(
                {k: own[k].clone() for k in self.reference.state_dict()})


class Examples:
    """Draws batches: latents, audio tokens and masks of training clips."""

    def __init__(self, latents, boxes, source, waves, encoder, seed):
        self.latents, self.boxes, self.source = latents, boxes, source
        self.rng = np.random.default_rng(seed)
        self.tokens = []
        for wave in waves:
            states = clip_states(encoder, log_mel(wave))
            frames = len(wave) * config.FPS // speech.RATE
            self.tokens.append((states, chunk_index(frames, len(states), config.FPS)))

    def _mask(self, i):
        kind = self.rng.random()
        if kind < 0.15:
            return np.ones((config.PX, config.PX), np.float32)
        return face_mask(self.boxes[i], jitter=self.rng.normal(0, 2.0, 4))

    def batch(self, count, frames):
        """Reference latents [B], frame latents [B*F], tokens [B*F], masks [B]."""
        ids = self.rng.integers(0, len(self.latents), count)
        ref, clean, tokens, masks = [], [], [], []
        for i in ids:
            which = (np.arange(frames) if frames == config.WINDOW
                     else self.rng.choice(config.WINDOW, frames, replace=False))
            ref.append(self.latents[i, 0])
            clean.append(self.latents[i, 1 + which])
            utterance, start = self.source[i]
            states, index = self.tokens[utterance]
            tokens.append(states[index[start + torch.from_numpy(which)]].flatten(1, 2))
            masks.append(torch.from_numpy(self._mask(i))[None])
        return torch.stack(ref), torch.cat(clean), torch.cat(tokens), torch.stack(masks)


def _importance():
    """The mouth counts most, then eyes and nose."""
    w = torch.ones(1, 1, config.PX // 8, config.PX // 8)
    w[..., 6:10, 4:12] = 2
    w[..., 10:14, 5:11] = 5
    return w / w.mean()


_MOUTH = (slice(None), slice(None), slice(10, 14), slice(6, 10))
_ALPHAS = alphas_cumprod()


def _timesteps(count, rng):
    """Mostly the steps that the sampler visits, most of all the first."""
    visited = np.array(trailing_timesteps(config.STEPS))
    kind = rng.random(count)
    t = np.where(kind < 0.7, visited[rng.integers(0, len(visited), count)],
                 rng.integers(0, 1000, count))
    return torch.from_numpy(np.where(kind < 0.25, 999, t))


def _loss(trio, examples, weight, count, frames, motion):
    ref, clean, tokens, masks = examples.batch(count, frames)
    t = _timesteps(count if motion else count * frames, examples.rng)
    t = t.repeat_interleave(frames) if motion else t
    noise = torch.randn_like(clean).clamp(-1.5, 1.5)  # clamped, as the sampler's is
    a = _ALPHAS[t][:, None, None, None]
    x = a.sqrt() * clean + (1 - a).sqrt() * noise
    v = a.sqrt() * noise - (1 - a).sqrt() * clean
    if examples.rng.random() < 0.03:  # the unconditional half of guidance
        got = trio.denoiser(x, t, torch.zeros_like(tokens), None, None, frames, motion)
        return (weight * (got - v) ** 2).mean(), {}
    bank = trio.reference(ref, torch.zeros(count))
    face = trio.locator(masks)
    got = trio.denoiser(x, t, tokens, bank, face, frames, motion)
    error = (got - v) ** 2
    with torch.no_grad():
        first = t >= 900
        numbers = {"mouth": error[_MOUTH].mean().item(), "plain": error.mean().item()}
        if first.any():
            numbers["mouth999"] = error[first][_MOUTH].mean().item()
    loss = (weight * error).mean()
    if motion:  # errors that change from frame to frame flicker, so they cost extra
        change = (got - v).unflatten(0, (count, frames)).diff(dim=1)
        loss = loss + 0.3 * (weight * change ** 2).mean()
    return loss, numbers


def _split(trio):
    named = list(trio.named_parameters())
    pick = lambda keep: [p for n, p in named if keep(n)]
    return pick(lambda n: MOTION in n), pick(lambda n: MOTION not in n)


def train_spatial(work, examples, directions):
    trio = Trio(directions)
    _, rest = _split(trio)
    stage = Stage(work, "spatial", trio, [(rest, 1.2e-3)], warmup=80)
    examples.rng = np.random.default_rng(100 + stage.step)
    weight = _importance()
    stage.run(lambda step, progress: _loss(trio, examples, weight, IDENTITIES, FRAMES, False))
    return trio


def train_motion(work, examples, trio):
    modules, rest = _split(trio)
    stage = Stage(work, "motion", trio, [(modules, 2.5e-4), (rest, 1e-4)], average=0.99)
    examples.rng = np.random.default_rng(200 + stage.step)
    weight = _importance()
    stage.run(lambda step, progress: _loss(trio, examples, weight, CLIPS, config.WINDOW, True))
    return trio


def load_snapshot(work, name):
    """The averaged weights of a stage that may still be running."""
    state = torch.load(f"{work}/{name}.pt", map_location="cpu", weights_only=True)
    trio = Trio()
    trio.load_state_dict(state["module"])
    modules, rest = _split(trio)
    trained = rest if name == "spatial" else modules + rest
    with torch.no_grad():
        for p, mean in zip(trained, state["mean"]):
            p.copy_(mean)
    return trio.eval(), state["step"]
