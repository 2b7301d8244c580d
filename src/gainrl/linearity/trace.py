"""How straight a run moved, and what a line through two of its snapshots gives."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import AutoConfig

from gainrl import plan
from gainrl.config.linearity import Extrapolation
from gainrl.errors import DataError
from gainrl.evaluation.accuracy import answer
from gainrl.evaluation.samples import Benchmark
from gainrl.linearity import measures as linearity
from gainrl.linearity import plan as linearity_plan
from gainrl.linearity.measures import Selected, Walks
from gainrl.models.extrapolated import Extrapolated, extrapolated_weights
from gainrl.models.loading import end_tokens, load_model, load_tokenizer, pad_token
from gainrl.models.sampling import Sampling, generate
from gainrl.models.tensors import TensorFolder
from gainrl.models.weights import MODULES, distance, place_of, same_weights
from gainrl.plan import RunKey
from gainrl.records import LINEARITY, PROMPTS, finite, read_table, write_json, write_table
from gainrl.stages.common import Context, render_prompts
from gainrl.stages.evaluate import load_benchmark, max_response
from gainrl.stages.prompts import fitting
from gainrl.training.forced import divergences, forced_log_probabilities, packed_responses
from gainrl.training.layout import row_tokens_for
from gainrl.training.packing import Packed

_RESPONSES = 43  # whose draws


def trace_run(context: Context, key: RunKey) -> None:
    """Measure one run: linearity.parquet, and linearity.json with what extrapolation gives.

    Raises:
        ModelError: a snapshot is missing, or differs in shape from the others.
        DataError: there are no held-out prompts.
    """
    torch.set_num_threads(context.preset.threads)
    trace = Trace(context, key)
    walks = linearity.random_walks(len(trace.steps), trace.settings.walks, trace.settings.seed)
    found = trace.weights(walks)
    tokens = {}
    for part, step in (("tokens_start", 0), ("tokens_last", trace.steps[-1])):
        packs = trace.responses(step)
        found += trace.tokens(part, packs, walks)
        tokens[part] = sum(len(packed.targets) for packed in packs)
    facts = {
        "steps": trace.steps,
        "tokens": tokens,
        **({"overlong": trace.held_out[1]} if trace.held_out[1]["overlong"] else {}),
        "extrapolations": trace.extrapolations(packs),  # on the last model's own responses
    }
    frame = pd.DataFrame([*found, linearity.walk_row(walks)])
    write_table(context.layout.linearity(key), frame, LINEARITY)
    write_json(context.layout.extrapolated(key), facts)
    whole = frame[(frame["grouping"] == "all") & (frame["selection"] == "all")]
    for row in whole.to_dict("records"):
        print(f"{row['part']}: median R^2 {row['median']:.3f} of {row['kept']:,}", flush=True)


@dataclass(frozen=True, eq=False)
class Trace:
    """A run's snapshots and what is measured of them."""

    context: Context
    key: RunKey

    @cached_property
    def settings(self) -> Any:
        """The section `linearity`."""
        return linearity_plan.need(self.context.preset)

    @cached_property
    def training(self) -> Any:
        """The run's section `training`."""
        key = self.key
        return self.context.preset.training_for(key.dataset, key.model, key.method)

    @cached_property
    def folders(self) -> dict[int, Path]:
        """Where the weights of each step are, from the start model to the last."""
        layout, kept = self.context.layout, self.settings.kept(self.training.steps)
        snapshots = {step: layout.snapshot(self.key, step) for step in kept}
        start = self.context.preset.start_of(self.key.model, self.key.seed)
        return {0: layout.model(start), **snapshots}

    @property
    def steps(self) -> list[int]:
        """RL steps of the snapshots, from 0 on."""
        return list(self.folders)

    @cached_property
    def tokenizer(self) -> Any:
        """The start model's, which RL does not change."""
        return load_tokenizer(self.folders[0])

    def model(self, step: int) -> Any:
        """The model of a step, in fp32."""
        return load_model(self.folders[step], dtype="float32")

    # --- R^2 ---

    def weights(self, walks: Walks) -> list[dict[str, Any]]:
        """R^2 of the weights: of all, by module, by layer and by tensor."""
        snapshots = same_weights(list(self.folders.values()))
        tensors = {name: self._tensor(name, snapshots) for name in sorted(snapshots[0].files)}
        places = {name: place_of(name) for name in tensors}
        layers = sorted({place.layer for place in places.values() if place.layer is not None})
        groups = {("all", "all"): list(tensors)}
        for module in MODULES:
            groups["module", module] = [n for n, place in places.items() if place.module == module]
        for layer in (None, *layers):
            name = "outside" if layer is None else str(layer)
            groups["layer", name] = [n for n, place in places.items() if place.layer == layer]
        groups |= {("tensor", name): [name] for name in tensors}
        joined = {at: _joined([tensors[n] for n in names]) for at, names in groups.items() if names}
        return linearity.rows("weights", joined, walks)

    def _tensor(self, name: str, snapshots: Sequence[TensorFolder]) -> Selected:
        settings, chosen, tables = self.settings, None, []
        for snapshot in snapshots:
            flat = snapshot.tensor(name).float().flatten()
            if chosen is None:
                number = zlib.crc32(name.encode())
                places = linearity.sampled(len(flat), settings.share, settings.seed, number)
                chosen = torch.from_numpy(places)
            tables.append(flat[chosen])
        values = torch.stack(tables)
        exact, rounded = (t.double().numpy() for t in (values, values.bfloat16()))
        return linearity.weight_r_squared(self.steps, exact, rounded)

    @cached_property
    def held_out(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        """The first held-out prompts that fit the model, and which of all do not."""
        key, config = self.key, AutoConfig.from_pretrained(self.folders[0])
        path = self.context.layout.split(key.dataset, "eval")
        table = read_table(path, PROMPTS)
        if table.empty:
            raise DataError(f"{path}: no held-out prompts")
        most = self.context.preset.training_for(key.dataset, key.model).max_prompt
        limits = plan.PromptLimits(most, self.training.max_response)
        chosen, note = fitting(
            self.context, self.tokenizer, key.model, key.dataset, path, table, config, limits
        )
        return chosen.head(self.settings.prompts), note

    def responses(self, step: int) -> list[Packed]:
        """Held-out prompts with responses of one step's model, the same for every snapshot."""
        context, key, training = self.context, self.key, self.training
        network = self.model(step)
        prompts = render_prompts(
            context, self.tokenizer, key.model, key.dataset, self.held_out[0], network,
            segments=False, room=training.max_response,
        )  # fmt: skip
        seed = int(np.random.SeedSequence([self.settings.seed, _RESPONSES]).generate_state(1)[0])
        draws = torch.Generator(device=next(network.parameters()).device).manual_seed(seed)
        sampling = Sampling(training.temperature, training.top_p, training.max_response)
        samples, pad = self.settings.samples, pad_token(network, self.tokenizer)
        batch = context.preset.evaluation_for(key.dataset, key.model).batch
        size = max(batch // samples, 1)
        given: list[list[int]] = []
        for start in range(0, len(prompts.tokens), size):
            given += generate(
                network, prompts.tokens[start : start + size], samples, sampling, draws,
                ends=end_tokens(network, self.tokenizer), pad=pad,
            )  # fmt: skip
        vocabulary = network.get_output_embeddings().weight.shape[0]
        longest = max(map(len, prompts.tokens)) + training.max_response
        row_tokens = row_tokens_for(network, training.row_tokens, prompts.tokens, longest, pad)
        return packed_responses(prompts.tokens, given, pad, row_tokens, vocabulary)

    def tokens(self, part: str, packs: Sequence[Packed], walks: Walks) -> list[dict[str, Any]]:
        """R^2 of the responses' tokens, teacher-forced under every snapshot."""
        values = np.stack([forced_log_probabilities(self.model(s), packs) for s in self.steps])
        selected = linearity.token_r_squared(self.steps, values)
        return linearity.rows(part, {("all", "all"): selected}, walks)

    # --- extrapolation ---

    def extrapolations(self, packs: Sequence[Packed]) -> list[dict[str, Any]]:
        """What each line through two snapshots gives, beside what training gave."""
        known: dict[int, dict[str, float]] = {}
        return [self._extrapolation(each, packs, known) for each in self.settings.extrapolate]

    def _extrapolation(
        self, line: Extrapolation, packs: Sequence[Packed], known: dict[int, dict[str, float]]
    ) -> dict[str, Any]:
        folders = [self.folders[step] for step in (line.start, line.end, line.target)]
        begin, end, goal = same_weights(folders)
        apart = distance(begin, end, goal, line.factor)
        first, second, trained = (load_model(folder, dtype="float32") for folder in folders)
        candidates = {
            "weights": extrapolated_weights(first, second, line.factor),
            "logits": Extrapolated(first, second, line.factor),
            "stay": second,
        }
        accuracy = {
            "weights": self._accuracy(candidates["weights"]),
            "logits": self._accuracy(candidates["logits"]),
        }
        for name, step, model in (("stay", line.end, second), ("trained", line.target, trained)):
            if step not in known:
                known[step] = self._accuracy(model)
            accuracy[name] = known[step]
        print(f"{line.label}: {accuracy}", flush=True)
        return {
            **line.model_dump(mode="json", by_alias=True),
            "weight_distance": finite(apart.relative),
            "cosine": finite(apart.cosine),
            "kl": divergences(trained, candidates, packs),
            "accuracy": accuracy,
        }

    def _accuracy(self, model: Any) -> dict[str, float]:
        """pass@1 on each benchmark of the run, on equal draws for every model."""
        preset, found = self.context.preset, {}
        for name, benchmark in self._benchmarks.items():
            settings = preset.evaluation_for(name, self.key.model)
            if self.settings.answers:
                settings = settings.model_copy(update={"samples": self.settings.answers})
            limit = max_response(preset, self.key.model, name)
            samples = answer(model, self.tokenizer, benchmark, settings, limit)
            found[name] = float(samples["correct"].mean())
        return found

    @cached_property
    def _benchmarks(self) -> Mapping[str, Benchmark]:
        key, network = self.key, self.model(0)
        names = plan.benchmarks_of(self.context.preset, key.model, key.dataset, key.method)
        return {
            name: load_benchmark(self.context, key.model, name, network.config, self.tokenizer)
            for name in names
        }


def _joined(parts: Sequence[Selected]) -> Selected:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
