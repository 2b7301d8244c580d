"""The command line: a declaration a command. It parses, calls and prints; no logic.

What a command calls is imported only when it runs: `gainrl --help` imports nothing, `gainrl check`
no pandas and no torch.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import gainrl
from gainrl.commands import PRESET, command, option
from gainrl.errors import UserError
from gainrl.ordering.asked import OPTIONS


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code. A user's error is one line on stderr and exit code 2."""
    argv = sys.argv[1:] if argv is None else argv
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    if not ONLINE.intersection(argv[:1]):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub's library is imported
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")  # logs are files, not terminals
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    given = vars(_parser().parse_args(argv))
    name = given.pop("command")
    try:
        return next(each for each in COMMANDS if each.name == name).run(given)
    except UserError as error:
        print(f"gainrl: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"gainrl: {error.filename or 'system'}: {error.strerror or error}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage, which takes up to twenty."""
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gainrl",
        description=gainrl.__doc__,
        epilog=_listed(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gainrl {gainrl.__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", help="one of those below"
    )
    for each in COMMANDS:
        each.add_to(commands.add_parser(each.name, description=each.help))
    return parser


def grouped() -> dict[str, tuple[str, ...]]:
    """Names of all commands in the groups of GROUPS; the rest are jobs."""
    known = {name for names in GROUPS.values() for name in names}
    rest = tuple(each.name for each in COMMANDS if each.name not in known)
    return {**GROUPS, "jobs of the pipeline, which Snakemake calls": rest}


def _listed() -> str:
    """Every command with what it does, by group."""
    helps = {each.name: each.help for each in COMMANDS}
    lines = []
    for title, names in grouped().items():
        lines += [f"{title}:", *(f"  {name:<17} {helps[name]}" for name in names), ""]
    return "\n".join([*lines, "gainrl COMMAND --help says a command's options."])


# --- the commands --------------------------------------------------------------------------------

ONLINE = frozenset({"data", "order", "fetch", "init", "plan", "doctor"})
"""Commands that may ask the hub. All others are jobs, which may have no network and need none."""
GROUPS = {
    "with your own files": ("order", "check-curriculum", "compare", "grade", "extrapolate"),
    "with a preset": (
        *("init", "power", "check", "doctor", "plan", "make", "report", "show", "ui", "tracking"),
    ),
}
"""How `gainrl --help` sorts the commands."""
PLACE = ("model", "dataset")
RUN = (*PLACE, "method", "seed")
COMMANDS = (
    command(
        "compare",
        "compare methods by the learning curves of your own runs",
        "comparing:compare_files",
        option("files", nargs="*", type=Path, help="CSV, trainer_state.json of TRL, JSONL of verl"),
        option("--mlflow", metavar="EXPERIMENT", help="of the store MLFLOW_TRACKING_URI"),
        option("--baseline", help="default: the first method"),
        option("--rule", default="difference > 0", help="of the verdict; default: difference > 0"),
        option("--out", type=Path, help="write .md, .tex and .json beside each other"),
        option("--figure", type=Path, help="PNG to draw; a PDF beside it"),
        option("--columns", nargs="+", default=(), metavar="NAME=COLUMN", help="of a CSV"),
        option("--wandb-csv", dest="wandb", action="store_true", help="CSVs are W&B's exports"),
        option("--metric", default="", help="of the accuracy, in logs"),
        option("--tokens", default="", help="metric of the tokens, in logs"),
        option("--tokens-each-step", action="store_true", help="it is no running total"),
        option("--runs", help="regular expression with the groups method and seed (and task)"),
        option("--seeds", type=int, nargs="+", help="compare only these"),
        option(
            "--smoothing", type=int, help="tests in a level; default: a third of a run's, at most 3"
        ),
        option("--any-value", action="store_true", help="accuracies outside [0, 1] are meant"),
        preset=False,
    ),
    command(
        "power",
        "what pilot runs say of a study's sizes: seeds, problems, the smallest difference",
        "power.make:power",
        option("sources", nargs="*", type=Path, metavar="files", help="curves, as compare reads"),
        option("--preset", help="its finished runs in place of files"),
        option("--experiment", help="of the preset; default: the first"),
        option("--root", type=Path, help="of the preset's runs; default: results"),
        option("--baseline", help="default: the experiment's, or the first method of the files"),
        option("--starts", action="store_true", help="the tasks are start models of one task"),
        option("--difference", type=float, help="to decide; default: 2 points"),
        option("--speedup", type=float, default=1.2, help="ratio to decide; default: 1.2"),
        option("--power", dest="wanted_power", type=float, default=0.8, help="default: 0.8"),
        option("--alpha", type=float, default=0.05, help="two-sided; default: 0.05"),
        option("--seeds", type=int, nargs="+", default=(3, 5, 10, 20, 40), help="to look at"),
        option("--problems", type=int, nargs="+", default=(), help="of a test, to look at"),
        option("--samples", type=int, nargs="+", default=(), help="answers of each, to look at"),
        option("--smoothing", type=int, default=1, help="tests in a level; default: 1"),
        option("--out", type=Path, help="write .csv, .md, .tex and .json beside each other"),
        option("--columns", nargs="+", default=(), metavar="NAME=COLUMN", help="of a CSV"),
        option("--metric", default="", help="of the accuracy, in logs"),
        option("--runs", help="regular expression with the groups method and seed (and task)"),
        option("--wandb-csv", dest="wandb", action="store_true", help="CSVs are W&B's exports"),
        option("--any-value", action="store_true", help="accuracies outside [0, 1] are meant"),
        preset=False,
    ),
    command(
        "grade",
        "grade a file of answers",
        "grading.answers:grade_file",
        option("answers", type=Path, help="JSONL with answers and gold answers"),
        option("--out", type=Path, help="default: beside it, NAME-graded.jsonl"),
        option("--answer", default="answer", help="column of the answers; default: answer"),
        option("--gold", default="gold", help="column of the gold answers; default: gold"),
        option(
            "--grader",
            default="maths",
            help="maths (default), maths-tolerant, code, or one of yours, file.py:function",
        ),
        option("--workers", type=int, help="processes; default: one for each core"),
        preset=False,
    ),
    command(
        "check-curriculum",
        "a page on a policy of yours: its contract, time and memory, a run against uniform",
        "simulation.check:check_curriculum",
        option("policy", help="module:Class, a name, or a composition as JSON"),
        option("--set", dest="settings", action="append", metavar="KEY=VALUE", help="a parameter"),
        option("--size", type=int, default=1_000_000, help="prompts, for time and memory"),
        option("--out", type=Path, help="a file in place of the terminal"),
        preset=False,
    ),
    command(
        "init",
        "write a preset that compares ten methods on your model and data (in the clone's root)",
        "starting:init",
        option("--model", required=True, help="a folder, or an id of the hub"),
        option("--data", required=True, help="a file, or a registered data set"),
        option("--test", help="a file of held-out problems, beside a file"),
        option("--hours", type=float, default=2.0, help="for all runs, here; default: 2"),
        option("--seeds", type=int, default=3, help="default: 3"),
        option("--methods", nargs="+", help="default: the ten of experiments/compare.yaml"),
        option("--answer-after", help="what stands before the answer in a gold text"),
        option("--out", type=Path, default=Path("mine.yaml"), help="default: mine.yaml"),
        preset=False,
    ),
    command(
        "check",
        "open what a preset names: data, models, batches, policies; in seconds",
        "calls:check",
        *PRESET,
        option("--runs", action="store_true", help="list its runs"),
        preset=False,
    ),
    command(
        "doctor",
        "look whether this machine and its cluster can run a preset",
        "doctor.make:doctor",
        option("--preset", help="without it, the machine alone"),
        option("--root", type=Path, default=Path("results"), help="default: results"),
        option("--profile", type=Path, help="jobs run on SLURM: folder of the profile (slurm)"),
        option("--node", action="store_true", help="look at a GPU node, by a job of a minute"),
        option("--json", dest="as_json", action="store_true", help="a list in place of lines"),
        preset=False,
    ),
    command("data", "write a data set's prompt tables", "stages.data:prepare_data", "dataset"),
    command("fetch", "download a model", "stages.fetch:fetch_model", "model"),
    command(
        "model",
        "fetch or build a model, warm-up included",
        "stages.prepare:build_model",
        "model",
        alone=True,
    ),
    command(
        "prompts",
        "choose the training prompts that fit a model",
        "stages.prompts:choose_prompts",
        *PLACE,
    ),
    command(
        "score",
        "prefill-score the training prompts (Eq. 5)",
        "calls:score",
        *PLACE,
        option("--shard", type=int, help="one of scoring.shards jobs, from 0"),
        alone=True,
    ),
    command("gather", "put the shards of a score together", "stages.score:gather_scores", *PLACE),
    command(
        "difficulty",
        "measure difficulties with rollouts",
        "calls:difficulty",
        *PLACE,
        option("--shard", type=int, help="only generate: one of scoring.difficulty_shards, from 0"),
        option("--collect", action="store_true", help="only grade what the shards wrote"),
        alone=True,
    ),
    command(
        "features",
        "principal components of the mean states",
        "stages.features:measure_features",
        *PLACE,
    ),
    command(
        "order",
        "sort a file's rows by a signal, or with --preset the pipeline's prompts",
        "calls:order",
        option("source", nargs="?", help="JSONL, JSON or Parquet file, or OWNER/NAME of the hub"),
        option("--model", help="folder, OWNER/NAME of the hub, or the preset's name of it"),
        option("--preset", help="of the pipeline; then --model, --dataset and --order"),
        option("--root", type=Path, help="of the pipeline's results"),
        option("--dataset", help="of the preset"),
        option("--order", help="of the preset: angle, length, ..."),
        *(option(f"--{name.replace('_', '-')}", **each) for name, each in OPTIONS.items()),
        preset=False,
        extra="score",
    ),
    command(
        "evaluate",
        "test the model as it is before RL",
        "stages.evaluate:evaluate_start",
        "model",
        "benchmark",
        alone=True,
    ),
    command(
        "train",
        "training runs, one after another",
        "calls:train",
        *PLACE,
        "method",
        option("--seed", type=int, nargs="+", required=True, help="a run for each"),
    ),
    command(
        "tune",
        "choose a method's setting from the runs of those that it tried",
        "tuning.choose:choose",
        *PLACE,
        "method",
    ),
    command("layers", "C by layer and cosine maps", "study.measure:study_layers", *PLACE),
    command(
        "answers",
        "several answers to each of the first prompts",
        "study.measure:study_answers",
        *PLACE,
    ),
    command(
        "gradients", "gradient norms of single prompts", "study.measure:study_gradients", *PLACE
    ),
    command("probe", "look into a run's snapshots", "calls:probe", *RUN),
    command("linearity", "how straight a run moved", "calls:linearity", *RUN),
    command(
        "make",
        "a table or figure of the preset by its name",
        "report.make:make_result",
        option(
            "name", help="of its file in the preset's folder, such as table1 or figures/figure7"
        ),
    ),
    command(
        "copy",
        "a preset's table or figure beside the presets' folders (`snakemake results/table1.csv`)",
        "report.copies:copy_result",
        "out",
    ),
    command(
        "report",
        "the page with tables, figures, cost and configuration",
        "calls:report",
        "out",
        option(
            "--scope", choices=["first", "all"], default="first", help="experiments; default: first"
        ),
    ),
    command(
        "study",
        "the page of tuned comparisons: question, design, table, figure, verdicts",
        "report.study:make_study",
        "out",
    ),
    command(
        "rehearsal",
        "the table and the page of a rehearsal's jobs (`snakemake rehearse` calls it)",
        "rehearsal.make:make_rehearsal",
        option("--jobs", required=True, type=Path, help="what the workflow wrote of its jobs"),
        "out",
    ),
    command(
        "plan",
        "estimate GPU-hours; write job scripts and verl command lines",
        "calls:plan",
        *PRESET,
        "out",
        option("--profile", type=Path, default=Path("slurm"), help="default: slurm"),
        preset=False,
    ),
    command(
        "benchmark",
        "test a model under a protocol",
        "calls:benchmark",
        "subject",
        "benchmark",
        "protocol",
        "engine",
        option("--shard", type=int, help="only generate: one of testing.shards, from 0"),
        option("--collect", action="store_true", help="only grade what the shards wrote"),
        alone=True,
    ),
    command(
        "show",
        "print the graded answers to a problem",
        "stages.show:show_problem",
        option("run", type=Path, help="folder of a run or of a model's tests"),
        option("--problem", required=True, help="id of the problem, or its end"),
        option("--benchmark", help="only this data set"),
        preset=False,
    ),
    command(
        "extrapolate",
        "a later checkpoint from two earlier ones",
        "calls:extrapolate",
        option("--from", dest="first", type=Path, required=True, help="model at step T0"),
        option("--to", dest="second", type=Path, required=True, help="model at step T1"),
        option("--steps", type=int, nargs=3, required=True, metavar=("T0", "T1", "T")),
        option("--out", type=Path, required=True, help="folder to write"),
        option("--dtype", choices=["float32", "float16", "bfloat16"], help="default: T1's"),
        preset=False,
    ),
    command(
        "simulate",
        "run curricula without a model",
        "calls:simulate",
        "out",
        option("--figure", type=Path, help="PNG to draw; a PDF beside it"),
    ),
    command(
        "ui",
        "show the runs in MLflow's pages, and say where they compare the methods",
        "stages.tracking:show_runs",
        option("--port", type=int, default=5000, help="default: 5000"),
    ),
    command(
        "tracking",
        "set up the tracking store, fill it from journals, or check it against the run folders",
        "calls:tracking",
        option("action", choices=["init", "sync", "check"]),
        option("--only", type=Path, help="init: what a call of Snakemake needs; default: all"),
    ),
)


if __name__ == "__main__":
    sys.exit(main())
