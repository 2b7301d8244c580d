"""Tiny Llamas as others could give them, with tokenizers of bytes, and presets that use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from gainrl import plan
from gainrl.stages.common import Context

PLAIN = (
    "{% for turn in messages %}<{{ turn.role }}>{{ turn.content | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
ROWS = 259
"""Of the embedding: a start, an end and a pad token, and all bytes."""


def bytes_tokenizer(template: str | None = PLAIN, **named: str | None) -> Any:
    """A tokenizer of ROWS tokens; `named`: other eos_token, pad_token and so on, or None."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: i for i, word in enumerate(["<s>", "</s>", "<pad>", *alphabet])}
    core = Tokenizer(models.BPE(words, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    given = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", **named}
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, **{key: token for key, token in given.items() if token}
    )
    if template is not None:
        made.chat_template = template
    return made


def save(folder: Path, tokenizer: Any, rows: int = ROWS, ends: int | list[int] | None = 1) -> Path:
    """A model folder; ends: of its generation_config.json."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=rows, max_position_embeddings=256, **sizes, **heads)
    network = LlamaForCausalLM(config)
    network.generation_config.eos_token_id = ends
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def context_of(root: Path, folder: Path, model: Any = None, **dataset: Any) -> Context:
    """A preset with the model in `folder` and a data set of sums, and results below `root`.

    model, dataset: further keys of these sections.
    """
    rows = [{"question": f"What is {i} + {i % 3}?", "answer": str(i + i % 3)} for i in range(8)]
    path = root / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = {"source": "file", "train_file": str(path), "eval_file": str(path), "eval": 4}
    preset = {
        "preset": "given",
        "seeds": [0],
        "models": {"mine": {"source": "local", "path": str(folder), **(model or {})}},
        "datasets": {"sums": {**data, "system": "Answer briefly.", **dataset}},
        "training": {"steps": 1, "prompts": 4, "rollouts": 2, "lr": 1e-5, "max_prompt": 200,
                     "max_response": 6, "save_every": 1},
        "evaluation": {"every": 1},
        "methods": {"grpo": {"curriculum": "uniform"}},
        "experiments": {"t": {"models": ["mine"], "datasets": ["sums"], "methods": ["grpo"]}},
    }  # fmt: skip
    return Context(plan.load(preset), root / "results")
