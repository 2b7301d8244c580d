"""Every rule says which kind of job it is, and the cluster profile what that kind gets."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import REPOSITORY
from snakemake.api import SnakemakeApi
from snakemake.cli import parse_set_resources
from snakemake.rules import Rule
from snakemake.settings.types import (
    ConfigSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
)

PRESETS = sorted(
    path
    for path in (REPOSITORY / "config.yaml", *(REPOSITORY / "experiments").glob("*.yaml"))
    if "preset" in yaml.safe_load(path.read_text())
)
PROFILE = yaml.safe_load((REPOSITORY / "slurm" / "config.yaml").read_text())


def profile(**site: Any) -> dict[str, dict[str, Any]]:
    """The `set-resources` of the profile, its block filled in as a user does."""
    text = (REPOSITORY / "slurm" / "config.yaml").read_text()
    for key, value in site.items():
        before = f"  {key}: &{key} "
        (line,) = [each for each in text.splitlines() if each.startswith(before)]
        text = text.replace(line, f"{before}{value}")
    return yaml.safe_load(text)["set-resources"]


def rules_of(preset: Path, kinds: dict[str, dict[str, Any]] | None = None) -> dict[str, Rule]:
    """The rules of a preset that are jobs on a cluster, read as with `snakemake --profile`."""
    assigned = [
        f"{kind}:{k}={v}" for kind, found in (kinds or {}).items() for k, v in found.items()
    ]
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(
                cores=1, overwrite_resources=parse_set_resources(assigned)
            ),
            config_settings=ConfigSettings(configfiles=[preset]),
            snakefile=REPOSITORY / "workflow" / "Snakefile",
            workdir=REPOSITORY,
        )._workflow
        local = workflow._localrules
        return {
            each.name: each for each in workflow.rules if not (each.norun or each.name in local)
        }


class Wildcards(dict[str, str]):
    """As Snakemake gives them to functions."""

    __getattr__ = dict.__getitem__


def asked(rule: Rule, attempt: int = 1, **wildcards: str) -> dict[str, Any]:
    """What a job of a rule asks for."""
    rule.resources["_cores"] = 1  # threads may depend on more wildcards, and are nothing of a kind
    found = rule.expand_resources(Wildcards(wildcards), [], attempt)
    return dict(found.items())


@pytest.fixture(scope="module", params=PRESETS, ids=lambda path: path.stem)
def rules(request: pytest.FixtureRequest) -> dict[str, Rule]:
    found = rules_of(request.param, PROFILE["set-resources"])
    assert {"prompts", "evaluate", "train"} <= set(found)
    return found


PLACE = {"model": "qwen2.5-math-7b", "dataset": "deepscaler", "method": "gain", "seed": "0"}


def test_every_rule_is_local_or_has_a_kind(rules: dict[str, Rule]) -> None:
    without = {name for name, rule in rules.items() if "kind" not in rule.resources}
    assert not without, "name their kind: `resources: **needs(KIND)` (rules/kinds.smk)"
    assert {rule.resources["kind"].value for rule in rules.values()} <= set(
        PROFILE["set-resources"]
    )


def test_time_and_memory_of_every_rule_grow(rules: dict[str, Rule]) -> None:
    for name, rule in rules.items():
        if name in ("train", "try_setting"):
            continue  # their GPUs depend on the run
        said = PROFILE["set-resources"][rule.resources["kind"].value]
        for attempt in (1, 2, 3):
            found = asked(rule, attempt)
            for key in ("runtime", "mem_mb"):
                assert found[key] == min(said[key] * attempt, said[f"max_{key}"]), (name, key)
        assert found.get("gpu", 0) == (1 if rule.resources["kind"].value == "gpu" else 0)
        assert not {"max_runtime", "max_mem_mb"} & set(found)


def test_a_run_on_verl_gets_what_the_preset_and_the_block_say() -> None:
    kinds = profile(max_minutes=2000, train_minutes=900, train_mem_mb=600000, gpu_partition="big")
    train = rules_of(REPOSITORY / "experiments" / "paper.yaml", kinds)["train"]
    first, second, third = (asked(train, attempt, **PLACE) for attempt in (1, 2, 3))
    assert (first["kind"], first["gpu"], first["nodes"]) == ("training", 8, 1)
    assert (first["slurm_partition"], first["gpu_model"]) == ("big", "a100")
    assert [each["runtime"] for each in (first, second, third)] == [900, 1800, 2000]
    assert [each["mem_mb"] for each in (first, second, third)] == [600000, 1000000, 1000000]


def test_a_local_run_is_a_job_on_one_gpu() -> None:
    train = rules_of(REPOSITORY / "experiments" / "small.yaml", PROFILE["set-resources"])["train"]
    assert train.resources["kind"].value == "gpu"


def test_a_model_of_gpu_with_a_hyphen() -> None:
    kinds = profile(gpu_model="a100-sxm4-80gb")
    kinds["training"] = {**kinds["training"], "slurm_extra": "'--signal=USR1@600'"}
    rules = rules_of(REPOSITORY / "experiments" / "paper.yaml", kinds)
    score, train = asked(rules["score"]), asked(rules["train"], **PLACE)
    assert score["slurm_extra"] == "--gpus-per-node=a100-sxm4-80gb:1"
    assert train["slurm_extra"] == "--signal=USR1@600 --gpus-per-node=a100-sxm4-80gb:8"
    assert not {"gpu", "gpu_model"} & {*score, *train}


def test_what_runs_wait_for_comes_first_then_the_longest_runs() -> None:
    rules = rules_of(REPOSITORY / "experiments" / "paper.yaml")

    def priority(model: str, dataset: str) -> float:
        wildcards = Wildcards({**PLACE, "model": model, "dataset": dataset})
        return rules["train"].expand_priority(wildcards, [], 1)

    runs = [
        priority("qwen2.5-math-7b", "deepscaler"),
        priority("qwen2.5-math-1.5b", "deepscaler"),
        priority("qwen2.5-0.5b", "gsm8k"),
        rules["benchmark"].priority,
    ]
    assert runs == sorted(set(runs), reverse=True)
    for name in ("score", "difficulty", "evaluate"):
        assert rules[name].priority > runs[0]


def test_no_block_is_filled_in() -> None:
    kinds = profile(gpu_model="null")
    found = asked(rules_of(REPOSITORY / "experiments" / "paper.yaml", kinds)["score"])
    assert found["gpu"] == 1
    assert not {"gpu_model", "slurm_partition", "slurm_account", "slurm_extra"} & set(found)


def test_without_a_profile_gpus_alone_are_counted() -> None:
    found = asked(rules_of(REPOSITORY / "config.yaml")["score"])
    assert found["gpu"] == 1
    assert not {"runtime", "mem_mb", "slurm_partition"} & set(found)


def test_what_the_profile_says_of_one_rule_wins() -> None:
    kinds = copy.deepcopy(PROFILE["set-resources"]) | {"score": {"mem_mb": 123}}
    rules = rules_of(REPOSITORY / "experiments" / "paper.yaml", kinds)
    assert asked(rules["score"])["mem_mb"] == 123
    assert asked(rules["difficulty"])["mem_mb"] == 64000
