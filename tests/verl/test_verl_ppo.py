"""The local trainer's PPO against verl's own functions, on one batch (`make test-verl`)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import place as places
import pytest
import torch
from transformers import LlamaForTokenClassification

from gainrl.config.data import Generated
from gainrl.config.models import Nano
from gainrl.config.ppo import PPO
from gainrl.config.preset import Training
from gainrl.curricula import Setting, build
from gainrl.data.generate import generate_splits
from gainrl.data.prompts import encode
from gainrl.models.nano import build_model, build_tokenizer
from gainrl.training import algorithms
from gainrl.training.algorithms.ppo import value_loss, whiten
from gainrl.training.local.critic import Critic, Estimates
from gainrl.training.local.loop import LocalTrainer

pytestmark = [pytest.mark.verl, pytest.mark.timeout(600)]


def trainer_of(section: PPO) -> LocalTrainer:
    """A small trainer, whose rewards go by the answer's length."""
    tokenizer = build_tokenizer()
    model = build_model(
        Nano(source="nano", hidden=32, layers=2, heads=2, feed_forward=64), len(tokenizer)
    ).eval()
    settings = Training(steps=1, prompts=4, rollouts=4, lr=1e-2, max_response=12)
    spec = Generated(source="generate", task="chain", train=12, eval=1)
    table = generate_splits(spec, "chain")["train"]
    prompts = encode(tokenizer, list(table["id"]), list(table["question"]))
    setting = Setting(12, settings.prompts, 0, rollouts=settings.rollouts)
    trainer = LocalTrainer(
        model, tokenizer, prompts, list(table["answer"]), build("uniform", setting),
        settings, 0, lambda texts, golds: [len(text) / 40 for text in texts],
        algorithm=algorithms.named("ppo"), critic=Critic(model, settings, section, 0, pad=0),
    )  # fmt: skip
    trainer.ends = frozenset({1, *range(100, 130)})  # answers of several lengths
    return trainer


def critic_folder(trainer: LocalTrainer, folder: Path) -> Path:
    """The critic as transformers saves a token classifier."""
    config = trainer.model.config.__class__.from_dict(
        {**trainer.model.config.to_dict(), "num_labels": 1}
    )
    model = LlamaForTokenClassification(config)
    state = trainer.critic.model.state_dict()
    model.load_state_dict(
        {k.replace("decoder.", "model.").replace("head.", "score."): v for k, v in state.items()}
    )
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "section", [PPO(critic_lr=1e-2), PPO(gae_lambda=0.9, discount=0.95, clip_value=0.02)]
)
def test_one_batch_gives_verl_the_same_values_advantages_returns_and_losses(section, tmp_path):
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    trainer = trainer_of(section)
    rollouts = trainer._roll_out()
    lengths = torch.from_numpy(rollouts.lengths)
    assert len(set(rollouts.lengths)) > 3
    known = Estimates.of(rollouts.rewards.flatten(), lengths)
    rows = trainer._mini_batches(rollouts)[0]
    folder = critic_folder(trainer, tmp_path / "critic")
    loss = trainer.critic._run(rows, known, evaluate=True, train=True)
    generator = torch.Generator().manual_seed(1)
    later = known.values + 0.3 * torch.randn(known.values.shape, generator=generator) * known.mask
    batch = {
        "critic": str(folder),
        "prompts": [list(trainer.prompts.tokens[row]) for row in rollouts.rows for _ in range(4)],
        "responses": rollouts.responses,
        "rewards": known.rewards,
        "values": known.values,
        "later": later,
        "mask": known.mask,
        "ppo": section.model_dump(),
    }
    torch.save(batch, tmp_path / "batch.pt")
    script = Path(__file__).with_name("core_algos.py")
    arguments = [script, tmp_path / "batch.pt", tmp_path / "result.pt"]
    done = subprocess.run([places.PYTHON, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = torch.load(tmp_path / "result.pt", weights_only=True)

    mask = known.mask
    ours = {
        "values": known.values,
        "advantages": whiten(known.advantages, mask),
        "returns": known.returns,
    }
    for name, value in ours.items():
        torch.testing.assert_close(value[mask], theirs[name][mask], atol=1e-5, rtol=0, msg=name)
    clipped = value_loss(later[mask], known.values[mask], known.returns[mask], section.clip_value)
    np.testing.assert_allclose(
        [loss, clipped / lengths.sum()], theirs["losses"].numpy(), atol=1e-5, rtol=0
    )
    assert theirs["losses"][1] != theirs["losses"][0]
