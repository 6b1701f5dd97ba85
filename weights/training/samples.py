"""Writes the bundled portraits and speech: python samples.py FOLDER"""
import sys
from pathlib import Path

import cv2

import portraits
import speech

PEOPLE = {"portrait.png": 11, "portrait-2.png": 18}  # held-out identities
TEXT = "Hello! I am a drawing, and yet I can talk to you."


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in PEOPLE.items():
        picture = portraits.draw(portraits.identity(seed, held_out=True), px=512)
        cv2.imwrite(str(folder / name), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    speech.write_wav(folder / "speech.wav", speech.say(TEXT, "en+f4", 150, 55))


if __name__ == "__main__":
    main(sys.argv[1])
