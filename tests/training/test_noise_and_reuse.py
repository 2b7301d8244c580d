"""The noise of the gradient as the trainer tells it, the rate by it, and reuse of rollouts."""

import numpy as np
import pytest
import torch
from trainers import Fixed, same, trainer_for, weights

from gainrl.config.training import Training
from gainrl.curricula import Setting, build
from gainrl.curricula.base import Moments

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS = [0, 1, 2, 3, 4]


@pytest.fixture
def make(tokenizer, prompts, table):
    return lambda **changes: trainer_for(tokenizer, prompts, table, **changes)


class Noisy(Fixed):
    """Given batches, at half the rate, and what is told of each."""

    reads_noise = True

    def rate(self):
        return 0.5


def flat(gradient):
    return torch.cat([part.flatten() for part in gradient]).double()


def test_the_moments_are_those_of_the_two_halves_gradients(make, gradients):
    """Groups 0, 2 and 4 against 1 and 3, each half's gradient from a step of its own."""
    trainer = make(curriculum=Noisy([ROWS]), prompts=5, lr=1e-12)
    rollouts = trainer._roll_out()
    trainer._update(rollouts)
    found = trainer.moments
    for half in ([0, 2, 4], [1, 3], ROWS):
        make(curriculum=Fixed([ROWS]), prompts=5)._update(rollouts.take(np.array(half)))
    update, one, other, whole = map(flat, gradients)
    assert torch.allclose(update, whole, atol=1e-7)
    # A half's gradient is by its own tokens in a step of its own, and by all tokens here.
    tokens = [rollouts.tokens[half].sum() for half in ([0, 2, 4], [1, 3])]
    one, other = (
        gradient * (float(count) / float(sum(tokens))) * 5 / groups
        for gradient, count, groups in ((one, tokens[0], 3), (other, tokens[1], 2))
    )
    squares = float(one @ one + other @ other) / 2
    few = 2 / (1 / 3 + 1 / 2)
    noise = (squares - float(whole @ whole)) / (1 / few - 1 / 5)
    signal = (5 * float(whole @ whole) - few * squares) / (5 - few)
    assert found == Moments(pytest.approx(signal, rel=1e-4), pytest.approx(noise, rel=1e-4))


def test_they_are_measured_once_a_step_where_they_are_read_and_the_rate_is_the_curriculums(make):
    trainer = make(curriculum=Noisy([ROWS, [6]]), prompts=5, lr=0.02, epochs=2)
    single = make(curriculum=Noisy([ROWS]), prompts=5, lr=0.02)
    trainer.step(), single.step()
    found, expected = (each.curriculum.outcome.moments for each in (trainer, single))
    assert found.noise == pytest.approx(expected.noise, rel=1e-5)  # of the first epoch alone
    assert trainer.optimizer.param_groups[0]["lr"] == 0.01
    trainer.step()  # a single group has no second half
    assert trainer.curriculum.outcome.moments is None
    plain = make(curriculum=Fixed([ROWS]), prompts=5, lr=0.02)
    plain.step()
    assert plain.curriculum.outcome.moments is None
    assert plain.optimizer.param_groups[0]["lr"] == 0.02


def test_a_run_with_batches_by_noise_goes_on_where_it_was(make):
    def trainer():
        spec = {
            "sampler": "uniform",
            "rollouts": {"name": "noise_batch", "share": 0.1, "lowest": 2, "horizon": 8.0},
        }
        return make(curriculum=build(spec, Setting(12, 4, 5, rollouts=4)), lr=1e-3)

    whole, part, rest = trainer(), trainer(), trainer()
    records = [whole.step()[0] for _ in range(6)]
    assert len({record["curriculum/batch"] for record in records}) > 1
    for _ in range(3):
        part.step()
    rest.load_state_dict(part.state_dict())
    assert [rest.step()[0] for _ in range(3)] == records[3:]


# --- reuse ---------------------------------------------------------------------------------------


def test_epochs_end_once_the_policy_has_moved(make, gradients):
    near, once = make(lr=0.05, epochs=4, target_kl=1e-6), make(lr=0.05)
    record, _ = near.step()
    once.step()
    assert len(gradients) == 3  # the second pass says that it has, and makes no update
    assert record["epochs"] == 2
    assert record["approx_kl"] > 1e-6
    assert all(torch.allclose(v, weights(near)[k], atol=1e-6) for k, v in weights(once).items())


def test_epochs_are_all_made_while_the_policy_is_near(make):
    limited, plain = make(lr=1e-3, epochs=3, target_kl=10.0), make(lr=1e-3, epochs=3)
    record, other = limited.step()[0], plain.step()[0]
    assert record["epochs"] == 3
    assert 0 < record["approx_kl"] < 10
    assert same(weights(limited), weights(plain))
    assert "epochs" not in other


def test_the_divergence_is_that_of_the_two_policies(make, prompts):
    """r - 1 - log r at the tokens of the rollouts, r from the weights after one update."""
    trainer = make(lr=0.05, epochs=2, target_kl=1e-9)
    rollouts = trainer._roll_out()
    before = trainer._measure(rollouts).log_probability
    _, record = trainer._update(rollouts)
    gap = trainer._measure(rollouts).log_probability - before
    expected = float((gap.exp() - 1 - gap).sum()) / int(rollouts.lengths.sum())
    assert record["approx_kl"] == pytest.approx(expected, rel=1e-4)


def test_mini_batches_of_the_first_epoch_are_all_made(make):
    record, _ = make(lr=0.05, mini_batch=2, epochs=2, target_kl=1e-9).step()
    assert record["epochs"] == 1.5


def test_a_target_is_above_0():
    with pytest.raises(ValueError, match="greater than 0"):
        Training(target_kl=0.0)
