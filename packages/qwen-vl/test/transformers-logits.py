"""Logits of checkpoints in transformers, adapters by PEFT: `transformers-logits.py INPUTS OUTPUTS NAME=FOLDER[,ADAPTER]...`.

INPUTS is a safetensors file of floats: `ids` [S], `positions` [3, S], `patches` [N, columns] normalised, `grids` [items, 3] of videos.
OUTPUTS gets the logits [S, vocabulary] under each name.
"""

import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration

torch.set_grad_enabled(False)
torch.set_num_threads(1)
given = load_file(sys.argv[1])
inputs = {
    "input_ids": given["ids"].long()[None],
    "position_ids": given["positions"].long()[:, None],
    "pixel_values_videos": given["patches"],
    "video_grid_thw": given["grids"].long(),
}
logits = {}
for argument in sys.argv[3:]:
    name, folders = argument.split("=", 1)
    base, *adapter = folders.split(",")
    model, loading = Qwen2_5_VLForConditionalGeneration.from_pretrained(base, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    if loading["missing_keys"] or loading["unexpected_keys"] or loading["mismatched_keys"]:
        sys.exit(f"{base} does not fit: {loading}")
    if adapter:
        model = PeftModel.from_pretrained(model, adapter[0])
    logits[name] = model.eval()(**inputs, use_cache=False).logits[0].contiguous()
save_file(logits, sys.argv[2])
