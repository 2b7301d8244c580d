"""What the start model's prefill says of a prompt beyond its scores, for curricula that learn."""

from __future__ import annotations

import time

import pandas as pd
import torch

from gainrl import plan
from gainrl.data.templates import template_hash
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.models.resources import scoring_dtype, token_budget
from gainrl.records import FEATURES, read_json, write_table
from gainrl.signals.pooled import mean_states, principal_components
from gainrl.stages.common import Context, render_prompts
from gainrl.stages.score import track, train_table


def measure_features(context: Context, model: str, dataset: str) -> None:
    """Principal components of the mean final state over each training question's tokens.

    Raises:
        DataError: no prompts, a prompt that does not fit, or no shared prefix.
    """
    torch.set_num_threads(context.preset.threads)
    settings, folder = context.preset.scoring, context.layout.model(model)
    dtype = scoring_dtype(settings.dtype, folder)
    network, tokenizer = load_model(folder, dtype=dtype), load_tokenizer(folder)
    table = train_table(context.layout.prompts(model, dataset), dataset)
    prompts = render_prompts(context, tokenizer, model, dataset, table, network)
    began = time.perf_counter()
    states = mean_states(network, prompts, token_budget(settings.batch_tokens, network))
    names = [name for name in FEATURES.required if name != "id"]
    values, shares = principal_components(states, len(names))
    seconds = time.perf_counter() - began
    frame = pd.DataFrame(values, columns=names)
    frame.insert(0, "id", prompts.ids)
    metadata = {
        "model": read_json(context.layout.model_note(model))["weights"],
        "template": template_hash(tokenizer, context.preset.spec(model).template_arguments),
        "dtype": dtype,
        "variance": shares.tolist(),
        "seconds": seconds,
        "prompt_tokens": int(prompts.n_prefix + prompts.n_question.sum()),
    }
    target = context.layout.signal(model, dataset, "features")
    write_table(target, frame, FEATURES, metadata)
    measures = {"prompts": len(frame), "seconds": seconds, "variance": float(shares.sum())}
    track(context, "features", model, dataset, target, measures, plan.features_slice)
    print(f"{len(frame)} prompts in {seconds:.2f} s; {shares.sum():.1%} of the variance")
