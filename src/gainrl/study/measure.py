"""What the signal is worth: measurements behind the figures about C, each from stored prompts."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pandas as pd
import torch

from gainrl import plan
from gainrl.config.evaluation import Evaluation
from gainrl.config.studies import DynamicsStudy
from gainrl.data.prompts import Prompts
from gainrl.evaluation.accuracy import answer
from gainrl.evaluation.samples import Benchmark
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.models.resources import token_budget
from gainrl.plan import RunKey
from gainrl.records import (
    DIFFICULTY,
    GRADIENTS,
    LAYERS,
    PROBE,
    SAMPLES,
    atomic_write,
    read_table,
    write_table,
)
from gainrl.signals.layers import core_neurons, cosine_maps, layer_profile
from gainrl.signals.prefill import score
from gainrl.stages.common import Context, grader_for, render_prompts, reward_for
from gainrl.stages.score import track, train_table, with_signals
from gainrl.training.local.gradients import gradient_norms


def _study(context: Context, part: str) -> Any:
    return getattr(plan.need_studies(context.preset, part), part)


def _first(
    context: Context, model: str, dataset: str, network: Any, count: int, room: int = 0
) -> tuple[pd.DataFrame, Prompts]:
    """The first `count` training prompts, rendered, with the segments of that many."""
    table = train_table(context.layout.prompts(model, dataset), dataset).head(count)
    tokenizer = load_tokenizer(context.layout.model(model))
    return table, render_prompts(context, tokenizer, model, dataset, table, network, room=room)


def study_layers(context: Context, model: str, dataset: str) -> None:
    """Layer profile (c_intra and c_inter by layer) and cosine maps of a few prompts (Figure 3).

    The mapped prompts are spread over the pass rates of the start model: from the most often
    solved to the least, as in the paper (10, 5 and 0 of 10).
    """
    torch.set_num_threads(context.preset.threads)
    study = _study(context, "layers")
    network = load_model(context.layout.model(model), dtype="float32")
    _, prompts = _first(context, model, dataset, network, study.prompts)
    began = time.perf_counter()
    target = context.layout.study(model, dataset, "layers")
    profile = layer_profile(network, prompts)
    rates = read_table(context.layout.signal(model, dataset, "difficulty"), DIFFICULTY)
    rate = dict(zip(rates["id"], rates["pass_rate"], strict=True))
    samples = int(rates["samples"].iloc[0])
    ranked = sorted(prompts.ids, key=lambda name: (-rate[name], name))
    places = np.linspace(0, len(ranked) - 1, min(study.maps, len(ranked))).round().astype(int)
    arrays: dict[str, Any] = {}
    about: list[dict[str, Any]] = []
    for place in places:
        name = ranked[int(place)]
        row = prompts.ids.index(name)
        arrays[f"map{len(about)}"] = cosine_maps(network, prompts.tokens[row])
        about.append(
            {
                "id": name,
                "n_prefix": prompts.n_prefix,
                "n_question": int(prompts.n_question[row]),
                "n_suffix": int(prompts.n_suffix[row]),
                "correct": round(rate[name] * samples),
                "samples": samples,
            }
        )
    maps = context.layout.study(model, dataset, "maps")
    with atomic_write(maps) as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)
    write_table(target, profile, LAYERS, {"prompts": len(prompts.ids)})
    measures = {"seconds": time.perf_counter() - began, "prompts": len(prompts.ids)}
    track(context, "layers", model, dataset, target, measures, plan.layers_slice, [maps])
    print(f"{len(prompts.ids)} prompts, {len(about)} maps in {measures['seconds']:.1f} s")


def study_answers(context: Context, model: str, dataset: str) -> None:
    """Answers of the start model to the first training prompts, several each (Figure 2)."""
    torch.set_num_threads(context.preset.threads)
    study = _study(context, "answers")
    folder, began = context.layout.model(model), time.perf_counter()
    network = load_model(folder, dtype=context.preset.spec(model).dtype)
    samples = _answers(context, model, dataset, network, study.prompts, study.samples)[1]
    target = context.layout.study(model, dataset, "answers")
    write_table(target, samples, SAMPLES)
    rate = float(samples["correct"].mean())
    measures = {"seconds": time.perf_counter() - began, "pass_rate": rate}
    track(context, "answers", model, dataset, target, measures, plan.answers_slice)
    print(f"{model} on {dataset}: {rate:.1%} of {len(samples)} answers")


def _answers(
    context: Context, model: str, dataset: str, network: Any, prompts: int, samples: int
) -> tuple[Prompts, pd.DataFrame]:
    """Sampled as in training, graded as everywhere; the same draws for every model."""
    training = context.preset.training_for(dataset, model)
    evaluation = context.preset.evaluation_for(dataset, model)
    room = training.max_response
    table, rendered = _first(context, model, dataset, network, prompts, room)
    settings = Evaluation(
        samples=samples,
        temperature=training.temperature,
        top_p=training.top_p,
        batch=evaluation.batch,
        seed=evaluation.seed,
    )
    tokenizer = load_tokenizer(context.layout.model(model))
    benchmark = Benchmark(
        dataset, rendered, list(table["answer"]), grader_for(context.preset, dataset)
    )
    return rendered, answer(network, tokenizer, benchmark, settings, room)


def study_gradients(context: Context, model: str, dataset: str) -> None:
    """Gradient norm of single prompts' GRPO loss under the start model."""
    torch.set_num_threads(context.preset.threads)
    study = _study(context, "signal")
    folder, began = context.layout.model(model), time.perf_counter()
    network, tokenizer = load_model(folder, trained=True), load_tokenizer(folder)
    settings = context.preset.training_for(dataset, model)
    seed = context.preset.evaluation_for(dataset, model).seed
    table, prompts = _first(
        context, model, dataset, network, study.gradient_prompts, settings.max_response
    )
    frame = gradient_norms(
        network, tokenizer, prompts, list(table["answer"]), settings, study.gradient_rollouts, seed,
        reward_for(context.preset, dataset),
    )  # fmt: skip
    target = context.layout.study(model, dataset, "gradients")
    write_table(target, frame, GRADIENTS)
    idle = float((frame["gradient_norm"] == 0).mean())
    measures = {"seconds": time.perf_counter() - began, "zero_variance": idle}
    track(context, "gradients", model, dataset, target, measures, plan.gradients_slice)
    print(f"{len(frame)} prompts in {measures['seconds']:.1f} s, {idle:.0%} without a gradient")


