"""Which model types of transformers are scored, trained, warmed up and decoded as what they are.

    python benchmarks/architectures.py                    # all model types, a table in Markdown
    python benchmarks/architectures.py gemma2 mamba2      # some of them

A tiny model of each type with random weights, windows shorter than its sequences, goes through a
folder as any other. Each number is the largest difference from a naive float64 reference that runs
one whole sequence at a time: of Eq. 5 over all pairs of tokens (score), of log-probabilities in
nats (RL), of the first loss (warm-up); of greedy answers (rollouts), how many differ.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import logging
import os
import platform
import shlex
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from gainrl.config.models import Warmup, WarmupPhase
from gainrl.config.preset import Training
from gainrl.curricula import Setting
from gainrl.curricula import build as curriculum
from gainrl.data.prompts import Chunk, Prompts
from gainrl.errors import UserError
from gainrl.models import stepping
from gainrl.models.loading import load_model
from gainrl.models.nano import build_tokenizer
from gainrl.models.sampling import Sampling, generate
from gainrl.signals.plain import UNFIT
from gainrl.signals.prefill import Prefill, gather
from gainrl.signals.taps import decoder_of
from gainrl.training.local.loop import LocalTrainer
from gainrl.training.packing import (
    ALONE,
    Suffix,
    log_probabilities,
    micro_batches,
    pack,
    split_rows,
)
from gainrl.training.supervised import train_supervised

OTHERS = shlex.split("""
bart bert bert-generation big_bird bigbird_pegasus blenderbot blenderbot-small blt camembert
data2vec-text electra emu3 ernie fuyu git got_ocr2 aria_text gemma4_assistant
gemma4_unified_assistant gpt-sw3 marian mbart megatron-bert mllama moshi musicgen musicgen_melody
mvp pegasus phi4_multimodal plbart prophetnet reformer rembert roberta roberta-prelayernorm roc_bert
roformer trocr whisper xlm xlm-roberta xlm-roberta-xl xlnet xmod
""")
"""Encoders, decoders of encoders, and models of more than text."""
LARGEST = 30_000_000
"""Parameters; defaults that no option here makes small are left out."""

VOCABULARY = 256
VALUES = {
    0: "pad_token_id",
    1: "eos_token_id",
    2: "num_key_value_heads num_experts_per_tok",
    4: "num_hidden_layers num_attention_heads n_layer n_head n_layers n_heads num_experts "
    "num_local_experts n_routed_experts",
    8: "head_dim",
    12: "sliding_window",
    16: "moe_intermediate_size shared_expert_intermediate_size",
    32: "hidden_size n_embd d_model",
    64: "intermediate_size ffn_dim",
    512: "max_position_embeddings n_positions",
    VOCABULARY: "vocab_size",
    None: "bos_token_id",
}
DROPOUT = """attention_dropout attn_pdrop resid_pdrop embd_pdrop dropout residual_dropout
activation_dropout hidden_dropout_prob attention_probs_dropout_prob"""
SIZES = {key: value for value, keys in VALUES.items() for key in shlex.split(keys)}
SIZES |= dict.fromkeys(shlex.split(DROPOUT), 0.0)
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "first_k_dense_replace": 1,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "num_key_value_heads": 4,
}
STATES = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
    "mamba_chunk_size": 16,
}
DELTA = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"] * 2,
}
WINDOWED = {"layer_types": ["sliding_attention", "full_attention"] * 2}
PER_LAYER = {"vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8, **WINDOWED}
SLOW = {"mamba_d_state": 8, "use_mamba_kernels": False}
SHARED = {"layers_block_type": ["mamba", "hybrid"] * 2, "num_key_value_heads": 4}
CONVOLVED = {"layer_types": ["conv", "full_attention"] * 2}
OPTIONS: dict[str, dict[str, Any]] = {
    "bamba": {**STATES, "attn_layer_indices": [1, 3]},
    "codegen": {"rotary_dim": 8},
    "cwm": {"bos_token_id": 1},
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "doge": {"keep_window_size": 12},
    "dots1": {"n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1},
    "falcon_h1": {**STATES, "mamba_d_ssm": 64},
    "gemma3_text": WINDOWED,
    "gemma3n_text": {**PER_LAYER, "num_kv_shared_layers": 2, "laurel_rank": 8},
    "gemma4_text": {**PER_LAYER, "global_head_dim": 8, "num_kv_shared_layers": 0},
    "glm4_moe_lite": LATENT,
    "gpt_neo": {
        "num_layers": 4,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 2]],
        "window_size": 12,
    },
    "gptj": {"rotary_dim": 8},
    "granite": {"logits_scaling": 8.0},
    "granitemoehybrid": {**STATES, "layer_types": ["mamba", "attention"] * 2},
    "jamba": {**SLOW, "attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {**CONVOLVED, "block_multiple_of": 8},
    "lfm2_moe": {**CONVOLVED, "num_dense_layers": 1},
    "llama4_text": {
        "attention_chunk_size": 12,
        "intermediate_size_mlp": 64,
        "no_rope_layers": [1, 1, 1, 0],
        "layer_types": ["chunked_attention"] * 3 + ["full_attention"],
    },
    "mamba2": {"num_heads": 8, "state_size": 8, "n_groups": 1, "chunk_size": 16, "expand": 2},
    "ministral": WINDOWED,
    "modernbert-decoder": {
        "bos_token_id": 1,
        "global_attn_every_n_layers": 2,
        "local_attention": 12,
    },
    "nemotron_h": {
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "ssm_state_size": 8,
        "n_groups": 1,
        "chunk_size": 16,
    },
    "qwen3_5_moe_text": DELTA,
    "qwen3_5_text": DELTA,
    "qwen3_next": DELTA,
    "recurrent_gemma": {
        "attention_window_size": 12,
        "block_types": ["recurrent", "attention"],
        "lru_width": 32,
    },
    "youtu": LATENT,
    "zamba": {**SLOW, **SHARED, "n_mamba_heads": 2},
    "zamba2": {
        **SHARED,
        "mamba_d_state": 8,
        "mamba_ngroups": 1,
        "n_mamba_heads": 8,
        "chunk_size": 16,
        "num_mem_blocks": 1,
        "hybrid_layer_ids": [1, 3],
    },
}
"""What beside SIZES makes a model small and runnable, and its caps, scales and windows visible."""
EYES = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
SEEING = ("gemma3", "llama4")
EYES |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}

PREFIX, SUFFIX, ANSWER = 9, 2, 24


def config(kind: str) -> Any:
    made = CONFIG_MAPPING[kind]
    if f"{kind}_text" in CONFIG_MAPPING:  # pictures and text: the text's part is within
        text = config(f"{kind}_text").to_dict()
        return made(text_config=text, **({"vision_config": EYES} if kind in SEEING else {}))
    base = made()
    fixed = {"head_dim"} if kind == "falcon" else set()
    known = {key: value for key, value in SIZES.items() if hasattr(base, key) and key not in fixed}
    return made(**{**known, **OPTIONS.get(kind, {})})


def build(kind: str) -> Any:
    """A model with weights large enough for attention to matter."""
    chosen, made = config(kind), transformers.AutoModelForCausalLM
    with torch.device("meta"), contextlib.suppress(NotImplementedError):
        count = sum(weight.numel() for weight in made.from_config(chosen).parameters())
        if count > LARGEST:
            raise ValueError(f"{count:,} parameters")
    torch.manual_seed(0)
    model, generator = made.from_config(chosen).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                scale = 1.2 / module.weight.shape[1] ** 0.5
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * scale)
    return model


# --- the reference: whole sequences, one at a time, in float64 -----------------------------------


def reference(model: Any) -> Any:
    wide = copy.deepcopy(model).double()
    if hasattr(wide, "set_experts_implementation"):
        wide.set_experts_implementation("eager")  # the grouped products know no float64
    return wide


@torch.no_grad()
def naive_score(model: Any, row: list[int]) -> tuple[float, float]:
    states = decoder_of(model)(input_ids=torch.tensor([row]), use_cache=False)[0][0].double()
    units, end = torch.nn.functional.normalize(states, dim=-1), len(row) - SUFFIX
    cosines = units @ units.T
    return float(cosines[PREFIX:end, PREFIX:end].mean()), float(cosines[PREFIX:end, :PREFIX].mean())


@torch.no_grad()
def naive_log_probabilities(model: Any, row: list[int], last: int) -> torch.Tensor:
    logits = model(input_ids=torch.tensor([row]), use_cache=False).logits[0, -last - 1 : -1]
    picked = torch.tensor(row[-last:])[:, None]
    return torch.log_softmax(logits.double(), -1).gather(1, picked).squeeze(1)


# --- what is compared ----------------------------------------------------------------------------


class Case(NamedTuple):
    """A model with its reference, and prompts with responses."""

    model: Any
    wide: Any
    tokenizer: Any
    prompts: Prompts
    responses: list[list[int]]


def score(case: Case) -> tuple[str, str]:
    rows = case.prompts.tokens
    prefill = Prefill(case.model, 60)
    batches = list(prefill.run([Chunk(0, rows, case.prompts.n_suffix)]))
    frame = gather(case.prompts.ids, batches, prefill.gram, prefill.n_prefix)
    wanted = np.array([naive_score(case.wide, row) for row in rows])
    return prefill.path, f"{np.abs(frame[['c_intra', 'c_inter']] - wanted).to_numpy().max():.0e}"


def train(case: Case) -> tuple[str, str]:
    """Log-probabilities in the trainer's rows; then one RL step."""
    rows, count = case.prompts.tokens, len(case.prompts.ids)
    settings = Training(
        steps=2, prompts=2, rollouts=2, lr=1e-3, max_response=ANSWER, micro_batch_tokens=200
    )
    order = curriculum("uniform", {}, Setting(count, 2, 1, None))
    answers, model = [""] * count, copy.deepcopy(case.model)
    rewards = iter(range(10**6))  # so that no group is of equal rewards
    trainer = LocalTrainer(
        model, case.tokenizer, case.prompts, answers, order, settings, 1,
        lambda texts, _: [float(next(rewards) % 2) for _ in texts],
    )  # fmt: skip
    suffixes, worst = [Suffix(k, each) for k, each in enumerate(case.responses)], 0.0
    for batch in micro_batches(split_rows(rows[4], suffixes, trainer.row_tokens), 200):
        with torch.no_grad():
            packed = pack(batch, 0)
            found, _ = log_probabilities(case.model, packed)
        for k in packed.suffix.unique().tolist():
            response = case.responses[k]
            wanted = naive_log_probabilities(case.wide, [*rows[4], *response], len(response))
            worst = max(worst, float((found[packed.suffix == k].double() - wanted).abs().max()))
    record, _ = trainer.step()
    if not np.isfinite([record["loss"], record["grad_norm"], record["signal"]]).all():
        raise ArithmeticError("an RL step is not finite")
    return "alone" if trainer.row_tokens == ALONE else "packed", f"{worst:.0e}"


