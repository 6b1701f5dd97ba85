"""Everything the stages learn from, drawn and spoken once and kept in the work folder."""
import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import config
import portraits
import speech


def waves(work):
    """Training and held-out utterances."""
    path = Path(work) / "waves.npz"
    if not path.exists():
        counts = (("train", config.TRAIN_UTTERANCES), ("held", config.HELD_OUT_UTTERANCES))
        made = {f"{kind}{i}": speech.utterance(i, kind == "held")
                for kind, count in counts for i in range(count)}
        np.savez(path, **made)
    stored = np.load(path)
    pick = lambda kind, n: [stored[f"{kind}{i}"] for i in range(n)]
    return pick("train", config.TRAIN_UTTERANCES), pick("held", config.HELD_OUT_UTTERANCES)


def camera(rng):
    """A little play in framing, because face detectors do not agree to the pixel."""
    return (rng.uniform(-2.5, 2.5), rng.uniform(-2.5, 2.5), rng.uniform(0.96, 1.04))


def _clip(args):
    seed, openings, widths = args
    rng = random.Random(f"clip {seed}")
    p, frame = portraits.identity(seed), camera(rng)
    pictures = [portraits.draw(p, 0.0, 0.5, frame=frame)]
    pictures += [portraits.draw(p, o, w, frame=frame) for o, w in zip(openings, widths)]
    return np.stack(pictures), portraits.face_box(p, frame)


def clips(work, train_waves):
    """pictures [N, 13, 128, 128, 3] (reference, then 12 frames), boxes, which speech."""
    work = Path(work)
    if not (work / "clips.npz").exists():
        rng = random.Random(7)
        curves = [speech.mouth_curves(w, config.FPS) for w in train_waves]
        jobs, source = [], []
        for seed in range(config.IDENTITIES):
            u = rng.randrange(len(curves))
            start = rng.randrange(max(1, len(curves[u][0]) - config.WINDOW))
            part = slice(start, start + config.WINDOW)
            source.append((u, start))
            jobs.append((seed, curves[u][0][part], curves[u][1][part]))
        pictures = np.lib.format.open_memmap(
            work / "pictures.npy", "w+", np.uint8, (len(jobs), config.WINDOW + 1, 128, 128, 3))
        boxes = []
        with ProcessPoolExecutor(2) as pool:
            for i, (made, box) in enumerate(pool.map(_clip, jobs, chunksize=20)):
                pictures[i, : len(made)] = made
                boxes.append(box)
        pictures.flush()
        np.savez(work / "clips.npz", boxes=np.array(boxes), source=np.array(source))
    stored = np.load(work / "clips.npz")
    pictures = np.load(work / "pictures.npy", mmap_mode="r")
    return tuple(a[: config.IDENTITIES] for a in (pictures, stored["boxes"], stored["source"]))


def face_mask(box, px=config.PX, jitter=None):
    """255 in the box grown by a tenth on each side, as the official script does; here as 0 and 1."""
    mask = np.zeros((px, px), np.float32)
    x0, y0, x1, y1 = box if jitter is None else np.asarray(box) + jitter
    gx, gy = int(0.1 * (x1 - x0)), int(0.1 * (y1 - y0))
    mask[max(0, round(y0) - gy): round(y1) + gy, max(0, round(x0) - gx): round(x1) + gx] = 1
    return mask
