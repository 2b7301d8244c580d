"""RL-Extra: when the policy jumps, where it lands, what becomes of Adam's moments, resuming."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.multiprocessing as processes
from presets import changed, error_of
from shards import sharded_jump
from trainers import same, through_a_file, trainer_for, weights

from gainrl import plan
from gainrl.config.extra import Extra
from gainrl.config.ppo import PPO
from gainrl.config.preset import Training, load_preset
from gainrl.errors import CheckpointError
from gainrl.stages.train_verl import VerlRun
from gainrl.training.extra import Jumps

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def make(tokenizer, prompts, table):
    return lambda **options: trainer_for(tokenizer, prompts, table, **options)


def extra(rl=2, jump=4, moments="reset"):
    return {"extra": Extra(rl=rl, jump=jump, moments=moments)}


def noting(trainer):
    """The policy's weights and first moments right before and after each jump."""
    seen, after = [], trainer.jumps.after

    def state():
        moments = [entry["exp_avg"].clone() for entry in trainer.optimizer.state.values()]
        counts = [float(entry["step"]) for entry in trainer.optimizer.state.values()]
        return SimpleNamespace(weights=weights(trainer), moments=moments, counts=counts)

    def noted(step):
        before = state()
        done = after(step)
        if done:
            seen.append((before, state()))
        return done

    trainer.jumps.after = noted
    return seen


def assert_on_the_line(start, before, after, a):
    for name, value in after.items():
        expected = start[name] + a * (before[name] - start[name])
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
        assert not torch.equal(before[name], value) or torch.equal(start[name], before[name])


def test_a_jump_by_hand():
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    frozen = torch.nn.Parameter(torch.tensor([5.0]), requires_grad=False)
    jumps = Jumps(torch.optim.AdamW([weight, frozen]), Extra(rl=2, jump=4))
    weight.data += torch.tensor([0.5, -0.25])
    frozen.data += 1
    assert not jumps.after(1)
    assert weight.tolist() == [1.5, 1.75]
    weight.data += torch.tensor([0.5, -0.25])
    assert jumps.after(2)
    assert weight.tolist() == [4.0, 0.5]  # 1 + 3 x 1 and 2 + 3 x (-0.5)
    assert frozen.item() == 6
    weight.data += 1
    assert not jumps.after(3)
    assert jumps.after(4)  # from where the first jump ended
    assert weight.tolist() == [7.0, 3.5]


def test_weights_of_low_precision_jump_in_fp32():
    weight = torch.nn.Parameter(torch.tensor([1.0], dtype=torch.bfloat16))
    jumps = Jumps(torch.optim.AdamW([weight]), Extra(rl=4, jump=1))
    weight.data.fill_(1.0078125)
    assert jumps.after(4)
    assert weight.item() == torch.tensor(1 + 1.25 / 128).bfloat16().item()
    assert jumps.start[0].dtype == torch.float32


def test_the_trainer_jumps_at_every_mth_step_and_only_there(make):
    plain, trainer = make(), make(**extra())
    seen, start = noting(trainer), weights(trainer)
    records = [trainer.step()[0] for _ in range(5)]
    assert [record["jumped"] for record in records] == [0, 1, 0, 1, 0]
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5]
    for record in records[:2]:  # until then, and in what is recorded, it is the run without jumps
        expected = plain.step()[0]
        assert {**expected, "jumped": record["jumped"]} == record
    (first, second), now = seen, weights(plain)
    assert same(first[0].weights, now)
    assert_on_the_line(start, now, first[1].weights, 3.0)
    assert_on_the_line(first[1].weights, second[0].weights, second[1].weights, 3.0)
    assert plain.step()[0] != records[2]  # rollouts of the policy that jumped


def test_without_the_key_nothing_is_recorded_or_saved(make):
    trainer = make()
    assert "jumped" not in trainer.step()[0]
    assert "extra" not in trainer.state_dict()


def test_moments_that_are_reset_are_those_of_a_new_optimiser(make):
    trainer = make(**extra())
    seen = noting(trainer)
    trainer.step()
    trainer.step()
    assert seen[0][0].counts
    assert seen[0][1].counts == []
    new = make()
    new.model.load_state_dict(trainer.model.state_dict())
    new.generator.set_state(trainer.generator.get_state())
    new.curriculum.load_state_dict(trainer.curriculum.state_dict())
    record, expected = trainer.step()[0], new.step()[0]
    assert record["grad_norm"] == expected["grad_norm"] > 0
    assert same(weights(trainer), weights(new))


def test_moments_that_are_kept_stay_as_they_were(make):
    trainer, reset = make(**extra(moments="kept")), make(**extra())
    seen = noting(trainer)
    for _ in range(2):
        trainer.step()
        reset.step()
    before, after = seen[0]
    assert before.counts == after.counts == [2.0] * len(before.counts)
    assert all(map(torch.equal, before.moments, after.moments))
    assert same(weights(trainer), weights(reset))
    trainer.step()
    reset.step()
    assert not same(weights(trainer), weights(reset))


