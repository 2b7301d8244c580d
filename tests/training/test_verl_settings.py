"""What a preset becomes in verl's configuration, and what it refuses."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from gainrl import plan
from gainrl.config.ppo import PPO
from gainrl.config.preset import Preset, Training, load_preset
from gainrl.config.verl import OURS
from gainrl.errors import ConfigError
from gainrl.training import algorithms
from gainrl.training.verl.settings import Place, overrides

PAPER = Path(__file__).resolve().parents[2] / "experiments" / "paper.yaml"
DEFAULT = PPO()
PLACE = Place(Path("/run/seed0"), Path("/m"), Path("/train.parquet"), (Path("/a"), Path("/b")))


def settings(
    preset: Preset, model: str, algorithm: str = "grpo", ppo: PPO = DEFAULT, export: bool = True
):
    """verl's keys and values for a run of a preset on DeepScaleR."""
    pairs = overrides(
        preset.verl,
        preset.training_for("deepscaler", model),
        preset.evaluation_for("deepscaler", model),
        PLACE,
        algorithms.named(algorithm),
        ppo,
        seed=3,
        export=export,
    )
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.fixture(scope="module")
def paper():
    return load_preset(PAPER)


def test_the_papers_command_for_the_7b_model(paper):
    """Appendix E.2 of the paper, but for the two keys that docs/verl.md names."""
    found = settings(paper, "qwen2.5-math-7b")
    assert {
        "algorithm.adv_estimator": '"grpo"',
        "data.train_batch_size": "1024",
        "data.max_prompt_length": "1024",
        "data.max_response_length": "8192",
        "actor_rollout_ref.actor.optim.lr": "1e-06",
        "actor_rollout_ref.actor.optim.clip_grad": "1.0",  # verl 0.9.1 never reads actor.grad_clip
        "actor_rollout_ref.model.use_remove_padding": "true",
        "actor_rollout_ref.actor.ppo_mini_batch_size": "256",
        "actor_rollout_ref.actor.use_dynamic_bsz": "true",
        "actor_rollout_ref.actor.use_kl_loss": "true",
        "actor_rollout_ref.actor.kl_loss_coef": "0.001",
        "actor_rollout_ref.actor.kl_loss_type": '"low_var_kl"',
        "actor_rollout_ref.actor.entropy_coeff": "0",
        "actor_rollout_ref.model.enable_gradient_checkpointing": "true",
        "actor_rollout_ref.rollout.tensor_model_parallel_size": "1",
        "actor_rollout_ref.rollout.name": '"vllm"',
        "actor_rollout_ref.rollout.gpu_memory_utilization": "0.6",
        "actor_rollout_ref.rollout.n": "8",
        "trainer.nnodes": "1",
        "trainer.n_gpus_per_node": "8",
        "trainer.save_freq": "20",
        "trainer.test_freq": "5",
        "trainer.total_training_steps": "200",
    }.items() <= found.items()
    assert settings(paper, "llama-3.2-3b")["data.max_response_length"] == "3000"


def test_a_micro_batch_holds_the_longest_sequence(paper):
    changed = paper.model_copy(
        update={"training": paper.training.model_copy(update={"micro_batch_tokens": 8000})}
    )
    found = settings(changed, "qwen2.5-math-7b")
    assert found["actor_rollout_ref.actor.ppo_max_token_len_per_gpu"] == str(1024 + 8192)


def test_ppo_adds_a_critic_of_the_policys_size(paper):
    grpo = settings(paper, "llama-3.2-3b")
    assert not [key for key in grpo if key.startswith("critic.")]
    section = PPO(critic_lr=3e-5, gae_lambda=0.95, discount=0.99, clip_value=0.2)
    ppo = settings(paper, "llama-3.2-3b", "ppo", section)
    assert {
        "algorithm.adv_estimator": '"gae"',
        "algorithm.lam": "0.95",
        "algorithm.gamma": "0.99",
        "critic.strategy": '"fsdp2"',
        "critic.model.path": '"/m"',
        "critic.cliprange_value": "0.2",
        "+critic.ppo_infer_max_token_len_per_gpu": "16384",  # all that verl 0.9.1 reads
        "critic.optim.lr": "3e-05",
        "critic.optim.weight_decay": "0.01",
        "critic.optim.betas": "[0.9, 0.999]",
        "critic.optim.clip_grad": "1.0",
    }.items() <= ppo.items()


