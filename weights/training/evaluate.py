"""Measures how well a checkpoint, or an engine's own frames, talks on people and speech never seen.

  python evaluate.py --weights FOLDER                     render here and measure
  python evaluate.py --make-clips FOLDER                  write the clips for another engine
  python evaluate.py --rendered FOLDER                    measure FOLDER/clip-NN/*.png, clip-NN.rgb
                                                          (128x128 RGB bytes) or clip-NN.mp4
"""
import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

import checkpoint
import config
import portraits
import speech
from render import render

MOUTH = (slice(78, 114), slice(42, 86))
SECONDS = 3.0


def clip(number):
    """Held-out person and held-out speech of three seconds."""
    person = portraits.identity(number, held_out=True)
    wave, extra = speech.utterance(100 + number, held_out=True), 0
    while len(wave) < SECONDS * speech.RATE:
        extra += 1000
        wave = np.concatenate([wave, speech.utterance(100 + number + extra, held_out=True)])
    wave = wave[: int(SECONDS * speech.RATE)]
    picture = cv2.resize(portraits.draw(person, px=512), (config.PX, config.PX),
                         interpolation=cv2.INTER_AREA)
    opening, width = speech.mouth_curves(wave, config.FPS, int(SECONDS * config.FPS))
    return person, picture, wave, opening


def measured_opening(person, frames):
    """Opening of the drawn template that is nearest to each frame's mouth."""
    grid = np.linspace(0, 1, 41)
    templates, values = [], []
    for width in (0.4, 0.55, 0.7):
        for value in grid:
            templates.append(portraits.draw(person, value, width)[MOUTH].astype(np.float32))
            values.append(value)
    templates = np.stack(templates).reshape(len(values), -1)
    mouths = np.stack([f[MOUTH].astype(np.float32).ravel() for f in frames])
    distance = (templates ** 2).sum(1)[None] - 2 * mouths @ templates.T
    return np.array(values)[distance.argmin(1)]


def dark_area(frames):
    """Share of the mouth's region that is much darker than its surroundings; knows no identity."""
    grey = frames[(slice(None),) + MOUTH].astype(np.float32).mean(-1)
    limit = 0.6 * np.median(grey[0])
    return (grey < limit).mean((1, 2))


def correlation(a, b):
    n = min(len(a), len(b))
    if a[:n].std() < 1e-6 or b[:n].std() < 1e-6:
        return 0.0
    return float(np.corrcoef(a[:n], b[:n])[0, 1])


def psnr_outside(picture, frames):
    keep = np.ones(picture.shape[:2], bool)
    keep[76:118, 36:92] = False
    error = (frames.astype(np.float32) - picture)[:, keep] ** 2
    return float(10 * np.log10(255 ** 2 / error.mean()))


def flicker(frames):
    """Mean difference of neighbouring frames in the background, in levels of 255."""
    f = frames.astype(np.float32)
    back = np.concatenate([f[:, :96, :14], f[:, :96, -14:]], 2)
    return float(np.abs(np.diff(back, axis=0)).mean())


def stored_frames(folder, number):
    folder, name = Path(folder), f"clip-{number:02d}"
    if (folder / name).is_dir():
        files = sorted((folder / name).glob("*.png"))
        frames = [cv2.imread(str(f))[..., ::-1] for f in files]
    elif (folder / f"{name}.rgb").exists():
        raw = np.fromfile(folder / f"{name}.rgb", np.uint8)
        return raw.reshape(-1, config.PX, config.PX, 3)
    else:
        video, frames = cv2.VideoCapture(str(folder / f"{name}.mp4")), []
        while True:
            ok, frame = video.read()
            if not ok:
                break
            frames.append(frame[..., ::-1])
    return np.stack([cv2.resize(f, (config.PX, config.PX), interpolation=cv2.INTER_AREA)
                     for f in frames])


def evaluate(frames_of, count, say=print):
    rows, clips = [], [clip(i) for i in range(count)]
    for i, (person, picture, wave, opening) in enumerate(clips):
        frames = frames_of(i, person, picture, wave)
        got, dark = measured_opening(person, frames), dark_area(frames)
        other = clips[(i + 1) % count][3] if count > 1 else opening[::-1]
        rows.append({
            "sync": correlation(got, opening), "sync_dark_area": correlation(dark, opening),
            "sync_wrong_audio": correlation(got, other), "psnr": psnr_outside(picture, frames),
            "flicker": flicker(frames), "range": float(np.ptp(got))})
        say(f"clip {i:2d}  " + "  ".join(f"{k} {v:.3f}" for k, v in rows[-1].items()))
    mean = {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}
    say("mean     " + "  ".join(f"{k} {v:.3f}" for k, v in mean.items()))
    return mean, rows


def make_clips(folder, count):
    for i in range(count):
        person, picture, wave, opening = clip(i)
        target = Path(folder) / f"clip-{i:02d}"
        target.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target / "portrait.png"), portraits.draw(person, px=512)[..., ::-1])
        speech.write_wav(target / "speech.wav", wave)
        box = [round(float(v), 1) for v in portraits.face_box(person, px=512)]
        (target / "clip.json").write_text(json.dumps(
            {"face_box": box, "opening": [round(float(v), 3) for v in opening]}))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights")
    parser.add_argument("--rendered")
    parser.add_argument("--make-clips")
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--steps", type=int, default=config.STEPS)
    parser.add_argument("--no-motion", action="store_true", help="leave the motion modules out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sheet", help="write a contact sheet of what was measured")
    parser.add_argument("--json", help="write the numbers")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.make_clips:
        return make_clips(args.make_clips, args.clips)
    kept = {}
    if args.rendered:
        frames_of = lambda i, *_: kept.setdefault(i, stored_frames(args.rendered, i))
    else:
        nets = checkpoint.load(args.weights)

        def frames_of(i, person, picture, wave):
            kept[i] = render(nets, picture, portraits.face_box(person), wave,
                             int(SECONDS * config.FPS), args.steps, i, not args.no_motion)
            return kept[i]

    mean, rows = evaluate(frames_of, args.clips)
    if args.json:
        Path(args.json).write_text(json.dumps({"mean": mean, "clips": rows}, indent=2) + "\n")
    if args.sheet:
        from sheet import contact_sheet
        contact_sheet(args.sheet, [clip(i) for i in range(args.clips)], kept)


if __name__ == "__main__":
    main()
