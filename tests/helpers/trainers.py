"""Small trainers over a random nano model, for the tests of GRPO and of PPO."""

import io

import numpy as np
import torch

from gainrl.config.models import Nano
from gainrl.config.preset import Training
from gainrl.curricula import Request, Setting, build
from gainrl.models.nano import build_model
from gainrl.training import algorithms
from gainrl.training.local.critic import Critic
from gainrl.training.local.loop import LocalTrainer

PAD, END = 0, 1
ENDS = frozenset({END, *range(100, 130)})  # so that a random model's answers differ in length


def network(tokenizer):
    spec = Nano(source="nano", hidden=32, layers=2, heads=2, feed_forward=64)
    return build_model(spec, len(tokenizer)).eval()


def settings(**changes):
    base = {"steps": 6, "prompts": 4, "rollouts": 4, "lr": 1e-2, "max_response": 12}
    return Training(**{**base, "row_tokens": 70, "micro_batch_tokens": 220, **changes})


def odd(response, gold):
    """A reward that a random model earns in about half of its answers."""
    return float(sum(map(ord, response)) % 2)


def trainer_for(
    tokenizer,
    prompts,
    table,
    /,
    *,
    seed=5,
    reward=odd,
    curriculum=None,
    algorithm=None,
    ppo=None,
    model=None,
    **changes,
):
    """A trainer by an algorithm (GRPO; with the section `ppo` PPO) of a nano model or another."""
    chosen = settings(**changes)
    size = len(prompts.ids)
    policy = curriculum or build(
        {"name": "gain", "step": 0.2, "sigma": 0.3},
        Setting(size, chosen.prompts, seed, np.arange(size)[::-1].copy(), rollouts=chosen.rollouts),
    )
    model = network(tokenizer) if model is None else model
    name = algorithm or ("ppo" if ppo else "grpo")
    trainer = LocalTrainer(
        model,
        tokenizer,
        prompts,
        list(table["answer"]),
        policy,
        chosen,
        seed,
        lambda texts, golds: list(map(reward, texts, golds)),
        algorithm=algorithms.named(name),
        critic=Critic(model, chosen, ppo, seed, PAD) if ppo else None,
    )
    trainer.ends = ENDS
    return trainer


class Fixed:
    """A curriculum that shows given batches."""

    whole_batches, reads_noise = True, False

    def __init__(self, batches, rollouts=4):
        self.batches, self.now = [np.array(batch) for batch in batches], 0
        self.rollouts = rollouts

    def draw(self, seen, estimates):
        rows = self.batches[self.now]
        return None if len(seen.rows) else Request(rows, np.full(len(rows), self.rollouts))

    def keep(self, seen):
        return np.arange(len(seen.rows))

    def rate(self):
        return 1.0

    def observe(self, outcome):
        self.now += 1
        self.outcome = outcome

    def metrics(self):
        return {}

    def state_dict(self):
        return {"now": self.now}

    def load_state_dict(self, state):
        self.now = state["now"]


def weights(trainer):
    return {key: value.detach().clone() for key, value in trainer.model.named_parameters()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def plain_log_probabilities(model, prompt, response, temperature):
    """One sequence alone, without packing, cache or padding."""
    ids = torch.tensor([[*prompt, *response]])
    scores = torch.log_softmax(model(input_ids=ids).logits[0].float() / temperature, -1)
    picked = scores[:-1].gather(1, ids[0, 1:, None]).squeeze(1)
    entropy = -(scores[:-1].exp() * scores[:-1]).sum(1)
    return picked[len(prompt) - 1 :], entropy[len(prompt) - 1 :]


def nudge(model):
    """Move the weights a little, so that the policy differs from the reference."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=generator))


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def reference_update(model, start, prompts, rollouts, chosen, options):
    """Gradient and mean KL of GRPO on some prompts, one sequence at a time."""
    group = options.rollouts
    members = [(i, i * group + j) for i in chosen for j in range(group)]
    tokens = sum(len(rollouts.responses[k]) for _, k in members)
    loss, divergence = torch.zeros(()), 0.0
    for i, k in members:
        prompt, response = prompts.tokens[rollouts.rows[i]], rollouts.responses[k]
        now, spread = plain_log_probabilities(model, prompt, response, options.temperature)
        ratio = torch.exp(now - now.detach())
        advantage = rollouts.advantages[k]
        loss = loss - (ratio * advantage).sum() / tokens
        if options.entropy:
            loss = loss - options.entropy * spread.sum() / tokens
        if options.kl:
            with torch.no_grad():
                before, _ = plain_log_probabilities(start, prompt, response, options.temperature)
            k3 = (before - now).exp() - (before - now) - 1
            loss = loss + options.kl * k3.sum() / tokens
            divergence += k3.sum().item() / tokens
    model.zero_grad()
    loss.backward()
    return {key: value.grad.clone() for key, value in model.named_parameters()}, divergence
