"""Compares these models with golden data of the official code: python check_architecture.py GOLDEN_FOLDER"""
import json
import sys
from pathlib import Path

import cv2
import torch
from safetensors.torch import load_file

import checkpoint
import sampling
import speech
from models import audio, vae


def main(folder):
    folder = Path(folder)
    nets = checkpoint.load(folder / "pretrained_weights")
    meta = json.loads((folder / "cases/acc/meta.json").read_text())
    io = load_file(folder / "cases/acc/io.safetensors")

    def report(name, got, want):
        print(f"{name:16} largest difference {(got - want).abs().max():.2e} of {want.abs().max():.2e}")

    pcm = speech.read_wav(folder / "cases/acc/audio.wav")
    mel = audio.log_mel(pcm)
    report("log_mel", mel, io["log_mel"])
    states = audio.clip_states(nets.audio, mel)
    report("states", states, io["whisper_features"])
    tokens = audio.frame_tokens(states, meta["fps"])
    report("chunks", tokens[: len(io["audio_chunks"])], io["audio_chunks"])
    image = torch.from_numpy(cv2.imread(str(folder / "cases/acc/image.png"))[..., ::-1].copy())
    pixels = image.permute(2, 0, 1)[None] / 127.5 - 1
    latents = nets.vae.encode(pixels) * vae.SCALE
    report("ref latents", latents, io["ref_latents"])
    report("decode", nets.vae.decode(latents / vae.SCALE), io["vae_decode_of_ref"])
    face = nets.locator(io["face_mask"][None, None])
    report("locator", face[0], io["face_locator_out"].reshape(face[0].shape))
    bank = nets.reference(latents, torch.zeros(1))
    noise = io["noise"][0].transpose(0, 1)
    out = sampling.sample(nets.denoiser, bank, face, tokens[: noise.shape[0]], noise,
                          meta["steps"], meta["context_frames"], meta["context_overlap"])
    last = io[f"latents_after_step{meta['steps'] - 1}"][0].transpose(0, 1)
    report("sampled", out, last)


if __name__ == "__main__":
    with torch.no_grad():
        main(sys.argv[1])
