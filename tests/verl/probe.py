"""Loaded in verl's processes by VERL_USE_EXTERNAL_MODULES: notes what the tests ask about.

Below the folder GAINRL_PROBE: curriculum.jsonl, a line a batch and one an outcome; batch.pt, the
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
    """A curriculum whose batches and outcomes are written down."""

    def __init__(self, curriculum):
        self._curriculum = curriculum

    def __getattr__(self, name):
        return getattr(self._curriculum, name)

    def draw(self, seen, estimates):
        before = self._curriculum.state_dict()
        request = self._curriculum.draw(seen, estimates)
        note(event="drawn", before=before, rows=request.rows.tolist())
        return request

    def observe(self, outcome):
        values = {key: value.tolist() for key, value in dataclasses.asdict(outcome).items()}
        self._curriculum.observe(outcome)
        note(event="observed", **values, after=self._curriculum.state_dict())


def keep_first_batch(trainer):
    """Write the first step's rollouts, advantages and log-probabilities to batch.pt."""
    import transfer_queue as tq

    outcome = trainer._outcome

    def noted(self, batch):
        if not (FOLDER / "batch.pt").exists():
            fields = ["prompts", "responses", "rm_scores", "advantages", "old_log_probs"]
            fields.append("rollout_log_probs")
            fields += ["values", "returns"] if self.use_critic else []
            data = tq.kv_batch_get(
                keys=batch.keys, partition_id=batch.partition_id, select_fields=fields
            )
            kept = {name: [row.clone() for row in data[name].unbind()] for name in fields}
            kept["rows"] = [self.row_of[key.split("_")[0]] for key in batch.keys]
            torch.save(kept, FOLDER / "batch.pt")
        return outcome(self, batch)

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


def watch():
    """Put the notes in place; only the process that trains ever builds a curriculum or jumps."""
    keep_jumps()
    from gainrl import curricula

    build = curricula.build

    def building(*arguments):
        keep_first_batch(sys.modules["gainrl.training.verl.trainer"].CurriculumTrainer)
        return Noted(build(*arguments))

    curricula.build = building


watch()
