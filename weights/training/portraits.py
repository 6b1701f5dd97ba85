"""Draws portraits: an identity is a few numbers, a frame is an identity and a mouth."""
import colorsys
import random

import cv2
import numpy as np

SIDE = 128  # the drawing's own units; every size below is in them


def identity(seed, held_out=False):
    rng = random.Random(("held-out face " if held_out else "face ") + str(seed))
    u = rng.uniform

    def hsv(h, s, v):
        return tuple(255 * c for c in colorsys.hsv_to_rgb(h % 1, s, v))

    tone = u(0, 1)
    skin = tuple(a + (b - a) * tone + u(-8, 8)
                 for a, b in zip((250, 212, 184), (126, 80, 56)))
    hair = rng.choice([hsv(u(.05, .09), u(.5, .75), u(.2, .5)), hsv(u(.02, .1), u(.2, .5), u(.1, .22)),
                       hsv(u(.1, .13), u(.45, .65), u(.75, .92)), hsv(u(.02, .05), u(.65, .85), u(.5, .75)),
                       hsv(u(0, 1), .04, u(.6, .8))])
    return {
        "skin": skin, "hair": hair,
        "iris": rng.choice([hsv(u(.05, .09), u(.6, .8), u(.3, .5)), hsv(u(.53, .6), u(.5, .7), u(.5, .75)),
                            hsv(u(.3, .42), u(.35, .6), u(.4, .6))]),
        "shirt": hsv(u(0, 1), u(.35, .75), u(.4, .9)),
        "back": hsv(u(0, 1), u(.12, .4), u(.62, .95)),
        "lip": tuple(a * .55 + b * .45 for a, b in zip(skin, (196, 62, 72))),
        "face_w": u(32.5, 36), "jaw": u(.70, .86), "chin": u(104, 107.5),
        "eye_dx": u(14.2, 16.2), "eye_y": u(57, 59.5), "eye_w": u(6.3, 7.4), "eye_h": u(4.6, 5.8),
        "brow": u(1.3, 2.3), "brow_tilt": u(-1.2, 1.2), "brow_y": u(9.6, 11.2),
        "nose": u(2.9, 4.4), "mouth_w": u(11.2, 13.2), "mouth_y": u(85, 87),
        "smile": u(1.2, 2.8), "lip_h": u(1.7, 2.7), "blush": u(.02, .22),
        "style": rng.choice(["short", "parted", "fringe", "long", "bob", "bun"]),
        "parting": rng.choice([-1, 1]), "volume": u(.9, 1.12), "hairline": u(30, 36),
    }


class _Canvas:
    """Antialiased, subpixel drawing in the portrait's own units."""

    def __init__(self, px, frame=(0.0, 0.0, 1.0)):
        self.dx, self.dy, zoom = frame
        self.k = px / SIDE * zoom
        self.offset = px * (1 - zoom) / 2
        self.image = np.zeros((px, px, 3), np.uint8)

    def _points(self, points):
        p = np.asarray(points, np.float64) + (self.dx, self.dy)
        return np.round((p * self.k + self.offset) * 16).astype(np.int32)

    def fill(self, points, colour):
        cv2.fillPoly(self.image, [self._points(points)], _rgb(colour), cv2.LINE_AA, 4)

    def line(self, points, colour, width):
        cv2.polylines(self.image, [self._points(points)], False, _rgb(colour),
                      max(1, round(width * self.k)), cv2.LINE_AA, 4)

    def glow(self, centre, radius, colour, strength):
        """Blends a soft blob over the picture."""
        c = (np.asarray(centre) + (self.dx, self.dy)) * self.k + self.offset
        r = np.asarray(radius, float) * self.k
        h = self.image.shape[0]
        x0, x1 = (int(np.clip(v, 0, h)) for v in (c[0] - 2.2 * r[0], c[0] + 2.2 * r[0] + 1))
        y0, y1 = (int(np.clip(v, 0, h)) for v in (c[1] - 2.2 * r[1], c[1] + 2.2 * r[1] + 1))
        if x1 <= x0 or y1 <= y0:
            return
        gx = np.exp(-(((np.arange(x0, x1) - c[0]) / r[0]) ** 2))
        gy = np.exp(-(((np.arange(y0, y1) - c[1]) / r[1]) ** 2))
        a = (strength * gy[:, None] * gx[None]).astype(np.float32)[..., None]
        part = self.image[y0:y1, x0:x1]
        part[:] = (part * (1 - a) + np.asarray(colour, np.float32) * a + .5).astype(np.uint8)


def _rgb(colour):
    return tuple(int(np.clip(round(c), 0, 255)) for c in colour)


def _mix(a, b, t):
    return tuple(x + (y - x) * t for x, y in zip(a, b))


def _ellipse(cx, cy, rx, ry, start=0, end=360, n=48):
    t = np.radians(np.linspace(start, end, n))
    return np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], 1)


