"""What a start model says of prompts: C and pass rates; sharded, and kept as it comes."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm
from transformers import AutoConfig

from gainrl.config.models import HubModel
from gainrl.data.chats import ChatRenderer, Messages
from gainrl.data.prompts import NO_PREFIX, Chunk, Prompts
from gainrl.data.templates import check_template, template_hash
from gainrl.errors import DataError, ModelError
from gainrl.evaluation import answering
from gainrl.evaluation.answering import Questions
from gainrl.evaluation.engines import AnswerRequest, Engine, TransformersEngine
from gainrl.evaluation.samples import Benchmark, graded
from gainrl.evaluation.vllm_engine import VllmEngine
from gainrl.grading.graders import Grader
from gainrl.models.fetch import download
from gainrl.models.loading import folder_ends, load_model, load_tokenizer
from gainrl.models.resources import keep_freed_memory, scoring_dtype, token_budget
from gainrl.models.sampling import Sampling
from gainrl.ordering.asked import Answering, Shards
from gainrl.signals.parts import Parts
from gainrl.signals.prefill import CHUNK, Batch, Number, Prefill, gather

ANSWERED_AT_ONCE = 64
"""Answers of a batch, without vLLM."""
PATIENCE = 1800.0
"""Seconds without a word after which vLLM is ended."""


@dataclass(frozen=True)
class Start:
    """A start model: its name, as the user gave it, and the folder of its files."""

    name: str
    folder: Path

    @classmethod
    def named(cls, name: str) -> Start:
        """A folder, or a model of the hub.

        Raises:
            ModelError: it is neither.
        """
        if (path := Path(name)).is_dir():
            return cls(name, path)
        if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            return cls(name, download(HubModel(source="hub", id=name)))
        raise ModelError(f"--model {name}: no folder, and no id of the hub (OWNER/NAME)")

    @cached_property
    def tokenizer(self) -> Any:
        """With its chat template."""
        return load_tokenizer(self.folder)

    @cached_property
    def sizes(self) -> Any:
        """transformers' configuration of the text model."""
        return AutoConfig.from_pretrained(self.folder).get_text_config()

    @property
    def window(self) -> int | None:
        """Longest sequence, tokens, if the configuration says so."""
        return getattr(self.sizes, "max_position_embeddings", None)

    @property
    def digest(self) -> str:
        """Of the weights, by the names, sizes and times of their files."""
        files = sorted(self.folder.glob("*.safetensors"))
        stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return _digest([str(self.folder.resolve()), *stats])

    def prompts(self, conversations: Sequence[Messages], system: str | None) -> Prompts:
        """Conversations as the model reads them; n_prefix is 0 where they share none.

        Raises:
            DataError: a prompt lost its question, or has a token that the model lacks.
            ModelError: there is no chat template, or it refuses the messages.
        """
        try:
            check_template(self.tokenizer, "{question}", system, {})
        except ModelError as error:
            raise ModelError(f"{self.name}: {error}") from error
        renderer = ChatRenderer(self.tokenizer, rows=getattr(self.sizes, "vocab_size", None))
        ids = [f"row {row}" for row in range(len(conversations))]
        tokens, suffix = renderer.rendered(ids, conversations)
        return Prompts(ids, tokens, Chunk(0, tokens, suffix).common(), suffix)


def take(prompts: Prompts, rows: Sequence[int]) -> Prompts:
    """Some of the prompts, with the prefix that these share."""
    tokens = [prompts.tokens[row] for row in rows]
    suffix = prompts.n_suffix[list(rows)]
    ids = [prompts.ids[row] for row in rows]
    return Prompts(ids, tokens, Chunk(0, tokens, suffix).common(), suffix)


