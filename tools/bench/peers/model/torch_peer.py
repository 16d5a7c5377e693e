"""Qwen2.5-VL in transformers with torch's fused attention: `torch_peer.py FOLDER THREADS DTYPE`.

Answers each line of standard input, {"task", "ids", "n", "tokens"}, with a line of JSON. Tasks: `prefill` gives the logits of the last token;
`generate` is transformers' `generate(num_return_sequences=n)`, which computes the prompt for each of its answers; `shared` is a plain loop that
computes the prompt once and repeats its keys and values.
"""

import json
import sys
import time

import torch
import transformers
from transformers import DynamicCache, Qwen2_5_VLForConditionalGeneration

folder, threads, dtype = sys.argv[1], int(sys.argv[2]), getattr(torch, sys.argv[3])
torch.set_num_threads(threads)
torch.set_grad_enabled(False)
torch.manual_seed(0)
model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()
EOS = model.config.text_config.eos_token_id or 2


def prefill(ids, _n, _tokens):
    return model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1].tolist()


def generate(ids, n, tokens):
    out = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), num_return_sequences=n, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
        min_new_tokens=tokens, max_new_tokens=tokens, use_cache=True, pad_token_id=0,
    )
    assert out.shape == (n, ids.shape[1] + tokens)
    return []


def shared(ids, n, tokens):
    length = ids.shape[1]
    cache = DynamicCache(config=model.config.get_text_config())
    positions = torch.arange(length).expand(3, 1, length)
    logits = model(input_ids=ids, position_ids=positions, cache=cache, use_cache=True, logits_to_keep=1).logits[:, -1].expand(n, -1)
    cache.batch_repeat_interleave(n)
    for t in range(tokens):
        logits = logits.clone()
        logits[:, EOS] = float("-inf")
        chosen = torch.multinomial(torch.softmax(logits, -1), 1)
        if t + 1 < tokens:
            logits = model(input_ids=chosen, position_ids=torch.full((3, n, 1), length + t), cache=cache, use_cache=True).logits[:, -1]
    return []


def reset_peak():
    """Forgets the highest resident memory so far; Linux."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def resident_mib(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(field))


TASKS = {"prefill": prefill, "generate": generate, "shared": shared}
print(json.dumps({"ready": f"transformers {transformers.__version__}, torch {torch.__version__}"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    ids = torch.tensor([request["ids"]])
    reset_peak()
    start_mib, cpu, start = resident_mib("VmRSS"), time.process_time(), time.perf_counter()
    logits = TASKS[request["task"]](ids, request.get("n"), request.get("tokens"))
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    peak_mib = resident_mib("VmHWM")
    print(json.dumps({"seconds": seconds, "cpuSeconds": cpu_seconds, "startMiB": start_mib, "peakMiB": peak_mib, "logits": logits}), flush=True)
