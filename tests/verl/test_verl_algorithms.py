"""Every algorithm against verl's own functions, configured by our overrides (`make test-verl`)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import place as places
import pytest
import torch

from gainrl.config.evaluation import Evaluation
from gainrl.config.ppo import PPO
from gainrl.config.training import Training
from gainrl.config.verl import Verl
from gainrl.training import algorithms
from gainrl.training.verl.settings import Place, overrides

pytestmark = [pytest.mark.verl, pytest.mark.timeout(300)]
GROUPS, SIZE, LONGEST = 5, 4, 9
PLACE = Place(Path("/run"), Path("/model"), Path("/train.parquet"), (Path("/test.parquet"),))
VARIANTS: dict[str, dict[str, Any]] = {
    "": {},
    "+kl": {"kl": 0.3},
    "+clip": {"clip": 0.05},
    "+high": {"clip": 0.05, "clip_high": 0.4},
    "+entropy": {"entropy": 0.2},
    "+bound": {"clip_negative": 1.5},
    "+unbound": {"clip_negative": None},
}
ACTOR = "actor_rollout_ref.actor"
ALTERED = {
    "algorithm.adv_estimator": ("grpo", "rloo"),
    "algorithm.norm_adv_by_std_in_grpo": ("dr_grpo", "true"),
    f"{ACTOR}.clip_ratio_low": ("grpo", "0.01"),
    f"{ACTOR}.clip_ratio_high": ("grpo", "0.01"),
    f"{ACTOR}.clip_ratio_c": ("grpo", "1.1"),
    f"{ACTOR}.entropy_coeff": ("grpo", "0.5"),
    f"{ACTOR}.kl_loss_coef": ("grpo", "9.0"),
    f"{ACTOR}.kl_loss_type": ("grpo", "mse"),
    f"{ACTOR}.loss_agg_mode": ("grpo", "seq-mean-token-mean"),
    f"{ACTOR}.loss_scale_factor": ("dr_grpo", "7"),
    f"{ACTOR}.policy_loss.loss_mode": ("gspo", "vanilla"),
    f"{ACTOR}.use_kl_loss": ("grpo", "false"),
}
"""Keys by which an algorithm is told to verl: whose key it is, and another value of it."""


def training_of(variant: str) -> Training:
    return Training(prompts=GROUPS, rollouts=SIZE, max_response=LONGEST, **VARIANTS[variant])


@pytest.fixture(scope="module")
def batch():
    """Twenty responses of one to nine tokens; a group of equal rewards; a policy that has moved."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    count = GROUPS * SIZE
    lengths = torch.randint(1, LONGEST + 1, (count,), generator=generator)
    mask = torch.arange(LONGEST) < lengths[:, None]
    rewards = torch.randint(0, 3, (count,), generator=generator).float()
    rewards[:SIZE] = 1.0
    old = -draw(count, LONGEST).abs() - 0.1
    return {
        "rewards": rewards,
        "groups": [k // SIZE for k in range(count)],
        "mask": mask,
        "old": old * mask,
        "now": (old + 0.6 * draw(count, LONGEST)) * mask,  # ratios to both sides of verl's 3
        "entropy": draw(count, LONGEST).abs() * mask,
        "reference": (old + 0.3 * draw(count, LONGEST)) * mask,
        "advantages": draw(count, LONGEST) * mask,
    }


@pytest.fixture(scope="module")
def theirs(batch, tmp_path_factory):
    """Algorithm and variant -> what verl makes of the batch."""
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = tmp_path_factory.mktemp("algorithms")
    given = {
        name + variant: overrides(
            Verl(), training_of(variant), Evaluation(), PLACE, algorithm, PPO(), 0
        )
        for name, algorithm in algorithms.REGISTRY.items()
        for variant in VARIANTS
    }
    for key, (name, value) in ALTERED.items():
        kept = [each for each in given[f"{name}+kl"] if not each.startswith(f"{key}=")]
        assert len(kept) == len(given[f"{name}+kl"]) - 1, key
        given[key] = [*kept, f"{key}={value}"]
    torch.save({**batch, "overrides": given}, folder / "batch.pt")
    script = Path(__file__).with_name("algorithm_batch.py")
    arguments = [script, folder / "batch.pt", folder / "result.pt"]
    done = subprocess.run([places.PYTHON, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "result.pt", weights_only=True)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", sorted(algorithms.REGISTRY))
def test_advantages_loss_and_gradient_are_verls(batch, theirs, name, variant):
    algorithm, training, expected = (
        algorithms.named(name),
        training_of(variant),
        theirs[name + variant],
    )
    mask = batch["mask"]
    advantages = batch["advantages"]
    if not algorithm.critic:
        each = algorithm.advantages(batch["rewards"].view(GROUPS, SIZE)).view(-1, 1)
        advantages = each * mask
        torch.testing.assert_close(advantages, expected["advantages"], atol=1e-5, rtol=0)
    now, entropy = (batch[key].clone().requires_grad_() for key in ("now", "entropy"))
    response = torch.arange(len(mask))[:, None].expand_as(mask)[mask]
    loss, _ = algorithm.loss(
        now[mask], batch["old"][mask], advantages[mask], response,
        training, batch["reference"][mask], entropy[mask],
    )  # fmt: skip
    loss = loss / algorithm.divisor(int(mask.sum()), len(mask), training.max_response)
    loss.backward()
    torch.testing.assert_close(loss.detach(), expected["loss"], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(now.grad, expected["gradient"], atol=1e-7, rtol=1e-4)
    assert expected["gradient"].abs().max() > 1e-3
    torch.testing.assert_close(entropy.grad, expected["entropy_gradient"])
    assert (entropy.grad is not None) is bool(training.entropy)


def test_the_algorithms_and_variants_differ(theirs):
    theirs = {name: each for name, each in theirs.items() if name not in ALTERED}
    bounds = ("gspo+bound", "gspo+unbound")  # GSPO has no second bound
    losses = [round(float(each["loss"]), 6) for name, each in theirs.items() if name not in bounds]
    assert len(set(losses)) == len(losses)
    assert {float(theirs[name]["loss"]) for name in bounds} == {float(theirs["gspo"]["loss"])}


@pytest.mark.parametrize("key", ALTERED)
def test_verl_computes_otherwise_with_another_value_of_a_key_of_ours(theirs, key):
    """So nothing that we set is overruled by a key that we leave alone."""
    before, after = theirs[f"{ALTERED[key][0]}+kl"], theirs[key]
    same = [torch.allclose(before[name], after[name]) for name in ("advantages", "loss")]
    assert not all(same)


def test_every_key_of_an_algorithm_is_altered_but_the_critics_and_the_one_that_others_overrule():
    """`clip_ratio` holds only where the other two are null."""
    said = {
        key
        for algorithm in algorithms.REGISTRY.values()
        for key in algorithm.verl_keys(Training(), PPO())
        if not key.startswith("critic.") and key not in ("algorithm.gamma", "algorithm.lam")
    }
    assert said - set(ALTERED) == {f"{ACTOR}.clip_ratio"}
