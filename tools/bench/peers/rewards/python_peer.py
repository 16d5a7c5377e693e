"""rouge_score + scipy on the same workload: node workload.mjs 4 7 ascii | python python_peer.py [repeats]
Prints CPU microseconds per completion and the rewards' checksum (compare with --check of the JavaScript side)."""
import json, os, sys, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import oracle_rewards as R
work = json.load(sys.stdin); reps = int(sys.argv[1]) if len(sys.argv) > 1 else 3
opt = {"tokenizer": sys.argv[2] if len(sys.argv) > 2 else "rouge-score"}
best = 1e99
for _ in range(reps):
    t = time.process_time(); s = [R.score(c, w["reference"], opt)["total"] for w in work for c in w["completions"]]; best = min(best, time.process_time() - t)
print(json.dumps({"what": "rouge_score + scipy", "completions": len(s), "us": round(best / len(s) * 1e6), "sum": sum(s)}))
