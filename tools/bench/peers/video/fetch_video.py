"""Frames of one file as users of Qwen2.5-VL get them today: `fetch_video.py FILE BACKEND TOKENS REPEATS`.

BACKEND is a reader of qwen-vl-utils, `torchvision` (PyAV underneath) or `decord`. TOKENS is the visual budget of the file, a token a cell of
28 x 28 pixels and pair of frames. Prints JSON: the least processor seconds (user and system, imports apart) of REPEATS calls, the size
of what came, the peak memory in MiB. Everything runs on one core, so no side is charged for threads that wait for each other.
"""

import json
import os
import resource
import sys

file, backend, tokens, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.environ["FORCE_QWENVL_VIDEO_READER"] = backend
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import torch  # noqa: E402
from qwen_vl_utils import process_vision_info  # noqa: E402

if backend == "decord":
    import decord  # noqa: E402, F401  the library would import it inside the measured call
torch.set_num_threads(1)


def cpu() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


message = [{"role": "user", "content": [{"type": "video", "video": file, "fps": 1.0, "total_pixels": tokens * 28 * 28}]}]
seconds = []
for _ in range(repeats):
    start = cpu()
    _, videos = process_vision_info(message, return_video_metadata=True)
    seconds.append(cpu() - start)
video, metadata = videos[0]
if metadata["video_backend"] != backend:  # it falls back to another reader without an error
    sys.exit(f"{backend} failed and {metadata['video_backend']} read the file")
frames, _, height, width = video.shape
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": min(seconds), "frames": frames, "width": width, "height": height, "rssMiB": round(rss)}))
