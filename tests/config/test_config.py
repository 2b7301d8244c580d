"""Presets: what is refused, with which words, and what each stage's result depends on."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
import yaml
from presets import BASE, PRESETS, REPOSITORY, changed, error_of

from gainrl import plan
from gainrl.config.preset import load_preset


def test_the_base_of_these_tests_is_a_valid_preset():
    assert plan.load(BASE).preset == "small"


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.name)
def test_every_preset_of_the_repository_loads_and_names_work(path):
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    preset = plan.load(path)
    assert plan.runs(preset) or preset.benchmarks or preset.simulation
    # What Snakemake writes at the start of a run and the stages read is the same preset again.
    assert plan.load(preset.model_dump(mode="json")) == preset


def test_presets_have_names_of_their_own():
    names = [load_preset(path).preset for path in PRESETS if path.exists()]
    assert len(set(names)) == len(names)


def test_loading_a_preset_imports_neither_torch_nor_mlflow():
    code = (
        "import sys; from gainrl import plan; plan.load(sys.argv[1]); "
        "print([name for name in ('torch', 'transformers', 'mlflow') if name in sys.modules])"
    )
    path = REPOSITORY / "experiments" / "tiny.yaml"
    command = [sys.executable, "-c", code, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


# --- unknown keys --------------------------------------------------------------------------------

PHASE = ("models", "nano", "warmup", "phases", 0)


@pytest.mark.parametrize(
    ("path", "near"),
    [
        (("trainin",), "training"),
        (("training", "rolouts"), "rollouts"),
        (("scoring", "batch_token"), "batch_tokens"),
        (("evaluation", "sample"), "samples"),
        (("statistics", "resample"), "resamples"),
        (("tracking", "url"), "uri"),
        (("cost", "peak_tflop"), "peak_tflops"),
        (("datasets", "chain", "levls"), "levels"),
        (("datasets", "gsm", "wramup"), "warmup"),
        (("models", "nano", "hiden"), "hidden"),
        (("models", "other", "revison"), "revision"),
        (("models", "nano", "warmup", "row_token"), "row_tokens"),
        ((*PHASE, "solution"), "solutions"),
        (("methods", "grpo", "ordr"), "order"),
        (("experiments", "table1", "method"), "methods"),
    ],
    ids=lambda value: value if isinstance(value, str) else ".".join(map(str, value)),
)
def test_an_unknown_key_is_named_with_its_path_and_the_nearest_name(path, near):
    message = error_of(changed(*path, to=1))
    key = ".".join(map(str, path))
    assert f"unknown key '{key}'; did you mean '{near}'?" in message


def test_a_key_of_another_source_is_unknown_and_its_hint_is_of_this_source():
    # 'task' belongs to generated data sets; the registry's entry has no such key.
    message = error_of(changed("datasets", "gsm", "task", to="chain"))
    assert "unknown key 'datasets.gsm.task'" in message
    assert "did you mean 'task'" not in message


@pytest.mark.parametrize("owner", ["chain", "nano"])
def test_an_unknown_key_in_an_override_has_its_whole_path(owner):
    message = error_of(changed("overrides", owner, "training", to={"stepps": 3}))
    assert f"overrides.{owner}.training" in message
    assert "stepps" in message
    assert "did you mean 'steps'?" in message


def test_overrides_are_of_training_or_evaluation():
    message = error_of(changed("overrides", "chain", "trainin", to={"steps": 3}))
    assert "overrides.chain.trainin" in message
    assert "did you mean 'training'?" in message


def test_several_problems_come_in_one_line():
    data = changed("training", "rolouts", to=3)
    data["evaluation"] = {"evry": 2}
    message = error_of(data)
    assert "training.rolouts" in message
    assert "evaluation.evry" in message


# --- unknown names -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "key", "hint"),
    [
        (("models", "nano", "source"), "nan", "models.nano.source", "'nano'"),
        (("datasets", "chain", "source"), "genrate", "datasets.chain.source", "'generate'"),
        (("datasets", "chain", "task"), "chian", "datasets.chain.task", "'chain'"),
        (("datasets", "gsm", "name"), "gsm8", "datasets.gsm.name", "'gsm8k'"),
        (("methods", "gain", "order"), "angel", "methods.gain.order", "'angle'"),
        (("methods", "adarft", "difficulty"), "mesured", "methods.adarft.difficulty", "'measured'"),
        (("methods", "grpo", "algorithm"), "grop", "methods.grpo.algorithm", "'grpo'"),
        (("training", "backend"), "locl", "training.backend", "'local'"),
        (("experiments", "table1", "datasets"), ["chian"], "experiments.table1.datasets", "chain"),
        (("experiments", "table1", "models"), ["nanno"], "experiments.table1.models", "'nano'"),
        (("experiments", "table1", "methods"), ["grp"], "experiments.table1.methods", "'grpo'"),
        (("experiments", "table1", "benchmarks"), ["wrd"], "experiments.table1.benchmarks", "word"),
        (("experiments", "table1", "baseline"), "gian", "experiments.table1.baseline", "'gain'"),
        ((*PHASE, "datasets"), ["chan"], "models.nano.warmup.phases", "'chain'"),
        (("overrides", "chian"), {"training": {"steps": 3}}, "overrides", "'chain'"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_an_unknown_name_is_named_with_its_key_and_the_nearest_one(path, value, key, hint):
    message = error_of(changed(*path, to=value))
    assert key in message
    wrong = value[0] if isinstance(value, list) else value if isinstance(value, str) else path[-1]
    assert f"'{wrong}'" in message
    assert "did you mean" in message
    assert hint in message


def test_a_baseline_must_be_one_of_the_experiments_methods():
    message = error_of(changed("experiments", "table1", "baseline", to="adarft"))
    assert "experiments.table1.baseline: unknown name 'adarft'" in message


CLAIM = {"statement": "x", "measure": "difference", "threshold": 0, "experiment": "table1"}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("experiments", "table1", "methods"), ["grpo", "gain", "grpo"], "'grpo' is there twice"),
        (("experiments", "table1", "models"), ["nano", "nano"], "'nano' is there twice"),
        (("experiments", "table1", "datasets"), ["word", "word"], "'word' is there twice"),
        (("experiments", "table1", "benchmarks"), ["gsm", "gsm"], "'gsm' is there twice"),
        (("datasets", "mixed"), {"source": "mix", "parts": ["chain", "chain"]}, "'chain' is there"),
        (("claims", "c"), CLAIM | {"methods": ["gain", "gain"]}, "'gain' is there twice"),
        (
            ("claims", "c"),
            CLAIM | {"methods": ["grpo"]},
            "claims.c.methods: 'grpo' is held against grpo, and would be its own rival",
        ),
        (
            ("claims", "c"),
            CLAIM | {"methods": ["gain"], "against": ["grpo", "gain"]},
            "claims.c.methods: 'gain' is held against grpo, gain, and would be its own rival",
        ),
    ],
)
def test_a_list_of_names_has_each_once_and_a_claim_no_method_against_itself(path, value, said):
    message = error_of(changed(*path, to=value))
    assert said in message
    assert ".".join(path[:2]) in message


@pytest.mark.parametrize("written", ["gian", {"name": "gian"}])
def test_an_unknown_curriculum(written):
    message = error_of(changed("methods", "gain", "curriculum", to=written))
    assert "config: methods.gain.curriculum: unknown curriculum 'gian'; did you mean 'g" in message


@pytest.mark.parametrize(
    ("method", "parameter", "hint"),
    [
        ("gain", "alfa", "'alpha'"),
        ("adarft", "etta", "'eta'"),
        ("grpo", "alpha", "takes no parameters"),
    ],
)
def test_an_unknown_curriculum_parameter(method, parameter, hint):
    policy = BASE["methods"][method]["curriculum"]
    name = policy if isinstance(policy, str) else policy["name"]
    message = error_of(changed("methods", method, "curriculum", to={"name": name, parameter: 1.0}))
    assert f"methods.{method}.curriculum" in message
    assert f"'{name}' has no parameter '{parameter}'" in message
    assert hint in message


@pytest.mark.parametrize("value", ["much", -1.0])
def test_a_curriculum_parameter_of_a_wrong_value_is_refused(value):
    parameters = {"name": "gain", "sigma": value}
    message = error_of(changed("methods", "gain", "curriculum", to=parameters))
    assert "methods.gain.curriculum" in message
    assert "sigma" in message or "gain" in message


@pytest.mark.parametrize("key", ["prompt", "system"])
def test_half_of_a_surrogate_pair_is_no_text(key):
    message = error_of(changed("datasets", "chain", key, to="go \udc4d {question}"))
    said = (
        rf"config: datasets.chain: '{key}' has half of a surrogate pair (\udc4d), which is no text"
    )
    assert message == said


@pytest.mark.parametrize(("method", "need"), [("gain", "order"), ("adarft", "difficulty")])
def test_a_method_that_lacks_what_its_curriculum_walks(method, need):
    message = error_of(changed("methods", method, need, to=None))
    assert message == f"config: methods.{method}: curriculum '{method}' needs the key '{need}'"


# --- wrong values --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("training", "mini_batch"), 3, ("training", "mini_batch 3", "prompts 8")),
        (("seeds",), [0, 1, 0], ("seeds", "distinct")),
        (("seeds",), [], ("seeds",)),
        (("seeds",), [-1], ("seeds",)),
        (("training", "lr"), "fast", ("training.lr",)),
        (("training", "steps"), 0, ("training.steps",)),
        (("training", "rollouts"), 1, ("training.rollouts",)),
        (("evaluation", "top_p"), 1.5, ("evaluation.top_p",)),
        (("preset",), "a/b", ("preset",)),
        (("preset",), "..", ("preset",)),
        (("datasets", "chain", "prompt"), "no place", ("datasets.chain.prompt", "{question}")),
        (("models", "nano", "heads"), 3, ("models.nano", "hidden")),
        (("methods",), None, ("methods",)),
        (("cost", "train_mfu"), 35, ("cost.train_mfu", "1")),
        (("cost", "decode_efficiency"), 0, ("cost.decode_efficiency", "0.001")),
        (("cost", "train_mfu"), [0.4, 0.2], ("cost.train_mfu", "[0.4, 0.2]", "higher")),
        (("cost", "response_tokens"), {"nano": 0}, ("cost.response_tokens", "1")),
        (("cost", "peak_tflops"), float("inf"), ("cost.peak_tflops", "finite")),
        (("cost", "memory_gb_per_s"), float("nan"), ("cost.memory_gb_per_s", "finite")),
        (("cost", "decode_batch"), 0, ("cost.decode_batch",)),
        (("cost", "overhead_seconds"), -1, ("cost.overhead_seconds",)),
        (("overrides", "chain", "training"), {"lr": 2}, ("overrides.chain.training", "lr")),
        (("overrides", "nano", "training"), {"mini_batch": 5}, ("overrides.nano", "mini_batch 5")),
    ],
    ids=str,
)
def test_a_wrong_value_is_named_with_its_key(path, value, words):
    message = error_of(changed(*path, to=value))
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", ["../up", "a b", ".hidden", ""])
def test_a_name_that_is_no_path_is_refused(name):
    data = copy.deepcopy(BASE)
    data["datasets"][name] = {"source": "generate", "task": "chain"}
    assert "datasets" in error_of(data)


def test_a_warm_up_needs_worked_solutions():
    message = error_of(changed("datasets", "chain", "warmup", to=0))
    assert "models.nano.warmup" in message
    assert "'chain'" in message


def test_a_nano_model_taught_to_program_needs_the_words_for_it():
    preset = changed("datasets", "chain", "task", to="code")
    message = error_of(preset)
    assert "models.nano.vocabulary: 'arithmetic' lacks words of data set 'chain'" in message
    preset["models"]["nano"]["vocabulary"] = "code"
    assert plan.load(preset)


def test_two_keys_of_one_override_are_checked_together():
    # mini_batch 3 does not divide the 8 prompts of the section, but it does divide the override's.
    data = changed("overrides", "chain", "training", to={"mini_batch": 3, "prompts": 6})
    assert plan.load(data).training_for("chain", "nano").mini_batch == 3


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"tokens": 900}, "training: tokens and tests are said together"),
        ({"tests": 3}, "training: tokens and tests are said together"),
        (
            {"tokens": 900, "tests": 3, "downsample": {"rollouts": [1, 0.5], "tokens": [1, 1]}},
            "training.tokens: training.downsample goes by the share of all steps",
        ),
        ({"tokens": 900, "tests": 3, "backend": "verl"}, "training.tokens is an option of"),
    ],
)
def test_a_run_by_tokens_is_refused_what_goes_by_steps(training, words):
    data = changed("training", to={**BASE["training"], **training})
    assert words in error_of(data)


def test_epochs_are_not_for_a_critic():
    data = changed("methods", "grpo", to={"algorithm": "ppo", "curriculum": "uniform"})
    data["training"]["epochs"] = 2
    assert "training.epochs: needs an algorithm without a critic (grpo on chain)" in error_of(data)


def test_a_missing_file(tmp_path):
    path = tmp_path / "none.yaml"
    assert error_of(path) == f"{path}: cannot read the preset: No such file or directory"


def test_a_folder_instead_of_a_file(tmp_path):
    assert str(tmp_path) in error_of(tmp_path)


@pytest.mark.parametrize("text", ["training: {steps: 3", "a: b: c", "\tx: 1"])
def test_broken_yaml_names_file_and_line(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    message = error_of(path)
    assert message.startswith(f"{path}: not valid YAML")
    assert "line 1" in message or "line 2" in message


def test_broken_json_names_the_file(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text('{"preset": ')
    assert error_of(path).startswith(f"{path}: not valid")


def test_bytes_that_are_not_text(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"preset: \xff\xfe\n")
    assert error_of(path) == f"{path}: not UTF-8 text (byte 8)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- 1\n- 2\n", "a preset is a mapping of keys, not list"),
        ("just words", "a preset is a mapping of keys, not str"),
        ("", "is empty; a preset is a mapping of keys"),
        ("# nothing\n", "is empty; a preset is a mapping of keys"),
    ],
)
def test_a_file_that_holds_no_mapping(tmp_path, text, said):
    path = tmp_path / "list.yaml"
    path.write_text(text)
    assert error_of(path) == f"{path}: {said}"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("training", "prompts"), -4, "training.prompts: is -4: must be greater than 0"),
        (("training", "prompts"), "few", "training.prompts: is 'few': must be a valid integer"),
        (("training",), 3, "training: is 3: must be a mapping of keys"),
        (("models", "nano"), 3, "models.nano: is 3: must be a mapping of keys"),
        (("methods", "grpo"), "uniform", "methods.grpo: is 'uniform': must be a mapping of keys"),
        (("seeds",), [], "seeds: has no entries: must have at least 1"),
        (("seeds",), [-1], "seeds.0: is -1: must be greater than or equal to 0"),
        (("preset",), None, "preset: is missing"),
        (
            ("experiments", "table1", "models"),
            None,
            "experiments.table1.models: is missing",
        ),
    ],
)
def test_a_wrong_value_is_shown_in_one_complaint(path, value, said):
    message = error_of(changed(*path, to=value))
    assert message.startswith(f"config: {said}")
    assert ";" not in message


def test_yaml_json_and_a_mapping_give_the_same_preset(tmp_path):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(BASE))
    (tmp_path / "a.json").write_text(json.dumps(BASE))
    expected = plan.load(BASE)
    assert plan.load(tmp_path / "a.yaml") == expected
    assert plan.load(tmp_path / "a.json") == expected


def test_an_error_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "typo.yaml"
    path.write_text(yaml.safe_dump(changed("trainin", to={})))
    assert error_of(path).startswith(f"{path}: unknown key 'trainin'")