@pytest.mark.parametrize("moments", ["reset", "kept"])
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("ppo", [None, PPO(critic_lr=1e-2)])
def test_a_state_continues_bit_for_bit_between_jumps_and_after_one(make, moments, at, ppo):
    options = {**extra(moments=moments), "ppo": ppo}
    trainer = make(**options)
    for _ in range(at):
        trainer.step()
    state = through_a_file(trainer.state_dict())
    expected = [trainer.step()[0] for _ in range(3)]
    assert any(record["jumped"] for record in expected)
    again = make(**options)
    again.load_state_dict(state)
    assert [again.step()[0] for _ in range(3)] == expected
    assert same(weights(trainer), weights(again))


def test_of_ppo_only_the_policy_jumps(make):
    section = PPO(critic_lr=1e-2)
    plain, trainer = make(ppo=section), make(ppo=section, **extra(rl=1))
    start = weights(trainer)
    plain.step()
    trainer.step()
    assert_on_the_line(start, weights(plain), weights(trainer), 5.0)
    critics = [dict(each.critic.model.named_parameters()) for each in (plain, trainer)]
    assert same(*critics)


# --- shards --------------------------------------------------------------------------------------


def test_each_rank_moves_its_own_shards(tmp_path):
    processes.spawn(sharded_jump, (str(tmp_path),), nprocs=2)
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert [held for _, held, _ in results] == [[(3, 3), (3,)], [(2, 3), (2,)]]
    for (start, before, after), _, moments in results:
        for first, late, found in zip(start, before, after, strict=True):
            torch.testing.assert_close(found, first + 3 * (late - first))
            assert not torch.equal(found, late)
        assert moments == 0


# --- the preset ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"rl": 0, "jump": 4}, "training.extra.rl: is 0: must be greater than 0"),
        ({"rl": 2, "jump": 0}, "training.extra.jump: is 0: must be greater than 0"),
        ({"rl": 2}, "training.extra.jump: is missing"),
        ({"rl": 2, "jumps": 4, "jump": 4}, "unknown key 'training.extra.jumps'; did you mean"),
        ({"rl": 2, "jump": 4, "moments": "kpt"}, "did you mean 'kept'"),
    ],
)
def test_a_wrong_section_is_refused(section, message):
    assert message in error_of(changed("training", "extra", to=section))


def test_a_method_can_have_its_own():
    method = {"curriculum": "uniform", "training": {"extra": {"rl": 2, "jump": 3}}}
    preset = load_preset(changed("methods", "grpo-extra", to=method))
    found = preset.training_for("chain", "nano", "grpo-extra").extra
    assert found == Extra(rl=2, jump=3, moments="reset")
    assert preset.training_for("chain", "nano", "grpo").extra is None
    assert list(preset.methods["grpo-extra"].training.given) == ["extra"]


def test_on_verl_checkpoints_are_where_the_policy_jumped():
    section = {"rl": 3, "jump": 3}
    for more in ({"save_every": 20}, {"backend": "verl", "save_every": 21}):
        plan.load(changed("training", to={"steps": 4, "extra": section, **more}))
    wrong = {"steps": 4, "backend": "verl", "save_every": 20, "extra": section}
    message = error_of(changed("training", to=wrong))  # the local backend saves what it needs
    assert "training.save_every 20 is no multiple of training.extra.rl 3" in message


@pytest.mark.parametrize(
    ("resumed", "message"),
    [
        (6, None),
        (8, None),  # the last step: there is nothing to go on with
        (4, "step 4 is no multiple of training.extra.rl"),
    ],
)
def test_on_verl_nothing_goes_on_from_between_two_jumps(resumed, message):
    run = SimpleNamespace(
        settings=Training(backend="verl", steps=8, save_every=3, extra={"rl": 3, "jump": 3}),
        checkpoints=Path("checkpoints"),
    )
    if message is None:
        VerlRun._check_jumps(run, resumed)
        return
    with pytest.raises(CheckpointError, match=message):
        VerlRun._check_jumps(run, resumed)


@pytest.mark.parametrize(("every", "step"), [(3, None), (7, 7)])
def test_on_verl_snapshots_are_where_the_policy_jumped(every, step):
    extra = {"rl": 3, "jump": 3}
    data = changed("training", to={"backend": "verl", "steps": 8, "save_every": 3, "extra": extra})
    dynamics = {"method": "grpo", "every": every, "prompts": 4, "samples": 2}
    data["studies"] = {"models": ["nano"], "datasets": ["chain"], "dynamics": dynamics}
    if step is None:
        plan.load(data)
    else:
        assert f"asks for a snapshot at step {step}" in error_of(data)
