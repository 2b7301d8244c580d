"""Run by verl's Python: what verl makes of the keys that we set.

`python config_keys.py OVERRIDES RESULT`. OVERRIDES: JSON, by name a list of Hydra overrides.
RESULT: by name, for each key what we gave, its value once verl has checked the configuration and
made its own classes of it, and whether verl's code reads anything of that name.
"""

import ast
import json
import re
import sys
from pathlib import Path

import verl
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config

SECTIONS = (
    "actor_rollout_ref.actor",
    "actor_rollout_ref.model",
    "actor_rollout_ref.rollout",
    "algorithm",
    "critic",
)
"""What verl turns into classes of its own as they are."""
OTHERS = ("megatron", "veomni", "torchtitan", "mindspeed", "automodel", "experimental/fully_async")
OTHERS += ("experimental/separation", "ppo/ray_trainer", "main_ppo_v0", "sft_trainer", "tinker")
"""Parts of paths of files that read keys in trainers and engines that are not ours."""


def names_read():
    """Attributes and texts that verl's code names, and keys that take their value from others.

    Classes that declare keys check their own: that is no reading. One of them acts: HFModelConfig
    imports its external_lib.
    """
    found, home = {"external_lib"}, Path(verl.__file__).parent
    for path in home.rglob("*.yaml"):
        for taken in re.findall(r"\$\{([^}]*)\}", path.read_text()):
            found.update(re.findall(r"\w+", taken))
    for path in home.rglob("*.py"):
        if any(part in str(path.relative_to(home)) for part in OTHERS):
            continue
        declares = "config" in str(path.relative_to(home))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                if not (declares and isinstance(node.value, ast.Name) and node.value.id == "self"):
                    found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not declares:
                found.add(node.value)
    return found


def at(values, key):
    """What stands at a dotted key of a configuration, of classes or of both."""
    for name in key.split("."):
        values = values[name] if isinstance(values, dict) else getattr(values, name)
    return values


def values_of(overrides):
    """Every key's value, in verl's classes where it has one for it."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=overrides)
    validate_config(config, need_reference_policy(config), need_critic(config))
    plain, classes = OmegaConf.to_container(config, resolve=True), {}
    for section in SECTIONS:
        found = OmegaConf.select(config, section)
        if "_target_" in found and any(each.startswith(f"{section}.") for each in overrides):
            classes[section] = omega_conf_to_dataclass(found)
    values = {}
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        inside = [section for section in classes if key.startswith(f"{section}.")]
        try:
            if inside:
                value = at(classes[inside[0]], key.removeprefix(f"{inside[0]}."))
            else:
                value = at(plain, key)
        except (AttributeError, KeyError):
            value = "(gone)"
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        values[key] = {"given": override.value(), "value": value}
    return values


def main(source, target):
    given = json.loads(Path(source).read_text())
    read = names_read()
    result = {name: values_of(overrides) for name, overrides in given.items()}
    for values in result.values():
        for key, found in values.items():
            found["read"] = key.split(".")[-1] in read
    Path(target).write_text(json.dumps(result, default=str))


main(*sys.argv[1:])
