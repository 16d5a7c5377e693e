"""Frames against an independent decode: `reference.py FILE FOLDER`.

FOLDER holds frames.rgb, written without numbers, and its manifest.json. For every sampled second the picture on screen is decoded with
PyAV, which goes through every frame, and scaled with Pillow's bicubic filter. Prints JSON: frames, least and median PSNR in dB.
"""

import json
import sys
from pathlib import Path
from statistics import median

import av
import numpy as np
from PIL import Image

file, folder = sys.argv[1], Path(sys.argv[2])
manifest = json.loads((folder / "manifest.json").read_text())
width, height = manifest["plan"]["width"], manifest["plan"]["height"]
sampled = [frame for frame in manifest["frames"] if not frame["repeat"]]
ours = np.memmap(folder / "frames.rgb", np.uint8, "r", shape=(len(manifest["frames"]), height, width, 3))


def on_screen(seconds: list[int]):
    """The picture of each second: the last frame that has begun by then, or the first of all."""
    with av.open(file) as container:
        last = None
        waiting = iter(seconds)
        second = next(waiting, None)
        for frame in container.decode(video=0):
            while second is not None and last is not None and frame.time - manifest["source"]["fileStart"] > second + 1e-9:
                yield last.to_image()
                second = next(waiting, None)
            last = frame
        while second is not None:
            yield last.to_image()
            second = next(waiting, None)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


pictures = on_screen([frame["second"] for frame in sampled])
values = [psnr(ours[frame["i"]], np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))) for frame, picture in zip(sampled, pictures, strict=True)]
print(json.dumps({"frames": len(values), "min": round(min(values), 2), "median": round(median(values), 2)}))
