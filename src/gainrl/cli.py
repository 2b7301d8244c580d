"""The command line: one subcommand a stage. It parses, calls and prints; no logic."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import gainrl
from gainrl import plan
from gainrl.errors import UserError
from gainrl.linearity import plan as linearity_plan
from gainrl.study import plan as study_plan


def main(argv: Sequence[str] | None = None) -> int:
    """Run a stage; a user's error is one line on stderr and exit code 2."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")  # logs are files, not terminals
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        _run(arguments)
    except UserError as error:
        print(f"gainrl: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"gainrl: {error.filename or 'system'}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gainrl", description=gainrl.__doc__)
    parser.add_argument("--version", action="version", version=gainrl.__version__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, help_: str, *options: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_)
        command.add_argument("--preset", required=True, help="config.yaml or experiments/*.yaml")
        command.add_argument("--root", type=Path, default=Path("results"), help="default: results")
        for option in options:
            command.add_argument(f"--{option}", required=True, type=_TYPES.get(option, str))
        return command

    add("check", "check a preset and list its runs")
    add("data", "write a data set's prompt tables", "dataset")
    add("model", "fetch or build a model, warm-up included", "model")
    score = add("score", "prefill-score the training prompts (Eq. 5)", "model", "dataset")
    score.add_argument("--shard", type=int, help="one of scoring.shards jobs, from 0")
    add("gather", "put the shards of a score together", "model", "dataset")
    add("difficulty", "measure difficulties with rollouts", "model", "dataset")
    add("features", "principal components of the mean states", "model", "dataset")
    add("order", "sort prompts by a signal", "model", "dataset", "order")
    add("evaluate", "test the model as it is before RL", "model", "benchmark")
    train = add("train", "training runs, one after another", "model", "dataset", "method")
    train.add_argument("--seed", type=int, nargs="+", required=True, help="a run for each")
    for name, help_ in _STUDIES.items():
        add(name, help_, "model", "dataset")
    add("probe", "look into a run's snapshots", "model", "dataset", "method", "seed")
    add("linearity", "how straight a run moved", "model", "dataset", "method", "seed")
    add("linearity-table", "the table of how straight runs move", "out")
    drawn = add("linearity-figure", "a figure of how straight runs move", "out")
    drawn.add_argument("figure", choices=list(linearity_plan.FIGURES))
    add("signal", "the table of what C goes with", "out")
    study = add("study", "a figure about the signal", "out")
    study.add_argument("figure", choices=list(study_plan.FIGURES))
    add("table", "an experiment's table", "experiment", "out")
    add("figures", "an experiment's figures", "experiment", "out", "curriculum")
    add("selection", "a figure of the prompts that selections take", "experiment", "out")
    add("speed", "a figure of how far each method comes, and how fast", "experiment", "out")
    made = add("make", "a table or figure of the preset by its name")
    made.add_argument("name", help="of its file below results/, such as table1 or figures/figure7")
    report = add("report", "the page with tables, figures, cost and configuration", "out")
    report.add_argument(
        "--scope", choices=["first", "all"], default="first", help="experiments; default: first"
    )
    cost = add("plan", "estimate GPU-hours; write job scripts and verl command lines", "out")
    cost.add_argument("--profile", type=Path, default=Path("slurm"), help="default: slurm")
    test = add(
        "benchmark",
        "test a model under a protocol",
        *("subject", "benchmark", "protocol", "engine"),
    )
    test.add_argument("--shard", type=int, help="only generate: one of testing.shards, from 0")
    test.add_argument("--collect", action="store_true", help="only grade what the shards wrote")
    add("benchmarks", "the table of models as they are", "out")
    show = commands.add_parser("show", help="print the graded answers to a problem")
    show.add_argument("run", type=Path, help="folder of a run or of a model's tests")
    show.add_argument("--problem", required=True, help="id of the problem, or its end")
    show.add_argument("--benchmark", help="only this data set")
    line = commands.add_parser("extrapolate", help="a later checkpoint from two earlier ones")
    line.add_argument("--from", dest="first", type=Path, required=True, help="model at step T0")
    line.add_argument("--to", dest="second", type=Path, required=True, help="model at step T1")
    line.add_argument("--steps", type=int, nargs=3, required=True, metavar=("T0", "T1", "T"))
    line.add_argument("--out", type=Path, required=True, help="folder to write")
    line.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], help="default: T1's")
    claims = add("claims", "verdicts on the preset's claims", "out")
    claims.add_argument("--scope", choices=["all", "first"], default="all")
    simulate = add("simulate", "run curricula without a model", "out")
    simulate.add_argument("--figure", type=Path, help="PNG to draw; a PDF beside it")
    add("predictions", "how well the simulation ranks methods, by finished runs", "out")
    tracking = add("tracking", "set up the tracking store, or check it against the run folders")
    tracking.add_argument("action", choices=["init", "check"])
    return parser


_STUDIES = {
    "layers": "C by layer and cosine maps",
    "answers": "several answers to each of the first prompts",
    "gradients": "gradient norms of single prompts",
}
_TYPES = {"seed": int, "out": Path, "curriculum": Path}