def _face_outline(p, drop):
    """Superellipse above, narrowing to a chin that follows the jaw below."""
    t = np.radians(np.linspace(0, 360, 96, endpoint=False))
    c, s = np.cos(t), np.sin(t)
    below = s > 0
    bottom = p["chin"] + drop - 62
    y = 62 + np.where(below, bottom, 40) * np.sign(s) * np.abs(s) ** .92
    narrow = np.where(below, 1 - (1 - p["jaw"]) * np.abs(s) ** 1.6, 1 - .06 * np.abs(s) ** 2)
    x = 64 + p["face_w"] * narrow * np.sign(c) * np.abs(c) ** .88
    return np.stack([x, y], 1)


def _behind(d, p):
    d.image[:] = _rgb(p["back"])
    d.glow((64, 44), (72, 62), _mix(p["back"], (255, 255, 255), .5), .8)
    dark = _mix(p["hair"], (0, 0, 0), .28)
    v = p["volume"]
    if p["style"] == "long":
        d.fill(np.concatenate([_ellipse(64, 60, 43 * v, 46, 180, 360),
                               [(108 * 1, 128), (20, 128)]]), dark)
    elif p["style"] == "bob":
        d.fill(np.concatenate([_ellipse(64, 58, 43 * v, 43, 180, 360),
                               _ellipse(64, 92, 44 * v, 16, 0, 180)]), dark)
    elif p["style"] == "bun":
        d.fill(_ellipse(64, 14, 14, 12), dark)
        d.fill(_ellipse(64, 52, 38 * v, 38), dark)
    else:
        d.fill(_ellipse(64, 52, 38.5 * v, 38), dark)
    shirt, skin = p["shirt"], p["skin"]
    d.fill(np.concatenate([_ellipse(64, 136, 56, 22, 180, 360), [(124, 140), (4, 140)]]), shirt)
    d.glow((64, 140), (40, 14), _mix(shirt, (0, 0, 0), .4), .5)
    d.fill([(51, 96), (77, 96), (78, 116), (72, 121), (64, 123), (56, 121), (50, 116)], _mix(skin, (90, 40, 30), .24))
    d.line(_ellipse(64, 113, 15, 10.5, 12, 168), _mix(shirt, (255, 255, 255), .35), 2.2)
    for side in (-1, 1):
        d.fill(_ellipse(64 + side * (p["face_w"] + .6), 66, 5.2, 8.6), _mix(skin, (120, 50, 40), .14))


def _front_hair(d, p):
    hair, v, h = p["hair"], p["volume"], p["hairline"]
    light = _mix(hair, (255, 255, 255), .22)
    w = p["face_w"] + 2.5
    top = _ellipse(64, 55, w * (.98 + .06 * v), 41 * (.96 + .06 * v), 180, 360)
    s = p["parting"]
    if p["style"] in ("short", "bun"):
        inner = [(64 + w - 1.5, 54), (64 + w * .82, 42), (64 + w * .45, h + 1), (64, h - 2),
                 (64 - w * .45, h + 1), (64 - w * .82, 42), (64 - w + 1.5, 54)]
    elif p["style"] in ("fringe", "bob"):
        inner = [(64 + w - 1, 60), (64 + w * .84, 47), (64 + w * .5, 44.5), (64 + w * .16, 45.5),
                 (64 - w * .2, 44), (64 - w * .55, 45), (64 - w * .84, 47), (64 - w + 1, 60)]
    else:
        x = 64 + s * w * .3
        right, left = (64 + w - 1, 60), (64 - w + 1, 60)
        inner = [right, (64 + w * .8, 46), (x + 6 if s < 0 else x + 4, h + 2), (x, h - 5),
                 (x - 6 if s > 0 else x - 4, h + 2), (64 - w * .8, 46), left]
    curve = _smooth(inner)
    d.fill(np.concatenate([top, curve]), hair)
    d.line(_ellipse(64 - s * 5, 50, w * .66, 28, 215, 300), light, 1.8)


def _smooth(points):
    """A rounded curve through the points (Catmull-Rom)."""
    p = np.asarray(points, float)
    p = np.concatenate([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, 7, endpoint=False)[:, None]
    out = []
    for a, b, c, e in zip(p, p[1:], p[2:], p[3:]):
        out.append(.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - e) * t ** 2
                         + (3 * b - a - 3 * c + e) * t ** 3))
    return np.concatenate(out + [p[-1:]])


