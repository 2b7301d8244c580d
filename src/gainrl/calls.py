"""Commands that say in other words what they call. Each imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gainrl.commands import context_of
from gainrl.errors import ConfigError
from gainrl.ordering.asked import OPTIONS

if TYPE_CHECKING:
    from gainrl.stages.common import Context


def check(preset: str, root: Path | None, runs: bool) -> int:
    """Look at what a preset names; 1 if a run would die of what was found.

    Args:
        runs: list the preset's runs as well.
    """
    from gainrl import plan

    checked = plan.load(preset)
    from gainrl.doctor.make import check_preset  # after the preset, whose errors come at once
    from gainrl.report.plan import results

    root = root or Path("results")
    results(checked, plan.Layout(checked.preset, root))  # two of one name are an error
    code = check_preset(checked, root)
    for key in plan.runs(checked) if runs else ():
        print(f"{key.parent}/seed{key.seed}")
    return code


def score(context: Context, model: str, dataset: str, shard: int | None) -> None:
    """Score all training prompts, or a shard of them."""
    from gainrl.stages import score as stage

    if shard is None:
        stage.score_prompts(context, model, dataset)
    else:
        stage.score_shard(context, model, dataset, shard)


def difficulty(
    context: Context, model: str, dataset: str, shard: int | None, collect: bool
) -> None:
    """Measure difficulties: all of it, a shard of the rollouts, or what the shards wrote."""
    from gainrl.stages import difficulty as stage

    if collect:
        stage.gather_difficulty(context, model, dataset)
    elif shard is None:
        stage.measure_difficulty(context, model, dataset)
    else:
        stage.generate_rollouts(context, model, dataset, shard)


def order(
    source: str | None,
    model: str | None,
    preset: str | None,
    root: Path | None,
    dataset: str | None,
    order: str | None,
    *file: Any,
) -> None:
    """Order a file, or with a preset its prompts (ConfigError: options of both)."""
    given = dict(zip(OPTIONS, file, strict=True))
    if preset is None:
        from gainrl.ordering.asked import Asked

        asked: Any = {"source": source, "model": model, **given}
        if dataset is not None or order is not None:
            raise ConfigError("gainrl order: --dataset and --order go with --preset; see --by")
        if root is not None:
            raise ConfigError("gainrl order: --root goes with --preset")
        wanted = Asked(**asked)  # before what takes seconds to import
        from gainrl.ordering.order import order_file

        order_file(wanted)
        return
    named: dict[str, Any] = {"model": model, "dataset": dataset, "order": order}
    if missing := [f"--{key}" for key, value in named.items() if value is None]:
        raise ConfigError(f"gainrl order --preset needs {', '.join(missing)} too")
    flags = [
        f"--{name.replace('_', '-')}"
        for name, value in given.items()
        if value is not None and value is not False and value != OPTIONS[name].get("default")
    ]
    if source is not None or flags:
        said = ", ".join(filter(None, [source, *flags]))
        raise ConfigError(f"gainrl order: FILE and its options ({said}) go without --preset")
    from gainrl.stages.orders import make_order

    make_order(context_of(preset, root, **named), **named)


def train(context: Context, model: str, dataset: str, method: str, seed: list[int]) -> None:
    """Train the runs of some seeds."""
    from gainrl.plan import RunKey
    from gainrl.stages import runs

    runs.train(context, [RunKey(model, dataset, method, each) for each in seed])


def probe(context: Context, model: str, dataset: str, method: str, seed: int) -> None:
    """Look into a run's snapshots."""
    from gainrl.plan import RunKey
    from gainrl.study.measure import probe_run

    probe_run(context, RunKey(model, dataset, method, seed))


def linearity(context: Context, model: str, dataset: str, method: str, seed: int) -> None:
    """Say how straight a run moved."""
    from gainrl.linearity.trace import trace_run
    from gainrl.plan import RunKey

    trace_run(context, RunKey(model, dataset, method, seed))


def benchmark(
    context: Context,
    subject: str,
    name: str,
    protocol: str,
    engine: str,
    shard: int | None,
    collect: bool,
) -> None:
    """Test a model: all of it, a shard of the answers, or what the shards wrote."""
    from gainrl.plan.benchmarks import parse
    from gainrl.stages import benchmark as stage

    test = parse(context.preset, subject, name, protocol, engine)
    if not collect:
        stage.generate(context, test, shard or 0)
    if shard is None:
        stage.collect(context, test)


def report(context: Context, out: Path, scope: str) -> None:
    """Write the page of the default target, or of everything."""
    from gainrl.report.make import make_report

    make_report(context, out, everything=scope == "all")


def simulate(context: Context, out: Path, figure: Path | None) -> None:
    """Simulate and print the table."""
    from gainrl.simulation.make import make_simulation

    make_simulation(context, out, figure)
    print(out.with_suffix(".md").read_text(encoding="utf-8"))


def plan(preset: str, root: Path | None, out: Path, profile: Path) -> None:
    """Estimate what a preset costs."""
    from gainrl.cost.make import make_plan

    make_plan(context_of(preset, root), preset, out, profile)


def extrapolate(first: Path, second: Path, steps: list[int], out: Path, dtype: str | None) -> None:
    """Write the later checkpoint and print how far it goes."""
    from gainrl.models.extrapolation import extrapolate_checkpoint

    before, after, wanted = steps
    a = extrapolate_checkpoint(first, second, (before, after, wanted), out, dtype)
    print(f"{out}: a = {a:g}")


def tracking(context: Context, action: str, only: Path | None) -> None:
    """Set up, fill or check the tracking store (ConfigError: `only` goes with init)."""
    from gainrl.stages import tracking as stage

    if action == "init":
        stage.initialise_tracking(context, only)
        return
    if only is not None:
        raise ConfigError(f"gainrl tracking {action}: --only goes with init")
    {"sync": stage.sync_tracking, "check": stage.check_tracking}[action](context)