def _run(arguments: argparse.Namespace) -> None:
    """Dispatch; heavy imports happen only in the stage that needs them."""
    if arguments.command == "show":
        from gainrl.stages import show

        show.show_problem(arguments.run, arguments.problem, arguments.benchmark)
        return
    if arguments.command == "extrapolate":
        from gainrl.models.extrapolation import extrapolate_checkpoint

        models, out = (arguments.first, arguments.second), arguments.out
        a = extrapolate_checkpoint(*models, tuple(arguments.steps), out, arguments.dtype)
        print(f"{out}: a = {a:g}")
        return
    preset = plan.load(arguments.preset)
    if arguments.command == "check":
        for key in plan.runs(preset):
            print(f"{key.parent}/seed{key.seed}")
        return
    from gainrl.stages.common import Context

    context = Context(preset, arguments.root)
    plan.check_names(preset, vars(arguments))
    if arguments.command in ("data", "model"):
        from gainrl.stages import prepare

        if arguments.command == "data":
            prepare.prepare_data(context, arguments.dataset)
        else:
            prepare.build_model(context, arguments.model)
    elif arguments.command in ("score", "gather"):
        from gainrl.stages import score

        where = (context, arguments.model, arguments.dataset)
        if arguments.command == "gather":
            score.gather_scores(*where)
        elif arguments.shard is None:
            score.score_prompts(*where)
        else:
            score.score_shard(*where, arguments.shard)
    elif arguments.command == "features":
        from gainrl.stages import features

        features.measure_features(context, arguments.model, arguments.dataset)
    elif arguments.command in ("difficulty", "order"):
        from gainrl.stages import orders as signals

        where = (context, arguments.model, arguments.dataset)
        if arguments.command == "difficulty":
            signals.measure_difficulty(*where)
        else:
            signals.make_order(*where, arguments.order)
    elif arguments.command == "evaluate":
        from gainrl.stages import evaluate

        evaluate.evaluate_start(context, arguments.model, arguments.benchmark)
    elif arguments.command == "benchmark":
        from gainrl.plan.benchmarks import parse
        from gainrl.stages import benchmark

        names = (arguments.benchmark, arguments.protocol, arguments.engine)
        test = parse(preset, arguments.subject, *names)
        if not arguments.collect:
            benchmark.generate(context, test, arguments.shard or 0)
        if arguments.shard is None:
            benchmark.collect(context, test)
    elif arguments.command == "benchmarks":
        from gainrl.tables import make as results

        results.make_benchmarks(context, arguments.out)
    elif arguments.command == "train":
        from gainrl.stages.runs import train

        named = (arguments.model, arguments.dataset, arguments.method)
        train(context, [plan.RunKey(*named, seed) for seed in arguments.seed])
    elif arguments.command in (*_STUDIES, "probe"):
        from gainrl.study import measure as studies

        if arguments.command == "probe":
            key = plan.RunKey(arguments.model, arguments.dataset, arguments.method, arguments.seed)
            studies.probe_run(context, key)
        else:
            stage = getattr(studies, f"study_{arguments.command}")
            stage(context, arguments.model, arguments.dataset)
    elif arguments.command == "linearity":
        from gainrl.linearity import trace as linearity

        key = plan.RunKey(arguments.model, arguments.dataset, arguments.method, arguments.seed)
        linearity.trace_run(context, key)
    elif arguments.command in ("linearity-table", "linearity-figure"):
        from gainrl.linearity import make as linearity_results

        if arguments.command == "linearity-table":
            linearity_results.make_linearity_table(context, arguments.out)
        else:
            linearity_results.make_linearity_figure(context, arguments.figure, arguments.out)
    elif arguments.command == "make":
        from gainrl.report.make import make_result

        make_result(context, arguments.name)
    elif arguments.command == "report":
        from gainrl.report.make import make_report

        make_report(context, arguments.out, everything=arguments.scope == "all")
    elif arguments.command == "plan":
        from gainrl.cost import make as cost

        cost.make_plan(context, arguments.preset, arguments.out, arguments.profile)
    elif arguments.command == "claims":
        from gainrl.claims import make as claims

        claims.make_claims(context, arguments.scope == "all", arguments.out)
    elif arguments.command in ("simulate", "predictions"):
        from gainrl.simulation import make as simulate

        if arguments.command == "simulate":
            simulate.make_simulation(context, arguments.out, arguments.figure)
        else:
            simulate.make_predictions(context, arguments.out)
    elif arguments.command in ("signal", "study"):
        from gainrl.study import make as study_results

        if arguments.command == "signal":
            study_results.make_signal_table(context, arguments.out)
        else:
            study_results.make_study_figure(context, arguments.figure, arguments.out)
    else:
        from gainrl.tables import make as results

        if arguments.command == "table":
            results.make_table(context, arguments.experiment, arguments.out)
        elif arguments.command == "selection":
            results.make_selection_figure(context, arguments.experiment, arguments.out)
        elif arguments.command == "speed":
            results.make_speed_figure(context, arguments.experiment, arguments.out)
        elif arguments.command == "figures":
            results.make_figures(context, arguments.experiment, arguments.out, arguments.curriculum)
        elif arguments.action == "init":
            results.initialise_tracking(context)
        else:
            results.check_tracking(context)


if __name__ == "__main__":
    sys.exit(main())
