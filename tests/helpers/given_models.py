"""Tiny models of the kinds that users bring, and what is wrong with some of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from gainrl import plan
from gainrl.models.nano import build_tokenizer
from gainrl.stages import prepare
from gainrl.stages.common import Context

TINY = Path(__file__).parents[2] / "experiments" / "tiny.yaml"

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def save(
    folder: Path,
    kind: str = "llama",
    seed: int = 0,
    saved: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """A random model and the nano model's tokenizer."""
    tokenizer = build_tokenizer()
    torch.manual_seed(seed)
    sizes = {**SIZES, "vocab_size": len(tokenizer), **changes}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes))
    model.save_pretrained(folder, **(saved or {}))
    tokenizer.save_pretrained(folder)
    return folder


def rewrite(folder: Path, change: Any) -> Path:
    """Change the stored weights."""
    path = folder / "model.safetensors"
    kept = {name: weight.clone() for name, weight in load_file(path).items()}
    save_file(change(kept), path, {"format": "pt"})
    return folder


def configure(folder: Path, **changes: Any) -> Path:
    """Change config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def in_bin(folder: Path, shards: int = 1) -> Path:
    """Store the weights as PyTorch did before safetensors."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    path.unlink()
    if shards == 1:
        torch.save(weights, folder / "pytorch_model.bin")
        return folder
    index = {}
    for number in range(shards):
        names = sorted(weights)[number::shards]
        part = f"pytorch_model-{number + 1:05}-of-{shards:05}.bin"
        torch.save({name: weights[name] for name in names}, folder / part)
        index |= dict.fromkeys(names, part)
    (folder / "pytorch_model.bin.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index})
    )
    return folder


def context_for(source: Path, root: Path, /, **keys: Any) -> Context:
    """The tiny preset, whose model is a folder."""
    changed = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    local = {} if "source" in keys else {"source": "local", "path": str(source)}
    changed["models"]["nano"] = {**local, **keys}
    return Context(plan.load(changed), root)


def built(source: Path, root: Path, **keys: Any) -> Path:
    """The folder that the `model` stage writes."""
    context = context_for(source, root, **keys)
    prepare.build_model(context, "nano")
    return context.layout.model("nano")