def warm_up(case: Case) -> str:
    rows, losses = case.prompts.tokens, []
    phase = WarmupPhase(datasets=["none"], steps=1, batch=len(rows), lr=1e-3)
    train_supervised(
        copy.deepcopy(case.model),
        [(rows[0][:PREFIX], [Suffix(i, row[PREFIX:]) for i, row in enumerate(rows)])],
        Warmup(phases=[phase]),
        pad=0,
        report=lambda step: losses.append(step.loss),
    )
    each = [naive_log_probabilities(case.wide, row, len(row) - PREFIX) for row in rows]
    return f"{abs(losses[0] + float(torch.cat(each).mean())):.0e}"


@torch.no_grad()
def decode(case: Case) -> tuple[str, str]:
    prompts, ends, wrong = case.prompts.tokens[:4], frozenset(range(9, 14)), 0
    sampling = Sampling(0.0, 1.0, ANSWER)
    found = generate(case.model, prompts, 2, sampling, torch.Generator(), ends=ends, pad=0)
    for i, prompt in enumerate(prompts):
        row = list(prompt)
        while len(row) < len(prompt) + ANSWER and (row == prompt or row[-1] not in ends):
            logits = case.model(input_ids=torch.tensor([row]), use_cache=False).logits
            row.append(int(logits[0, -1].argmax()))
        wrong += sum(got != row[len(prompt) :] for got in found[2 * i : 2 * i + 2])
    return stepping.TRIED[case.model], f"{wrong} of {len(found)}"


