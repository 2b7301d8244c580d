"""Loaded in verl's processes by VERL_USE_EXTERNAL_MODULES: notes what the tests ask about.

Below the folder GAINRL_PROBE: curriculum.jsonl, a line a draw and one an outcome; batch.pt, the
rollouts of the first step as verl has them; jump-<n>.pt, the weights at RL-Extra's nth jump.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

import torch

FOLDER = Path(os.environ["GAINRL_PROBE"])


def note(**values):
    FOLDER.mkdir(exist_ok=True)
    with open(FOLDER / "curriculum.jsonl", "a") as file:
        file.write(json.dumps(values) + "\n")


class Noted:
    """A curriculum whose batches and outcomes are written down.

    With several specifications in GAINRL_RELAY, every step is another curriculum's, in turn.
    """

    def __init__(self, curricula):
        self._all, self._now = curricula, 0
        self.setting = curricula[0].setting

    def __getattr__(self, name):
        return getattr(self._all[self._now], name)

    def draw(self, seen, estimates):
        before = self.state_dict()
        request = self._all[self._now].draw(seen, estimates)
        known = {key: plain(value) for key, value in (("seen", seen), ("estimates", estimates))}
        note(event="drawn", before=before, **known, **(plain(request) or {"rows": None}))
        return request

    def observe(self, outcome):
        self._all[self._now].observe(outcome)
        note(event="observed", **plain(outcome), after=self.state_dict())
        self._now = (self._now + 1) % len(self._all)


def plain(values):
    """A dataclass of arrays as JSON has it."""
    if values is None:
        return None
    found = dataclasses.asdict(values)
    return {key: getattr(value, "tolist", lambda v=value: v)() for key, value in found.items()}


def keep_batches(trainer):
    """Write a step's rollouts, advantages, log-probabilities and masks to batch[-STEP].pt.

    Of the first step alone; of all of them where GAINRL_KEEP is set.
    """
    import transfer_queue as tq

    outcome = trainer._outcome

    def noted(self):
        path = FOLDER / "batch.pt"
        if "GAINRL_KEEP" in os.environ:
            path = FOLDER / f"batch-{self.global_steps}.pt"
        if not path.exists():
            fields = ["prompts", "responses", "rm_scores", "advantages", "old_log_probs"]
            fields += ["rollout_log_probs", "response_mask", "loss_mask"]
            fields += ["values", "returns"] if self.use_critic else []
            data = tq.kv_batch_get(keys=self.keys, partition_id="train", select_fields=fields)
            kept = {name: [row.clone() for row in data[name].unbind()] for name in fields}
            rollouts, trained = self.rollouts, self.trained
            kept["rows"] = trained.rows.repeat(trained.sizes).tolist()
            kept["all"] = {
                "rows": rollouts.rows.tolist(),
                "sizes": rollouts.sizes.tolist(),
                "kept": rollouts.kept.tolist(),
                "responses": [tokens.tolist() for tokens in rollouts.responses],
                "rewards": rollouts.rewards,
                "correct": rollouts.rewards if rollouts.correct is None else rollouts.correct,
                "tokens": [rollouts.estimated, rollouts.free],
            }
            FOLDER.mkdir(exist_ok=True)
            torch.save(kept, path)
        return outcome(self)

    trainer._outcome = noted


def keep_jumps():
    """Write theta_s and the weights right before and after each jump, and what moments are left."""
    from gainrl.training.extra import Jumps

    after = Jumps.after

    def noted(self, step):
        start, before = self.start, [weight.clone() for weight in self._weights()]
        done = after(self, step)
        if done:
            kept = {"start": start, "before": before, "moments": len(self.optimizer.state)}
            kept["after"] = [weight.clone() for weight in self._weights()]
            FOLDER.mkdir(exist_ok=True)
            torch.save(kept, FOLDER / f"jump-{len(list(FOLDER.glob('jump-*.pt'))):03d}.pt")
        return done

    Jumps.after = noted


def lose_grades():
    """Have every grade fail, in the reward workers."""
    from gainrl.grading import graders

    def failing(*_):
        raise KeyError("no grader here")

    graders.find = failing


def watch():
    """Put the notes in place; only the process that trains ever builds a curriculum or jumps."""
    if "GAINRL_LOSE" in os.environ:
        lose_grades()
    keep_jumps()
    from gainrl import curricula

    build = curricula.build

    def building(spec, setting):
        keep_batches(sys.modules["gainrl.training.verl.trainer"].RunTrainer)
        relay = json.loads(os.environ.get("GAINRL_RELAY", "[]"))
        return Noted([build(each, setting) for each in relay or [spec]])

    curricula.build = building


watch()
