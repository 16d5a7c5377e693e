"""One GRPO step in torch: `torch_peer.py FOLDER ADAPTER THREADS`, the decoder of the checkpoint with PEFT's LoRA, float32.

Answers each line of standard input, {"task", "way", "ids", "completions", "advantages", "micro"}, with a line of JSON. Ways: `unshared` repeats the prompt in every
completion, which is what TRL's GRPOTrainer computes, in micro-batches of `micro` rows; `shared` computes it once, with attention of the completions in two exact pieces of torch's
flash kernel, and of the prompt only the last position behind the attention of the last layer. Task `step` moves the adapter, ratios are 1; `gradients` has ratios off 1.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM

folder, adapter, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
with open(f"{folder}/config.json") as file:
    given = json.load(file)
with open(f"{adapter}/adapter_config.json") as file:
    lora = json.load(file)
rope = {"rope_type": "default", "rope_theta": given["rope_theta"]}
fields = {name: given[name] for name in (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size", "rms_norm_eps", "max_position_embeddings", "tie_word_embeddings",
)}
config = Qwen2Config(**fields, rope_parameters=rope, bos_token_id=1, eos_token_id=2, pad_token_id=0, attn_implementation="sdpa")
base = Qwen2ForCausalLM(config)
weights = {name: value for name, value in load_file(f"{folder}/model.safetensors").items() if not name.startswith("visual.")}
base.load_state_dict(weights, strict=True)
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(base, LoraConfig(r=lora["r"], lora_alpha=lora["lora_alpha"], lora_dropout=0.0, target_modules=TARGETS, bias="none", task_type="CAUSAL_LM"))
parameters = {name.replace(".default", ""): p for name, p in model.named_parameters() if p.requires_grad}
values = {name.replace("model.language_model.", "model."): value for name, value in load_file(f"{adapter}/adapter_model.safetensors").items()}
assert values.keys() == parameters.keys(), (next(iter(values)), next(iter(parameters)))
with torch.no_grad():
    for name, p in parameters.items():
        p.copy_(values[name])
optimizer = torch.optim.AdamW(parameters.values(), lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
model.train()
HEADS, KV_HEADS, WIDTH = config.num_attention_heads, config.num_key_value_heads, config.hidden_size // config.num_attention_heads
forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class PrefixAttention(torch.autograd.Function):
    """Queries [n, heads, c, d] over a prefix [1, heads, p, d] and their own causal part; the backward gives the merged output and log-sum-exp to both kernels."""

    @staticmethod
    def forward(ctx, q, k, v, prefix_k, prefix_v):
        n, h, c, d = q.shape
        flat = q.transpose(0, 1).reshape(1, h, n * c, d)
        o1, l1 = forward(flat, prefix_k, prefix_v, 0.0, False)
        o1, l1 = o1.reshape(h, n, c, d).transpose(0, 1), l1.reshape(h, n, c).transpose(0, 1)
        o2, l2 = forward(q, k, v, 0.0, True)
        lse = torch.logaddexp(l1, l2)
        out = o1 * torch.exp(l1 - lse)[..., None] + o2 * torch.exp(l2 - lse)[..., None]
        ctx.save_for_backward(q, k, v, prefix_k, prefix_v, out, lse)
        return out

    @staticmethod
    def backward(ctx, d_out):
        q, k, v, prefix_k, prefix_v, out, lse = ctx.saved_tensors
        n, h, c, d = q.shape

        def flat(t):
            return t.transpose(0, 1).reshape(1, h, n * c, *t.shape[3:]).contiguous()

        d_out = d_out.contiguous()
        dq1, d_prefix_k, d_prefix_v = backward(flat(d_out), flat(q), prefix_k, prefix_v, flat(out), flat(lse), 0.0, False)
        dq2, dk, dv = backward(d_out, q, k, v, out, lse.contiguous(), 0.0, True)
        return dq1.reshape(h, n, c, d).transpose(0, 1) + dq2, dk, dv, d_prefix_k, d_prefix_v


def log_probs(hidden, targets):
    """[rows, t, hidden] and [rows, t] -> [rows, t], one row at a time; the entropy that a trainer logs is computed, too."""
    out = []
    for h, t in zip(hidden, targets):
        logits = base.lm_head(h)
        lse = torch.logsumexp(logits, -1)
        with torch.no_grad():
            (lse - (torch.exp(logits - lse[:, None]) * logits).sum(-1)).mean()
        out.append(logits.gather(-1, t[:, None])[:, 0] - lse)
    return torch.stack(out)


def unshared(prompt, completions):
    n, c = completions.shape
    ids = torch.cat([prompt[None].expand(n, -1), completions], 1)
    hidden = base.model(input_ids=ids, use_cache=False).last_hidden_state
    return log_probs(hidden[:, -c - 1:-1], completions)


def shared(prompt, completions):
    n, c = completions.shape
    p = prompt.shape[0]
    x = base.model.embed_tokens(torch.cat([prompt, completions.reshape(-1)]))
    positions = torch.cat([torch.arange(p), p + torch.arange(c).repeat(n)])
    cos, sin = base.model.rotary_emb(x[None], positions[None])
    cos, sin = cos[0][:, None], sin[0][:, None]

    def rotate(t):
        a, b = t[..., :WIDTH // 2], t[..., WIDTH // 2:]
        return t * cos + torch.cat([-b, a], -1) * sin

    for i, layer in enumerate(base.model.layers):
        attention, h = layer.self_attn, layer.input_layernorm(x)
        q = rotate(attention.q_proj(h).view(-1, HEADS, WIDTH))
        k = rotate(attention.k_proj(h).view(-1, KV_HEADS, WIDTH)).repeat_interleave(HEADS // KV_HEADS, 1)
        v = attention.v_proj(h).view(-1, KV_HEADS, WIDTH).repeat_interleave(HEADS // KV_HEADS, 1)
        prefix_k, prefix_v = k[:p].transpose(0, 1)[None], v[:p].transpose(0, 1)[None]
        own = [t[p:].view(n, c, HEADS, WIDTH).transpose(1, 2) for t in (q, k, v)]
        of_completions = PrefixAttention.apply(*own, prefix_k, prefix_v).transpose(1, 2).reshape(n * c, HEADS * WIDTH)
        is_last = i == config.num_hidden_layers - 1
        queries = q[p - 1:p] if is_last else q[:p]
        of_prompt = F.scaled_dot_product_attention(queries.transpose(0, 1)[None], prefix_k, prefix_v, is_causal=not is_last)[0].transpose(0, 1).reshape(-1, HEADS * WIDTH)
        x = (x[p - 1:] if is_last else x) + attention.o_proj(torch.cat([of_prompt, of_completions]))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    x = base.model.norm(x)
    hidden = torch.cat([x[:1][None].expand(n, -1, -1), x[1:].view(n, c, -1)[:, :-1]], 1)
    return log_probs(hidden, completions)


def loss_of(logp, advantages, rows, old):
    ratio = torch.exp(logp - (logp.detach() if old is None else old))
    a = advantages[:, None]
    return -torch.min(ratio * a, torch.clamp(ratio, 0.8, 1.2) * a).mean(-1).sum() / rows


def work(request):
    prompt, completions, advantages = (torch.tensor(request[name]) for name in ("ids", "completions", "advantages"))
    n, c = completions.shape
    is_step, old = request["task"] == "step", None
    if not is_step:
        with torch.no_grad():
            old = shared(prompt, completions) + 0.3 * torch.sin(1 + 7 * torch.arange(n)[:, None] + 13 * torch.arange(c)[None])
    optimizer.zero_grad(set_to_none=True)
    size = n if request["way"] == "shared" else request["micro"]
    total = 0.0
    for at in range(0, n, size):
        logp = (shared if request["way"] == "shared" else unshared)(prompt, completions[at:at + size])
        loss = loss_of(logp, advantages[at:at + size], n, None if old is None else old[at:at + size])
        loss.backward()
        total += loss.item()
    named = {} if is_step else {"gradients": {name.replace("base_model.model.model.layers", "model.language_model.layers"): p.grad.flatten().tolist() for name, p in parameters.items()}}
    norm = float(torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0))
    if is_step:
        optimizer.step()
    return {"loss": total, "gradNorm": norm, "tokens": n * c, **named}


def reset_peak():
    """Forgets the highest resident memory so far; Linux."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def resident_mib(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(field))


print(json.dumps({"ready": f"torch {torch.__version__} with PEFT"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    before = [p.detach().clone() for p in parameters.values()]
    reset_peak()
    start_mib, cpu, start = resident_mib("VmRSS"), time.process_time(), time.perf_counter()
    result = work(request)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    peak_mib = resident_mib("VmHWM")
    moved = max(float((p.detach() - b).abs().max()) for p, b in zip(parameters.values(), before))
    print(json.dumps({"seconds": seconds, "cpuSeconds": cpu_seconds, "startMiB": start_mib, "peakMiB": peak_mib, "moved": moved, **result}), flush=True)
