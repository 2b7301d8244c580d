"""PPO on the local trainer against plain, unpacked PPO, and its exact continuation."""

import copy

import numpy as np
import pytest
import torch
from trainers import (
    PAD,
    Fixed,
    nudge,
    plain_log_probabilities,
    same,
    through_a_file,
    trainer_for,
    weights,
)
from transformers import LlamaForTokenClassification

from gainrl.config.ppo import PPO
from gainrl.training.packing import micro_batches, pack

pytestmark = pytest.mark.usefixtures("one_thread")
SECTION = PPO(critic_lr=1e-2, gae_lambda=0.9, discount=0.95, clip_value=0.1)


@pytest.fixture
def make(tokenizer, prompts, table):
    def made(ppo=SECTION, **options):
        return trainer_for(tokenizer, prompts, table, ppo=ppo, **options)

    return made


def critic_weights(trainer):
    return weights(trainer.critic)


# --- the value model -----------------------------------------------------------------------------


def token_classifier(critic, policy):
    """The critic's weights in transformers' class, which verl's critic is."""
    config = copy.deepcopy(policy.config)
    config.num_labels, config.classifier_dropout = 1, 0.0
    model = LlamaForTokenClassification(config).eval()
    state = critic.model.state_dict()
    named = {
        key.replace("decoder.", "model.").replace("head.", "score."): value
        for key, value in state.items()
    }
    model.load_state_dict(named)
    return model


def plain_values(model, prompt, response):
    """One sequence alone; a token's value is that of the state before it, as in verl."""
    logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0, :, 0]
    return logits[len(prompt) - 1 : -1]


