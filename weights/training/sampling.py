"""The official accelerated sampling: zero-terminal-SNR DDIM, trailing, v-prediction."""
import torch


def alphas_cumprod():
    """Linear betas, rescaled so that the last step holds no signal at all."""
    root = torch.cumprod(1 - torch.linspace(0.00085, 0.012, 1000), 0).sqrt()
    first, last = root[0].clone(), root[-1].clone()
    return ((root - last) * first / (first - last)) ** 2


def trailing_timesteps(steps):
    return [round(1000 - i * 1000 / steps) - 1 for i in range(steps)]


def windows(step, frames, size=12, overlap=3):
    """Closed loop of windows; every step moves all of them two frames on."""
    if frames <= size:
        return [list(range(frames))]
    return [[(start + i + 2 * step) % frames for i in range(size)]
            for start in range(0, frames, size - overlap)]


@torch.no_grad()
def sample(denoiser, bank, face, tokens, noise, steps=6, context=12, overlap=3, motion=True):
    """tokens [F, n, width], noise [F, 4, h, w]; returns latents [F, 4, h, w]."""
    alphas = alphas_cumprod()
    x = noise.clamp(-1.5, 1.5)
    frames = x.shape[0]
    for step, t in enumerate(trailing_timesteps(steps)):
        total, count = torch.zeros_like(x), torch.zeros(frames, 1, 1, 1)
        for window in windows(step, frames, context, overlap):
            v = denoiser(x[window], torch.full((len(window),), t), tokens[window], bank,
                         face, frames=len(window), motion=motion)
            total[window] += v
            count[window] += 1
        v = total / count
        previous = t - 1000 // steps
        a = alphas[t]
        a_next = alphas[previous] if previous >= 0 else torch.tensor(1.0)
        clean = a.sqrt() * x - (1 - a).sqrt() * v
        noise_now = a.sqrt() * v + (1 - a).sqrt() * x
        x = a_next.sqrt() * clean + (1 - a_next).sqrt() * noise_now
    return x