def case_of(kind: str, folder: str) -> Case:
    draw = np.random.default_rng(0)
    shared = draw.integers(2, 240, PREFIX).tolist()
    rows = [[*shared, *draw.integers(2, 240, n).tolist(), 3, 4] for n in (3, 17, 8, 17, 40, 11, 26)]
    names = [str(i) for i in range(len(rows))]
    prompts = Prompts(names, rows, PREFIX, np.full(len(rows), SUFFIX))
    build(kind).save_pretrained(folder)
    model = load_model(folder)
    responses = [draw.integers(2, 240, n).tolist() for n in (5, 30, 9)]
    return Case(model, reference(model), build_tokenizer(), prompts, responses)


def tried(call: Callable[[Case], Any], case: Case) -> str:
    """A cell of the table."""
    try:
        found = call(case)
    except UserError as error:
        return "refused: " + str(error).partition(": ")[2].replace("|", "/")
    return found if isinstance(found, str) else ", ".join(found)


def summary(rows: list[tuple[str, list[str]]]) -> str:
    """Model types by how they are run, with the largest error of each kind."""
    groups: dict[tuple[str, ...], list[tuple[str, list[str]]]] = {}
    for kind, cells in rows:
        ways = tuple(cells[i].partition(", ")[0].partition(":")[0] for i in (0, 1, 3))
        groups.setdefault(ways, []).append((kind, cells))
    lines = [
        "\n| score | RL, warm-up | rollouts | largest errors | model types |",
        "| --- " * 5 + "|",
    ]
    for ways, members in sorted(groups.items(), key=lambda group: -len(group[1])):
        errors = "–"
        if "refused" not in ways:
            worst = [
                max(float(cells[i].rpartition(", ")[2]) for _, cells in members) for i in (0, 1, 2)
            ]
            wrong = sum(int(cells[3].split(", ")[1].split(" ")[0]) for _, cells in members)
            errors = f"{worst[0]:.0e}, {worst[1]:.0e}, {worst[2]:.0e}, {wrong}"
        kinds = ", ".join(kind for kind, _ in members)
        lines.append(f"| {' | '.join(ways)} | {errors} | {kinds} ({len(members)}) |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", help="model types; none: all that generate text")
    kinds = parser.parse_args().kinds or [
        kind for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if kind not in OTHERS
    ]
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    began, left, rows = time.perf_counter(), [], []
    print("| model type | score | RL | warm-up | rollouts |")
    print("| --- | --- | --- | --- | --- |")
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            try:
                case = case_of(kind, folder)
            except (*UNFIT, StrictDataclassError, UserError) as error:
                left.append(f"{kind} ({type(error).__name__}: {' '.join(str(error).split())[:60]})")
                continue
            cells = [tried(call, case) for call in (score, train, warm_up, decode)]
        print(f"| {kind} | {' | '.join(cells)} |", flush=True)
        rows.append((kind, cells))
    print(summary(rows))
    print(f"\nNot built: {'; '.join(left) or 'none'}.")
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    seconds = time.perf_counter() - began
    print(f"{versions}, {os.cpu_count()} cores ({platform.machine()}), {seconds:.0f} s.")


if __name__ == "__main__":
    main()