def scores(start: Start, prompts: Prompts, store: Path, shards: Shards) -> pd.DataFrame | None:
    """C of prompts (`gainrl.signals.prefill.gather`); None where only one shard was measured.

    Raises:
        DataError: the prompts share no prefix.
        ModelError: the model cannot be loaded.
    """
    if not prompts.n_prefix:
        raise DataError(NO_PREFIX.replace("give the data set a 'system' prompt", "give --system"))
    keep_freed_memory()
    dtype = scoring_dtype("auto", start.folder)
    network = load_model(start.folder, dtype=dtype)
    budget = token_budget("auto", network)
    head = {**_head(start, prompts), "dtype": dtype, "budget": budget}
    parts, prefill = Parts(store / "scores", head), Prefill(network, budget)
    sizes = prompts.n_question

    def wanted(number: Number) -> bool:
        mine = shards.one is None or sum(number) % shards.count == shards.one
        return mine and parts.missing(number)

    kept = parts.load()
    with _bar("scoring", "question tokens", int(sizes.sum())) as bar:
        bar.update(_tokens(sizes, kept))
        for batch in prefill.run(_chunks(prompts), wanted):
            parts.save(batch)
            bar.update(_tokens(sizes, [batch]))
    if shards.one is not None:
        return None
    return gather(prompts.ids, parts.load(), prefill.gram, prefill.n_prefix)


def _tokens(sizes: np.ndarray, found: Sequence[Batch]) -> int:
    return int(sum(sizes[batch.rows].sum() for batch in found))


def _chunks(prompts: Prompts) -> Iterator[Chunk]:
    for at in range(0, len(prompts.tokens), CHUNK):
        part = slice(at, at + CHUNK)
        yield Chunk(at, prompts.tokens[part], prompts.n_suffix[part])


def pass_rates(
    start: Start,
    prompts: Prompts,
    golds: Sequence[str],
    grader: Grader,
    how: Answering,
    store: Path,
    shards: Shards,
) -> np.ndarray | None:
    """(N,) share of right answers; None where only one shard was generated.

    Raises:
        BackendError: vLLM failed; what it had answered is kept.
    """
    sampling = Sampling(how.temperature, 1.0, how.max_response)
    head = {**_head(start, prompts), "golds": _digest(golds), "with_vllm": how.with_vllm}
    head |= {"samples": how.samples, "temperature": how.temperature, "seed": how.seed}
    asked = Questions(
        start.name,
        start.folder,
        "vllm" if how.with_vllm else "transformers",
        start.tokenizer,
        Benchmark(start.name, prompts, golds, grader),
        sampling,
        how.samples,
        how.seed,
        start.window,
        shards.count,
        store / "answers",
        {**head, "max_response": how.max_response},
    )

    def engine(wanted: Sequence[AnswerRequest], log: Path) -> Engine:
        return _engine(start, how, wanted, sampling, log)

    for shard in shards.mine:
        with _bar(f"answering, shard {shard}", "answers", 0) as bar:

            def told(done: int, due: int, bar: Any = bar) -> None:
                bar.total = due
                bar.update(done - bar.n)

            answering.generate(asked, shard, engine, told)
    if shards.one is not None:
        return None
    table = graded(asked.benchmark, answering.gathered(asked).answers, start.tokenizer)
    return table.groupby("id", sort=False)["correct"].mean().loc[prompts.ids].to_numpy()


def _engine(
    start: Start, how: Answering, wanted: Sequence[AnswerRequest], sampling: Sampling, log: Path
) -> Engine:
    if not how.with_vllm:
        return TransformersEngine(load_model(start.folder), start.tokenizer, ANSWERED_AT_ONCE)
    longest = max(len(each.tokens) + each.limit(sampling) for each in wanted)
    return VllmEngine(
        how.python or Path(sys.executable),
        start.folder,
        folder_ends(start.folder, start.tokenizer),
        {"dtype": "auto", "max_model_len": longest},
        {},
        log,
        PATIENCE,
    )


def _head(start: Start, prompts: Prompts) -> dict[str, Any]:
    """What measurements depend on."""
    return {
        "weights": start.digest,
        "template": template_hash(start.tokenizer),
        "prompts": _digest(prompts.tokens),
    }


def _digest(values: Any) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


@contextmanager
def _bar(what: str, unit: str, total: int) -> Iterator[Any]:
    """A progress bar with the time that is left; a line every ten seconds in a log."""
    terminal = sys.stderr.isatty()
    with tqdm(
        total=total,
        desc=what,
        unit=f" {unit}",
        unit_scale=True,
        disable=False,  # TQDM_DISABLE is set for the pipeline's logs
        mininterval=0.2 if terminal else 10.0,
        dynamic_ncols=terminal,
    ) as bar:
        yield bar