@pytest.mark.parametrize(
    ("algorithm", "estimator", "aggregation", "more"),
    [
        ("grpo", "grpo", "token-mean", {}),
        ("rloo", "rloo", "token-mean", {}),
        (
            "dr_grpo",
            "grpo",
            "seq-mean-token-sum-norm",
            {
                "algorithm.norm_adv_by_std_in_grpo": "false",
                "actor_rollout_ref.actor.loss_scale_factor": "3000",
            },
        ),
        (
            "gspo",
            "grpo",
            "seq-mean-token-mean",
            {"actor_rollout_ref.actor.policy_loss.loss_mode": '"gspo"'},
        ),
    ],
)
def test_an_algorithm_in_verls_words(paper, algorithm, estimator, aggregation, more):
    found, grpo = (settings(paper, "llama-3.2-3b", name) for name in (algorithm, "grpo"))
    expected = {
        "algorithm.adv_estimator": f'"{estimator}"',
        "actor_rollout_ref.actor.loss_agg_mode": f'"{aggregation}"',
        **more,
    }
    assert expected.items() <= found.items()
    assert found.items() - grpo.items() <= expected.items()


def test_a_methods_own_clip_is_both_of_verls_bounds(paper):
    """verl reads `clip_ratio` only where these are null, and by default they are 0.2."""
    data = copy.deepcopy(paper.model_dump(mode="json"))
    data["methods"]["gain"]["training"]["clip"] = 0.0003
    preset = plan.load(data)
    for method, clip in (("gain", 0.0003), ("grpo", 0.2)):
        training = preset.training_for("deepscaler", "llama-3.2-3b", method)
        pairs = overrides(
            preset.verl, training, preset.evaluation, PLACE, algorithms.named("gspo"), DEFAULT, 3
        )
        for name in ("clip_ratio", "clip_ratio_low", "clip_ratio_high"):
            assert f"actor_rollout_ref.actor.{name}={clip}" in pairs
        run = plan.run_slice(preset, "llama-3.2-3b", "deepscaler", method)
        assert run["training"]["clip"] == clip
        assert ("clip" in run["method"]["training"]) is (method == "gain")


def test_the_presets_own_keys_win(paper):
    keys = {
        "data.seed": 7,
        "+a.b": {"c": None, "d": "text"},
        "actor_rollout_ref.actor.grad_clip": 2,
    }
    changed = paper.model_copy(update={"verl": paper.verl.model_copy(update={"keys": keys})})
    found = settings(changed, "llama-3.2-3b")
    assert (found["data.seed"], found["actor_rollout_ref.actor.grad_clip"]) == ("7", "2")
    assert found["+a.b"] == '{c:null,d:"text"}'


def test_weights_are_exported_only_where_they_are_kept(paper):
    key = "actor_rollout_ref.actor.checkpoint.save_contents"
    assert settings(paper, "llama-3.2-3b")[key] == '["model", "optimizer", "extra", "hf_model"]'
    lean = settings(paper, "llama-3.2-3b", export=False)
    assert lean[key] == '["model", "optimizer", "extra"]'


