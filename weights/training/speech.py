"""Synthetic speech (espeak-ng) and the mouth curves that it drives."""
import random
import subprocess
import wave

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import resample_poly

RATE = 16000

_WORDS = {
    "en": "the morning light over a quiet harbour makes every small boat look golden we walked "
          "along river and talked about music bread winter garden open window please tell me how "
          "many people came yesterday never ask again because nobody really knows what happens "
          "after seven years of patient work bright happy voices moving slowly under blue sky",
    "de": "heute morgen gehen wir zusammen durch den alten garten und sprechen über das wetter "
          "niemand weiß warum die kleine katze immer auf dem dach sitzt aber alle freunde lachen "
          "laut bitte komm bald wieder nach hause draußen scheint noch die warme sonne",
    "fr": "le matin nous marchons près de la rivière avec notre petit chien personne ne sait "
          "pourquoi il chante toujours quand la pluie tombe sur les toits rouges demain je "
          "prépare un gâteau pour toute la famille bonjour madame comment allez vous",
    "es": "por la mañana caminamos cerca del mar y hablamos de los amigos que viven lejos nadie "
          "sabe cuándo vuelve el barco azul pero todos esperan con paciencia mañana vamos a "
          "cocinar arroz y pescado para la fiesta grande",
    "it": "questa mattina andiamo insieme al mercato dove una signora vende pane caldo e frutta "
          "fresca nessuno ricorda il nome della piccola strada ma tutti amano la vecchia piazza "
          "con la fontana bianca domani canteremo ancora",
    "pt-br": "hoje cedo vamos caminhar pela praia e conversar sobre a viagem dos nossos amigos "
             "ninguém sabe quando a chuva vai parar mas todos cantam juntos uma música bonita",
    "pl": "dzisiaj rano idziemy razem do starego ogrodu i rozmawiamy o dobrej pogodzie nikt nie "
          "wie dlaczego mały kot zawsze siedzi na dachu ale wszyscy się głośno śmieją",
}
_VARIANTS = ["", "+m1", "+m3", "+m5", "+m7", "+f1", "+f2", "+f3", "+f5", "+croak"]
_HELD_OUT_VARIANTS = ["+m2", "+f4", "+m4"]


def sentence(rng, language):
    words = _WORDS[language].split()
    parts = []
    for _ in range(rng.randint(1, 3)):
        parts.append(" ".join(rng.choice(words) for _ in range(rng.randint(3, 7))))
    return ", ".join(parts) + "."


def say(text, voice, speed=160, pitch=50):
    """16 kHz mono float samples of espeak-ng saying the text."""
    raw = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text],
        check=True, capture_output=True).stdout
    data = raw.find(b"data") + 8
    rate = int.from_bytes(raw[24:28], "little")
    samples = np.frombuffer(raw[data: data + (len(raw) - data) // 2 * 2], np.int16) / 32768
    return normalise(resample_poly(samples, RATE, rate))


def normalise(samples):
    """The same loudness for everyone: 95th percentile of short-time level at -20 dB."""
    level = np.percentile(_frames_rms(samples), 95)
    return np.clip(samples * (0.1 / max(level, 1e-6)), -0.99, 0.99).astype(np.float32)


def _frames_rms(samples, size=320):
    cut = samples[: len(samples) // size * size].reshape(-1, size)
    return np.sqrt((cut ** 2).mean(1) + 1e-12)


def utterance(seed, held_out=False):
    rng = random.Random(("held-out" if held_out else "train") + str(seed))
    language = rng.choice(list(_WORDS))
    variant = rng.choice(_HELD_OUT_VARIANTS if held_out else _VARIANTS)
    voice = say(sentence(rng, language), language + variant, rng.randint(130, 185),
                rng.randint(25, 75))
    pause = np.zeros(rng.randint(RATE // 10, RATE // 2), np.float32)
    return np.concatenate([pause[: len(pause) // 2], voice, pause])


def mouth_curves(samples, fps=24, frames=None):
    """Opening and width of the mouth in [0, 1] for every video frame."""
    hop = 160
    padded = np.pad(samples, (256, 256 + hop))
    count = len(samples) // hop
    index = np.arange(count)[:, None] * hop + np.arange(512)[None]
    spectrum = np.abs(np.fft.rfft(padded[index] * np.hanning(512), axis=1)) ** 2
    hz = np.fft.rfftfreq(512, 1 / RATE)
    voiced = (hz >= 200) & (hz <= 1500)
    level = 10 * np.log10(spectrum[:, voiced].sum(1) + 1e-7)
    opening = np.clip((level - np.percentile(level, 95)) / 26 + 1, 0, 1.1) ** 1.3
    speech = (hz >= 200) & (hz <= 5000)
    power = np.sqrt(spectrum[:, speech])
    centroid = (power * hz[speech]).sum(1) / (power.sum(1) + 1e-3)
    width = np.clip((centroid - 600) / 1400, 0, 1) * np.clip(opening * 3, 0, 1) \
        + 0.5 * (1 - np.clip(opening * 3, 0, 1))
    opening = gaussian_filter1d(opening, 5.0, mode="nearest")
    width = gaussian_filter1d(width, 9.0, mode="nearest")
    frames = frames or len(samples) * fps // RATE
    at = np.minimum(np.round(np.arange(frames) * 100 / fps).astype(int), count - 1)
    return np.clip(opening[at], 0, 1), np.clip(width[at], 0, 1)


def write_wav(path, samples):
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(RATE)
        f.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def read_wav(path):
    with wave.open(str(path), "rb") as f:
        assert f.getframerate() == RATE and f.getnchannels() == 1
        return np.frombuffer(f.readframes(f.getnframes()), "<i2") / np.float32(32768)
