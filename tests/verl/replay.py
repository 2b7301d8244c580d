"""Steps of a run on verl, made once more by the local trainer, of the same rollouts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import place as places
import torch

from gainrl.config.preset import Training
from gainrl.curricula import Groups, Outcome, Setting, build
from gainrl.data.prompts import encode
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.records import read_json, read_lines
from gainrl.training import algorithms
from gainrl.training.local.loop import LocalTrainer
from gainrl.training.rollouts import Rollouts, advantages_by_group, gather

GRPO = algorithms.named("grpo")


@dataclass
class Recorded:
    """A step as probe.py noted it: requests, what answered estimates, what was learned, a batch."""

    requests: list[Any]
    estimates: list[Any]
    observed: dict[str, Any]
    batch: dict[str, Any]


def replays(place: places.Place, folder: str) -> list[Recorded]:
    """The steps of a run whose probe's folder is given."""
    home, found = place.folder / folder, []
    requests: list[Any] = []
    estimates: list[Any] = []
    for event in read_lines(home / "curriculum.jsonl"):
        if event["event"] == "observed":
            batch = torch.load(home / f"batch-{len(found) + 1}.pt", weights_only=True)
            found.append(Recorded(requests, estimates, event, batch))
            requests, estimates = [], []
            continue
        if event["estimates"]:
            estimates.append(event["estimates"])
        if event["rows"] is not None:
            requests.append([event["rows"], event["rollouts"], event["purpose"]])
    return found


class Noting:
    """A curriculum whose requests are kept."""

    def __init__(self, curriculum: Any) -> None:
        self.curriculum, self.requests = curriculum, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.curriculum, name)

    def draw(self, seen: Groups, estimates: Groups | None) -> Any:
        """As the curriculum's."""
        request = self.curriculum.draw(seen, estimates)
        if request is not None:
            plain = request.rows.tolist(), request.rollouts.tolist(), request.purpose
            self.requests.append(list(plain))
        return request


def setting_of(place: places.Place) -> Setting:
    """What verl built the relay's curricula for."""
    job = read_json(place.run("relay") / "job.json")
    spec = job["curriculum"]
    arrays = {name: spec[name] and np.array(spec[name]) for name in ("order", "difficulty")}
    features = spec["features"] and {k: np.array(v) for k, v in spec["features"].items()}
    return Setting(
        len(job["prompt_lengths"][0]), place.content["training"]["prompts"], job["seed"],
        rollouts=spec["rollouts"], features=features, **arrays,
    )  # fmt: skip


def curriculum_steps(
    place: places.Place, spec: Any, recorded: list[Recorded]
) -> list[tuple[Rollouts, list[Any]]]:
    """The local `gather` of each step, answered as verl answered; its rollouts and requests."""
    curriculum, found = Noting(build(spec, setting_of(place))), []
    for one in recorded:
        curriculum.requests = []
        respond, more = answering(curriculum, one)
        found.append((gather(curriculum, respond, GRPO, more), curriculum.requests))
        names = [name for name in one.observed if name in Outcome.__dataclass_fields__]
        curriculum.observe(Outcome(**{name: np.array(one.observed[name]) for name in names}))
    return found


def answering(curriculum: Noting, one: Recorded) -> Any:
    """Functions for `gather`: a step's responses in the order in which they were made."""
    everything, starts = one.batch["all"], np.cumsum([0, *one.batch["all"]["sizes"]])
    ready = {row: list(range(starts[i], starts[i + 1])) for i, row in enumerate(everything["rows"])}
    estimates, given = list(one.estimates), []

    def respond(rows: np.ndarray, size: int) -> tuple[list[list[int]], list[float]]:
        given.clear()
        if curriculum.requests[-1][2] != "group":
            told, texts, right = estimates.pop(0), [], []
            for row in rows.tolist():
                at = told["rows"].index(row)
                count = round(told["accuracy"][at] * size)
                right += [1.0] * count + [0.0] * (size - count)
                texts += [[0] * (told["tokens"][at] - size + 1), *[[0]] * (size - 1)]
            given.extend([0.0] * len(right))
            return texts, right
        places_ = [ready[row].pop(0) for row in rows.tolist() for _ in range(size)]
        correct, rewards = everything["correct"], everything["rewards"]
        given.extend(float(rewards[k] - correct[k]) for k in places_)
        return [everything["responses"][k] for k in places_], [float(correct[k]) for k in places_]

    return respond, lambda _: list(given)


def replayed(
    place: places.Place,
    method: str = "grpo",
    name: str = "grpo",
    recorded: Recorded | None = None,
    spec: Any = "uniform",
) -> tuple[dict[str, Any], LocalTrainer]:
    """The local trainer's record of the first step; the advantages are checked to be verl's.

    spec: of the step's curriculum, where it says what is recorded.
    """
    path = place.folder / "probe" / "batch.pt"
    batch = recorded.batch if recorded else torch.load(path, weights_only=True)
    changes = place.content["methods"][method].get("training", {})
    settings = Training(**{**place.content["training"], **changes, "backend": "local"})
    table = pd.read_parquet(place.home / "data/sevens/train.parquet")
    folder, algorithm = place.home / "models/nano", algorithms.named(name)
    tokenizer = load_tokenizer(folder)
    ids, questions = list(table["id"]), list(table["question"])
    renderings = [encode(tokenizer, ids, questions, template=each) for each in settings.templates]
    whole = batch["all"]
    rewards = torch.as_tensor(whole["rewards"])
    sizes = np.array(whole["sizes"])
    rollouts = Rollouts(
        np.array(whole["rows"]), sizes, whole["responses"], rewards, torch.zeros_like(rewards),
        kept=np.array(whole["kept"]), estimated=whole["tokens"][0], free=whole["tokens"][1],
        correct=torch.as_tensor(whole["correct"]) if settings.format_weight else None,
    )  # fmt: skip
    setting = Setting(len(table), settings.prompts, 0, rollouts=settings.rollouts)
    curriculum = build(spec, setting)
    curriculum.draw(Groups.none(), None)
    trainer = LocalTrainer(
        load_model(folder, trained=True), tokenizer, encode(tokenizer, ids, questions),
        list(table["answer"]), curriculum, settings, 0, lambda *_: 0.0,
        renderings=renderings, algorithm=algorithm,
    )  # fmt: skip
    if trainer.templates:
        trainer.prompts = trainer.templates.draw()
    advantages = advantages_by_group(algorithm, rewards, sizes)
    rollouts = replace(rollouts, advantages=advantages)
    theirs = torch.stack([row[0] for row in batch["advantages"]])
    torch.testing.assert_close(rollouts.trained.advantages, theirs, atol=1e-5, rtol=0)
    trainer._roll_out = lambda: rollouts  # type: ignore[method-assign]
    credit = trainer._credit

    def noted(found: Rollouts) -> Any:
        trainer.masked, learned = credit(found)  # type: ignore[attr-defined]
        return trainer.masked, learned

    trainer._credit = noted  # type: ignore[method-assign]
    return trainer.step()[0], trainer