@pytest.mark.parametrize("row_tokens", [1, 70, 512])
def test_values_are_those_of_transformers_token_classifier(make, prompts, row_tokens):
    trainer = make(row_tokens=row_tokens)
    nudge(trainer.critic.model)
    model, rollouts = token_classifier(trainer.critic, trainer.model), trainer._roll_out()
    seen = 0
    with torch.no_grad():
        for batch in micro_batches(trainer._rows_of(rollouts, range(4)), 400):
            packed = pack(batch, PAD)
            values = trainer.critic.model(packed)
            for k in sorted(set(packed.suffix.tolist())):
                prompt, response = prompts.tokens[rollouts.rows[k // 4]], rollouts.responses[k]
                mine = packed.suffix == k
                wanted = plain_values(model, prompt, response)
                torch.testing.assert_close(values[mine], wanted, atol=1e-5, rtol=0)
                assert packed.places[mine].tolist() == list(range(len(response)))
                seen += 1
    assert seen == 16


def test_the_critic_starts_as_the_policy_with_a_head_of_its_own(make):
    trainer, other, twin = make(), make(seed=6), make()
    ours, theirs = trainer.critic.model, trainer.model.get_decoder()
    assert same(dict(ours.decoder.named_parameters()), dict(theirs.named_parameters()))
    apart = zip(ours.decoder.parameters(), theirs.parameters(), strict=True)
    assert all(left.data_ptr() != right.data_ptr() for left, right in apart)
    assert ours.head.bias.item() == 0.0
    assert ours.head.weight.std().item() == pytest.approx(0.08, rel=0.4)
    assert torch.equal(ours.head.weight, twin.critic.model.head.weight)
    assert not torch.equal(ours.head.weight, other.critic.model.head.weight)


# --- the update ----------------------------------------------------------------------------------


def reference_estimates(model, prompts, rollouts, section):
    """Values, whitened advantages and returns of every response: sums of (gamma lambda)^l delta."""
    values, advantages = [], []
    for k, response in enumerate(rollouts.responses):
        prompt = prompts.tokens[rollouts.rows[k // 4]]
        with torch.no_grad():
            value = plain_values(model, prompt, response).double().numpy()
        later = np.append(value[1:], 0.0)
        delta = section.discount * later - value
        delta[-1] += rollouts.rewards[k].item()
        powers = (section.discount * section.gae_lambda) ** np.arange(len(delta))
        sums = [powers[: len(delta) - t] @ delta[t:] for t in range(len(delta))]
        values.append(value)
        advantages.append(np.array(sums))
    returns = [a + v for a, v in zip(advantages, values, strict=True)]
    everything = np.concatenate(advantages)
    spread = np.sqrt(everything.var(ddof=1) + 1e-8)
    return values, [(a - everything.mean()) / spread for a in advantages], returns


def reference_gradients(policy, start, critic, known, prompts, rollouts, chosen, options, clip):
    """Gradients of policy and critic on some responses, one at a time, and the value loss.

    start: the policy before the step, for ratios; None for the policy itself.
    """
    values, advantages, returns = known
    tokens = sum(len(rollouts.responses[k]) for k in chosen)
    policy_loss, value_loss, outside = torch.zeros(()), torch.zeros(()), 0
    for k in chosen:
        prompt, response = prompts.tokens[rollouts.rows[k // 4]], rollouts.responses[k]
        now, _ = plain_log_probabilities(policy, prompt, response, options.temperature)
        before = now.detach()
        if start is not None:
            with torch.no_grad():
                before, _ = plain_log_probabilities(start, prompt, response, options.temperature)
        ratio, advantage = (now - before).exp(), torch.tensor(advantages[k]).float()
        bound = ratio.clamp(1 - options.clip, 1 + options.clip)
        policy_loss = policy_loss - torch.minimum(ratio * advantage, bound * advantage).sum()
        value = plain_values(critic, prompt, response)
        old, target = torch.tensor(values[k]).float(), torch.tensor(returns[k]).float()
        outside += int(((value - old).abs() > clip).sum())
        near = old + (value - old).clamp(-clip, clip)
        worse = torch.maximum((value - target).square(), (near - target).square())
        value_loss = value_loss + worse.sum() / 2
    policy.zero_grad()
    critic.zero_grad()
    (policy_loss / tokens).backward()
    (value_loss / tokens).backward()
    return (
        [weight.grad.clone() for weight in policy.parameters()],
        [weight.grad.clone() for weight in critic.parameters()],
        value_loss.item() / tokens,
        outside,
    )


def assert_close(found, expected, tolerance):
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, atol=tolerance, rtol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [{}, {"ppo": PPO(critic_lr=1e-2)}, {"temperature": 0.6}, {"row_tokens": 1}],
)
def test_the_gradients_equal_those_of_unpacked_ppo(make, prompts, gradients, changes):
    trainer = make(**changes)
    start, section = copy.deepcopy(trainer.model), trainer.critic.settings
    nudge(trainer.critic.model)
    policy, critic = copy.deepcopy(start), token_classifier(trainer.critic, start)
    rollouts = trainer._roll_out()
    known = reference_estimates(critic, prompts, rollouts, section)
    credited, learned = trainer._credit(rollouts)
    _, losses = trainer._update(credited)
    expected = reference_gradients(
        policy, None, critic, known, prompts, rollouts, range(16), trainer.settings, 0.1
    )
    assert len(gradients) == 2
    assert_close(gradients[0], expected[1], 1e-5)
    assert_close(gradients[1], expected[0], 1e-5)
    assert learned["value_loss"] == pytest.approx(expected[2], rel=1e-4)
    values, targets = np.concatenate(known[0]), np.concatenate(known[2])
    explained = 1 - np.var(targets - values, ddof=1) / (np.var(targets, ddof=1) + 1e-5)
    assert learned["explained_variance"] == pytest.approx(explained, rel=1e-3)
    norm = torch.stack([grad.norm() for grad in expected[0]]).norm()
    assert losses["grad_norm"] == pytest.approx(norm.item(), rel=1e-3)


def test_several_updates_start_from_the_same_values_and_policy(make, prompts, gradients):
    trainer = make(mini_batch=2, lr=0.05, ppo=SECTION.model_copy(update={"critic_lr": 0.05}))
    nudge(trainer.critic.model)
    start, first = copy.deepcopy(trainer.model), token_classifier(trainer.critic, trainer.model)
    rollouts = trainer._roll_out()
    known = reference_estimates(first, prompts, rollouts, SECTION)

    # The models between the two updates, as the optimisers leave them.
    middle, stepped = [], torch.optim.AdamW.step

    def noting(optimizer, *arguments):
        result = stepped(optimizer, *arguments)
        models = (trainer.critic.optimizer, trainer.optimizer)
        if optimizer in models and len(middle) in (0, 2):
            policy = copy.deepcopy(trainer.model)
            middle.append((policy, token_classifier(trainer.critic, policy)))
        else:
            middle.append(None)
        return result

    torch.optim.AdamW.step = noting
    try:
        credited, learned = trainer._credit(rollouts)
        trainer._update(credited)
    finally:
        torch.optim.AdamW.step = stepped
    halves = range(8), range(8, 16)
    one = reference_gradients(
        start, None, first, known, prompts, rollouts, halves[0], trainer.settings, 0.1
    )
    policy, critic = middle[2][0], middle[0][1]
    two = reference_gradients(
        policy, start, critic, known, prompts, rollouts, halves[1], trainer.settings, 0.1
    )
    assert two[3] > 5  # values that moved out of the clip range
    assert len(gradients) == 4  # the critic's two, then the policy's
    for found, expected in zip(gradients, (one[1], two[1], one[0], two[0]), strict=True):
        assert_close(found, expected, 2e-5)
    assert learned["value_loss"] == pytest.approx((one[2] + two[2]) / 2, rel=1e-3)


@pytest.mark.parametrize(("mini_batch", "passes"), [(None, [True]), (2, [True, False, True])])
def test_the_pass_that_evaluates_the_first_mini_batch_is_its_training_pass(
    make, monkeypatch, mini_batch, passes
):
    """Graph or not, by pass; several mini-batches are evaluated before the first update."""
    trainer = make(mini_batch=mini_batch, micro_batch_tokens=10_000)
    decoder, graph = trainer.critic.model.decoder, []
    plain = decoder.forward
    monkeypatch.setattr(
        decoder, "forward", lambda **kw: graph.append(torch.is_grad_enabled()) or plain(**kw)
    )
    trainer.step()
    assert graph == passes


def test_a_group_of_equal_rewards_has_a_gradient_and_is_counted(make):
    trainer = make(reward=lambda response, gold: 1.0)
    before = weights(trainer)
    record, _ = trainer.step()
    assert record["zero_variance"] == 1.0
    assert record["grad_norm"] > 0
    assert not same(before, weights(trainer))


# --- records -------------------------------------------------------------------------------------


def test_the_record_has_grpos_keys_and_the_critics(make):
    policy = Fixed([[3, 1, 0, 7]])
    record, _ = make(curriculum=policy).step()
    twin = make(curriculum=Fixed([[3, 1, 0, 7]]))
    plain, _ = make(ppo=None, curriculum=Fixed([[3, 1, 0, 7]])).step()
    assert set(record) == set(plain) | {"value_loss", "explained_variance"}
    assert all(isinstance(value, int | float) for value in record.values())
    for key in ("accuracy", "signal", "zero_variance", "rollout_tokens", "truncated"):
        assert record[key] == pytest.approx(plain[key], abs=1e-6), key
    credited, _ = twin._credit(twin._roll_out())
    advantages = credited.advantages
    each = [
        float(row[: len(response)].abs().mean())
        for row, response in zip(advantages, credited.responses, strict=True)
    ]
    expected = np.array(each).reshape(4, 4).mean(1)
    np.testing.assert_allclose(policy.outcome.advantage, expected, rtol=1e-5)


# --- learning, determinism and continuation ------------------------------------------------------


def short(response, gold):
    """An easy task: an answer of at most three words."""
    return float(len(response.split()) <= 3)


@pytest.mark.parametrize("mini_batch", [None, 4])
def test_accuracy_of_an_easy_task_rises(make, mini_batch):
    section = PPO(critic_lr=3e-3)
    trainer = make(section, reward=short, prompts=8, rollouts=8, lr=3e-3, mini_batch=mini_batch)
    records = [trainer.step()[0] for _ in range(20)]
    accuracy = np.array([record["accuracy"] for record in records])
    assert accuracy[:3].mean() < 0.5
    assert accuracy[-3:].mean() > accuracy[:3].mean() + 0.3


def test_the_critic_learns_which_prompts_are_rewarded(make, table):
    """Whatever the answer: half of the prompts give 1."""
    good = set(table["answer"][:2])
    assert not good & set(table["answer"][2:4])
    trainer = make(
        PPO(critic_lr=3e-3),
        reward=lambda response, gold: float(gold in good),
        curriculum=Fixed([[0, 1, 2, 3]] * 20),
        lr=1e-6,
    )
    found = [trainer.step()[0]["explained_variance"] for _ in range(20)]
    assert found[0] < 0.2
    assert min(found[-3:]) > 0.6


def test_the_seed_decides_everything(make):
    first, second, other = make(), make(), make(seed=6)
    records = [[trainer.step()[0] for _ in range(3)] for trainer in (first, second, other)]
    assert records[0] == records[1] != records[2]
    assert same(weights(first), weights(second))
    assert same(critic_weights(first), critic_weights(second))


@pytest.mark.parametrize("changes", [{}, {"mini_batch": 2}, {"kl": 0.05}])
@pytest.mark.parametrize("at", [0, 2])
def test_a_state_in_the_middle_continues_bit_for_bit(make, changes, at):
    trainer = make(**changes)
    for _ in range(at):
        trainer.step()
    state = through_a_file(trainer.state_dict())
    expected = [trainer.step()[0] for _ in range(3)]
    again = make(**changes)
    again.load_state_dict(state)
    assert [again.step()[0] for _ in range(3)] == expected
    assert same(weights(trainer), weights(again))
    assert same(critic_weights(trainer), critic_weights(again))
