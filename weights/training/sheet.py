"""Contact sheet: each row one clip, the portrait first, frames over time, and the mouth's curve."""
import cv2
import numpy as np

ROWS, COLUMNS, SIDE, GRAPH = 5, 7, 112, 34


def _graph(width, driving, at):
    picture = np.full((GRAPH, width, 3), 255, np.uint8)
    x = np.linspace(SIDE / 2, width - SIDE / 2, len(driving))  # a dot under each frame's middle
    y = 4 + (1 - driving / max(driving.max(), 1e-6)) * (GRAPH - 9)
    line = np.round(np.stack([x, y], 1)).astype(np.int32)
    cv2.polylines(picture, [line], False, (90, 110, 190), 1, cv2.LINE_AA)
    for i in at:
        cv2.circle(picture, tuple(int(v) for v in line[i]), 2, (200, 70, 60), -1, cv2.LINE_AA)
    return picture


def contact_sheet(path, clips, frames):
    """clips: (person, picture, wave, opening) each; frames: number of the clip to its video."""
    rows = []
    for number in sorted(frames)[:ROWS]:
        person, picture, wave, opening = clips[number]
        video = frames[number]
        at = np.linspace(2, min(len(video), len(opening)) - 4, COLUMNS).round().astype(int)
        shrink = lambda p: cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        gap = np.full((SIDE, 6, 3), 255, np.uint8)
        strip = np.concatenate([shrink(picture), gap] + [shrink(video[i]) for i in at], 1)
        rows.append(strip)
        graph = np.full((GRAPH, strip.shape[1], 3), 255, np.uint8)
        graph[:, SIDE + 6:] = _graph(SIDE * COLUMNS, opening[at[0]: at[-1] + 1], at - at[0])
        rows.append(graph)
    sheet = np.concatenate(rows)[..., ::-1].astype(np.int32)
    sheet = ((sheet + 1) // 3 * 3).clip(0, 255).astype(np.uint8)  # a much smaller file
    cv2.imwrite(str(path), sheet, [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, 0])
