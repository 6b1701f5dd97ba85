"""Reads and writes checkpoints in the official layout."""
import json
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file

from models.audio import AudioEncoder
from models.unet import FaceLocator, UNet
from models.vae import Autoencoder

UNET_CONFIG = Path("sd-image-variations-diffusers/unet/config.json")
VAE = Path("sd-vae-ft-mse")
MOTION = ".motion_modules."


def build(config):
    """config: {unet, vae, dims, locator}; returns the five networks."""
    return SimpleNamespace(
        config=config,
        audio=AudioEncoder(config["dims"]),
        vae=Autoencoder(config["vae"]),
        reference=UNet(config["unet"]),
        denoiser=UNet(config["unet"], audio_width=config["dims"]["n_audio_state"], motion=True),
        locator=FaceLocator(config["unet"]["block_out_channels"][0], config["locator"]))


def networks(nets):
    return {name: getattr(nets, name)
            for name in ("audio", "vae", "reference", "denoiser", "locator")}


def save(nets, folder):
    folder = Path(folder)
    half = lambda state: {k: v.detach().half().contiguous().clone() for k, v in state.items()}
    for sub in ("audio_processor", UNET_CONFIG.parent, VAE):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    denoiser = half(nets.denoiser.state_dict())
    torch.save({k: v for k, v in denoiser.items() if MOTION not in k},
               folder / "denoising_unet_acc.pth")
    torch.save({k: v for k, v in denoiser.items() if MOTION in k},
               folder / "motion_module_acc.pth")
    torch.save(half(nets.reference.state_dict()), folder / "reference_unet.pth")
    torch.save(half(nets.locator.state_dict()), folder / "face_locator.pth")
    encoder = {f"encoder.{k}": v for k, v in half(nets.audio.state_dict()).items()}
    torch.save({"dims": nets.config["dims"], "model_state_dict": encoder},
               folder / "audio_processor/whisper_tiny.pt")
    save_file(half(nets.vae.state_dict()), folder / VAE / "diffusion_pytorch_model.safetensors")
    for path, name in ((UNET_CONFIG, "unet"), (VAE / "config.json", "vae")):
        (folder / path).write_text(json.dumps(nets.config[name], indent=2) + "\n")


def load(folder):
    """Every size comes from the files, so any checkpoint of this family loads."""
    folder = Path(folder)
    read = lambda name: torch.load(folder / name, map_location="cpu", weights_only=True)
    whisper = read("audio_processor/whisper_tiny.pt")
    locator = read("face_locator.pth")
    widths = [locator["conv_in.weight"].shape[0]]
    widths += [locator[k].shape[0] for k in sorted(
        (k for k in locator if k.startswith("blocks.") and k.endswith(".weight")),
        key=lambda k: int(k.split(".")[1]))][1::2]
    nets = build({
        "unet": json.loads((folder / UNET_CONFIG).read_text()),
        "vae": json.loads((folder / VAE / "config.json").read_text()),
        "dims": whisper["dims"], "locator": widths})
    denoiser = {**read("denoising_unet_acc.pth"), **read("motion_module_acc.pth")}
    encoder = {k.removeprefix("encoder."): v for k, v in whisper["model_state_dict"].items()
               if k.startswith("encoder.")}
    for net, state in ((nets.denoiser, denoiser), (nets.reference, read("reference_unet.pth")),
                       (nets.locator, locator), (nets.audio, encoder),
                       (nets.vae, load_file(folder / VAE / "diffusion_pytorch_model.safetensors"))):
        net.load_state_dict({k: v.float() for k, v in state.items()})
        net.eval()
    return nets