def _probed(
    context: Context, key: RunKey, network: Any, study: DynamicsStudy
) -> tuple[Prompts, pd.DataFrame]:
    """The probe's prompts, and by id how many answers were right (sum) of how many (size)."""
    place = context.preset.start_of(key.model, key.seed), key.dataset
    if not study.samples:
        _, prompts = _first(context, *place, network, study.prompts)
        return prompts, pd.DataFrame({"sum": 0, "size": 0}, index=prompts.ids)
    prompts, samples = _answers(context, *place, network, study.prompts, study.samples)
    return prompts, samples.groupby("id")["correct"].agg(["sum", "size"])


def probe_run(context: Context, key: RunKey) -> None:
    """The signal, the answers and the core neurons of the policy at each of a run's snapshots."""
    torch.set_num_threads(context.preset.threads)
    study = _study(context, "dynamics")
    layout, settings = context.layout, context.preset.training_for(key.dataset, key.model)
    kept = plan.probe_steps(context.preset, key.model, key.dataset, key.method)
    folders = {0: layout.model(context.preset.start_of(key.model, key.seed))}
    folders |= {step: layout.snapshot(key, step) for step in kept}
    folders[settings.steps] = layout.trained(key)
    tables, cores = [], []
    for step, folder in folders.items():
        network = load_model(folder, dtype="float32")
        prompts, right = _probed(context, key, network, study)
        scoring = context.preset.scoring
        frame = score(
            network, prompts, token_budget(scoring.batch_tokens, network), scoring.taps,
            scoring.with_released,
        )  # fmt: skip
        frame = with_signals(frame, scoring)
        right = right.loc[frame["id"]]
        frame = frame[["id", "c_intra", "c_inter", "c"]].assign(
            step=step, correct=right["sum"].to_numpy(), samples=right["size"].to_numpy()
        )
        tables.append(frame)
        cores.append(core_neurons(network, prompts))
        print(f"step {step}: {right['sum'].sum()} of {right['size'].sum()} right", flush=True)
    with atomic_write(layout.neurons(key)) as file:
        steps = np.array(list(folders))
        np.savez_compressed(file, steps=steps, cores=np.packbits(np.stack(cores), axis=2),
                            neurons=np.array(cores[0].shape[1]))  # fmt: skip
    table = pd.concat(tables, ignore_index=True)
    write_table(layout.probe(key), table[list(PROBE.required)], PROBE)