@pytest.mark.parametrize("backend", ["local", "verl"])
def test_ppo_trains_on_both_backends_and_only_its_runs_depend_on_its_section(paper, backend):
    data = copy.deepcopy(paper.model_dump(mode="json"))
    data["training"]["backend"] = backend
    data["methods"]["gain"]["algorithm"] = "ppo"
    preset = plan.load(data)
    section = preset.ppo.model_copy(update={"critic_lr": 2e-5})
    changed = preset.model_copy(update={"ppo": section})
    for method, depends in (("gain", True), ("grpo", False)):
        run = ("llama-3.2-3b", "deepscaler", method)
        before, after = plan.run_slice(preset, *run), plan.run_slice(changed, *run)
        assert (before != after) is ("ppo" in before) is depends


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("actor_rollout_ref.actor.ulysses_sequence_parallel_size", 2),
        ("+algorithm.rollout_correction.bypass_mode", True),
    ],
)
def test_keys_that_take_the_signal_away_are_refused_before_anything_starts(paper, key, value):
    data = copy.deepcopy(paper.model_dump(mode="json"))
    data["verl"]["keys"] = {key: value}
    with pytest.raises(ConfigError, match=r"verl.keys: .*the angle signal"):
        plan.load(data)
    data["verl"]["keys"] = {key: 1 if value == 2 else False}
    plan.load(data)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("algorithm.filter_groups.enable", "a curriculum with a filter does it"),
        ("+algorithm.filter_groups.max_num_gen_batches", "a curriculum with a filter does it"),
        ("data.train_max_samples", "say datasets.*.train"),
        ("data.train_batch_size", "training.prompts"),
        ("~data.sampler", "gainrl plugs in here"),
        ("trainer.v1.sampler.custom_sampler.path", "gainrl plugs in here"),
        ("++trainer.total_training_steps", "training.steps"),
    ],
)
def test_keys_that_are_relied_on_are_refused_by_name(paper, key, said):
    data = copy.deepcopy(paper.model_dump(mode="json"))
    data["verl"]["keys"] = {key: 1}
    with pytest.raises(ConfigError) as caught:
        plan.load(data)
    assert f"verl.keys: {key}: " in str(caught.value)
    assert said in str(caught.value)


def test_what_we_set_and_rely_on_is_what_users_may_not(paper):
    """Keys of ours that are no choice of the user's, and none that tests and clusters need."""
    ours = {key.lstrip("+") for key in settings(paper, "llama-3.2-3b")}
    relied = {key for key in ours if any(f"{key}.".startswith(f"{each}.") for each in OURS)}
    assert {"data.train_files", "actor_rollout_ref.rollout.n", "trainer.save_freq"} <= relied
    assert "actor_rollout_ref.rollout.gpu_memory_utilization" not in relied
    free = ["data.seed", "ray_kwargs.ray_init.num_cpus", "actor_rollout_ref.rollout.dtype"]
    assert not [key for key in free if any(f"{key}.".startswith(f"{each}.") for each in OURS)]


@pytest.mark.parametrize(("context", "longest"), [(None, 9216), (4096, 4096), (32768, 9216)])
def test_vllm_holds_the_longest_prompt_with_the_longest_response(paper, context, longest):
    training = paper.training_for("deepscaler", "qwen2.5-math-7b")
    pairs = overrides(
        paper.verl, training, paper.evaluation, PLACE, algorithms.named("grpo"), DEFAULT, 3,
        context=context,
    )  # fmt: skip
    assert f"actor_rollout_ref.rollout.max_model_len={longest}" in pairs


def test_what_verl_is_told_reruns_a_run_and_where_it_runs_does_not(paper):
    run = ("llama-3.2-3b", "deepscaler", "gain")
    before = plan.run_slice(paper, *run)
    for key, value, changes in (
        ("keys", {"data.seed": 1}, True),
        ("nodes", 2, False),
        ("patience", 60, False),
        ("python", "/opt/python", False),
    ):
        verl = paper.verl.model_copy(update={key: value})
        after = plan.run_slice(paper.model_copy(update={"verl": verl}), *run)
        assert (after != before) is changes, key


def test_template_arguments_are_in_the_command_only_where_a_model_has_them(paper):
    training = paper.training_for("deepscaler", "qwen2.5-math-7b")
    asked = (paper.verl, training, paper.evaluation, PLACE, algorithms.named("grpo"), PPO(), 3)
    given = {"enable_thinking": False, "style": "terse"}
    added = set(overrides(*asked, arguments=given)) - set(overrides(*asked))
    assert added == {
        "+data.apply_chat_template_kwargs.enable_thinking=false",
        '+data.apply_chat_template_kwargs.style="terse"',
    }


def test_epochs_are_verls_ppo_epochs_and_its_default_is_not_said():
    key = "actor_rollout_ref.actor.ppo_epochs"
    grpo = algorithms.named("grpo")
    assert grpo.verl_keys(Training(epochs=2), DEFAULT)[key] == 2
    assert key not in grpo.verl_keys(Training(), DEFAULT)