def _eyes(d, p, lift):
    skin = p["skin"]
    for side in (-1, 1):
        x, y, w, h = 64 + side * p["eye_dx"], p["eye_y"], p["eye_w"], p["eye_h"]
        d.glow((x, y - 1), (w * 1.25, h * 1.35), _mix(skin, (90, 40, 40), .5), .35)
        d.fill(_ellipse(x, y, w, h), (252, 250, 248))
        d.fill(_ellipse(x, y + .2, h * .88, h * .88), p["iris"])
        d.fill(_ellipse(x, y + .2, h * .48, h * .48), (22, 18, 20))
        d.fill(_ellipse(x - 1.4, y - 1.5, 1.15, 1.15, n=20), (255, 255, 255))
        d.line(_ellipse(x, y, w, h, 195, 345), _mix(p["hair"], (20, 12, 12), .75), 1.5)
        inner, outer = (x - side * 7.2, y - p["brow_y"] + 1.2), (x + side * 7.6, y - p["brow_y"] + p["brow_tilt"])
        d.line(_smooth([(inner[0], inner[1] - lift), (x, y - p["brow_y"] - 1.6 - lift),
                        (outer[0], outer[1] - lift)]), _mix(p["hair"], (30, 18, 14), .45), p["brow"])


def _nose(d, p):
    shade = _mix(p["skin"], (110, 45, 40), .34)
    d.glow((64, 68), (2.6, 9), _mix(p["skin"], (255, 255, 255), .6), .45)
    d.glow((64, 76), (p["nose"] * 1.5, 3), shade, .5)
    d.line(_ellipse(64, 73.4, p["nose"], 3, 25, 155), shade, 1.3)


def _mouth(d, p, opening, width):
    y, w = p["mouth_y"], p["mouth_w"] * (1 - .16 * opening + .2 * (width - .5))
    gap, lip = opening * 14.5, p["lip_h"]
    u = np.linspace(-1, 1, 25)
    arch = 1 - np.abs(u) ** 2.2
    corner = p["smile"] * (u ** 2) * (1 - .5 * opening)
    x = 64 + w * u
    line = y + 1.5 - corner
    upper_in, lower_in = line - gap * .12 * arch, line + gap * arch
    bow = 1 - .28 * np.exp(-(u / .16) ** 2)
    upper_out = upper_in - lip * np.sqrt(arch) * bow
    lower_out = lower_in + lip * 1.35 * np.sqrt(arch)
    outer = np.concatenate([np.stack([x, upper_out], 1), np.stack([x, lower_out], 1)[::-1]])
    d.glow((64, y + gap + 7), (w * .7, 2.6), _mix(p["skin"], (110, 45, 40), .5), .4)
    d.fill(outer, p["lip"])
    if gap > .35:
        d.fill(np.concatenate([np.stack([x * .94 + 3.84, upper_in], 1),
                               np.stack([x * .94 + 3.84, lower_in], 1)[::-1]]), (66, 16, 24))
        t = slice(4, 21)
        deep = np.minimum(upper_in + min(3.4, gap * .36), lower_in)
        d.fill(np.concatenate([np.stack([x[t], upper_in[t]], 1),
                               np.stack([x[t], deep[t]], 1)[::-1]]), (250, 246, 240))
        rise = np.maximum(lower_in - gap * .3 * arch, deep)
        d.fill(np.concatenate([np.stack([x[5:20] * .9 + 6.4, rise[5:20]], 1),
                               np.stack([x[5:20] * .9 + 6.4, lower_in[5:20]], 1)[::-1]]), (206, 92, 98))
    else:
        d.line(np.stack([x, line], 1), _mix(p["lip"], (70, 16, 24), .6), .9)
    glint = slice(9, 16)
    d.line(np.stack([x[glint], (lower_in + lip * .62)[glint]], 1), _mix(p["lip"], (255, 255, 255), .35), .7)


def draw(p, opening=0.0, width=0.5, px=SIDE, frame=(0.0, 0.0, 1.0), oversample=2):
    """RGB picture [px, px, 3]. frame: shift in units and zoom of the camera."""
    d = _Canvas(px * oversample, frame)
    drop, lift = opening * 3.0, opening * .7
    _behind(d, p)
    outline = _face_outline(p, drop)
    d.glow((64, p["chin"] + drop + 1), (9, 5), _mix(p["skin"], (60, 25, 25), .6), .55)
    d.fill(outline, p["skin"])
    d.glow((46, 50), (22, 26), _mix(p["skin"], (255, 245, 230), .55), .5)
    for side in (-1, 1):
        d.glow((64 + side * 21, 76), (8.5, 6.5), _mix(p["skin"], (235, 80, 80), .6), p["blush"] + .1)
    _nose(d, p)
    _eyes(d, p, lift)
    _mouth(d, p, opening, width)
    _front_hair(d, p)
    if oversample == 1:
        return d.image
    return cv2.resize(d.image, (px, px), interpolation=cv2.INTER_AREA)


def face_box(p, frame=(0.0, 0.0, 1.0), px=SIDE):
    """What a face detector would box, brow to chin, in pixels: x0, y0, x1, y1."""
    dx, dy, zoom = frame
    box = np.array([64 - p["face_w"] * .93, p["eye_y"] - 24, 64 + p["face_w"] * .93, p["chin"] + 1])
    return ((box + (dx, dy, dx, dy)) * zoom + SIDE * (1 - zoom) / 2) * px / SIDE
