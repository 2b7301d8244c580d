"""What follows from a preset: its runs, files, inputs, checks. Snakefile and stages ask here.

Imported while the DAG is built: no torch.
"""

from gainrl.plan.backends import backend_of
from gainrl.plan.checks import check_names, load
from gainrl.plan.datasets import DATA_DIR, data_dir, datasets_of, difficulty_ranges, known_rows
from gainrl.plan.fingerprints import (
    answers_slice,
    dataset_slice,
    difficulty_slice,
    digest,
    evaluation_slice,
    features_slice,
    file_digest,
    gradients_slice,
    layers_slice,
    model_slice,
    probe_slice,
    prompts_slice,
    run_slice,
    score_slice,
    table_slice,
)
from gainrl.plan.inputs import (
    Inputs,
    held_out,
    inputs_of,
    preparation,
    selections,
    warmup_tables,
)
from gainrl.plan.layout import Layout, RunKey
from gainrl.plan.policies import policy_of
from gainrl.plan.runs import (
    ORDERS,
    PromptLimits,
    benchmarks_of,
    experiments_of,
    need_studies,
    order_keys,
    probe_steps,
    probed,
    prompt_limits,
    runs,
    selecting,
    snapshots,
    traced,
)

__all__ = [
    "DATA_DIR",
    "ORDERS",
    "Inputs",
    "Layout",
    "PromptLimits",
    "RunKey",
    "answers_slice",
    "backend_of",
    "benchmarks_of",
    "check_names",
    "data_dir",
    "dataset_slice",
    "datasets_of",
    "difficulty_ranges",
    "difficulty_slice",
    "digest",
    "evaluation_slice",
    "experiments_of",
    "features_slice",
    "file_digest",
    "gradients_slice",
    "held_out",
    "inputs_of",
    "known_rows",
    "layers_slice",
    "load",
    "model_slice",
    "need_studies",
    "order_keys",
    "policy_of",
    "preparation",
    "probe_slice",
    "probe_steps",
    "probed",
    "prompt_limits",
    "prompts_slice",
    "run_slice",
    "runs",
    "score_slice",
    "selecting",
    "selections",
    "snapshots",
    "table_slice",
    "traced",
    "warmup_tables",
]
