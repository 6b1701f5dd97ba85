"""Trains the bundled checkpoint from nothing: python train.py --work FOLDER --out FOLDER

Safe to stop (SIGTERM) and start again at any moment; see README.md.
"""
import argparse
import os
from pathlib import Path

# Waiting threads must sleep: a busy neighbour would otherwise slow every step.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

import checkpoint
import config
import data
import stage_audio
import stage_unet
import stage_vae


def export(encoder, vae, trio, folder):
    nets = checkpoint.build(config.CONFIG)
    nets.audio, nets.vae = encoder, vae
    nets.denoiser, nets.reference, nets.locator = trio.denoiser, trio.reference, trio.locator
    checkpoint.save(nets, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True, help="where data and progress are kept")
    parser.add_argument("--out", required=True, help="where the checkpoint goes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--snapshot", action="store_true",
                        help="only export what a running training has reached")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    work = Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    if args.snapshot:
        frozen = torch.load(work / "frozen.pt", weights_only=False)
        name = "motion" if (work / "motion.pt").exists() else "spatial"
        trio, step = stage_unet.load_snapshot(work, name)
        export(frozen["audio"], frozen["vae"], trio, args.out)
        print(f"exported {name} at step {step}")
        return
    (work / "pid").write_text(str(os.getpid()))
    train_waves, held_out_waves = data.waves(work)
    pictures, boxes, source = data.clips(work, train_waves)
    encoder, directions = stage_audio.train(work, train_waves, held_out_waves)
    vae = stage_vae.train(work, pictures)
    torch.save({"audio": encoder, "vae": vae}, work / "frozen.pt")
    latents = stage_vae.latents(work, vae, pictures)
    examples = stage_unet.Examples(latents, boxes, source, train_waves, encoder, 4)
    trio = stage_unet.train_spatial(work, examples, directions)
    trio = stage_unet.train_motion(work, examples, trio)
    stage_vae.polish(work, vae, pictures, latents)
    export(encoder, vae, trio.eval(), args.out)


if __name__ == "__main__":
    main()
