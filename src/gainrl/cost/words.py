"""The bill in words: tables of estimates, and what each number rests on."""

from __future__ import annotations

from collections.abc import Sequence

from gainrl.cost.estimate import Estimate, Other, RunCost
from gainrl.errors import ConfigError

Row = tuple[str, Estimate]


def between(low: float, high: float, form: str = ",.0f") -> str:
    """Two ends; one number where they print the same."""
    first, last = f"{low:{form}}", f"{high:{form}}"
    return first if first == last else f"{first} to {last}"


def bill(rows: Sequence[Row], others: Sequence[Other] = ()) -> str:
    """Markdown: GPU-hours of each row, a run and in all, of other work, and their sum.

    Raises:
        ConfigError: there are no rows.
    """
    lines = [
        {
            "Run": label,
            "Runs": f"{each.low.runs:,}",
            "GPUs": f"{each.low.work.gpus:,}",
            "Steps": f"{each.low.work.steps:,}",
            "Hours": between(each.low.hours, each.high.hours, ",.1f"),
            "GPU-hours a run": between(each.low.gpu_hours, each.high.gpu_hours),
            "GPU-hours": between(each.low.total, each.high.total),
        }
        for label, each in _named(rows)
    ]
    beside = [{"Run": each.name, "GPU-hours": between(each.low, each.high)} for each in others]
    return listing([*lines, *beside, _sum(rows, others)])


def total(rows: Sequence[Row], others: Sequence[Other]) -> tuple[float, float]:
    """GPU-hours of everything, low and high."""
    low = sum(each.low.total for _, each in rows) + sum(each.low for each in others)
    high = sum(each.high.total for _, each in rows) + sum(each.high for each in others)
    return low, high


def in_turn(rows: Sequence[Row]) -> str:
    """How long the runs take in all, in words."""
    low = sum(each.low.runs * each.low.hours for _, each in rows)
    high = sum(each.high.runs * each.high.hours for _, each in rows)
    return f"One after another the runs take {between(low, high)} hours."


def render(rows: Sequence[Row], others: Sequence[Other] = ()) -> str:
    """Markdown: both ends of each row and of the sum, what each row is, and the arithmetic.

    Raises:
        ConfigError: there are no rows.
    """
    named = [
        (f"{label}, {end}", cost)
        for label, each in _named(rows)
        for end, cost in zip(("low", "high"), each.ends, strict=True)
    ]
    words = "Seconds are of a step, hours and tokens of a run; GPU-hours are runs x GPUs x hours. "
    words += in_turn(rows)
    beside = [{"Run": each.name, "GPU-hours": between(each.low, each.high)} for each in others]
    costs = listing([*(_costs(*row) for row in named), *beside, _sum(rows, others)])
    inputs = listing([_inputs(*row) for row in named])
    return "\n\n".join([costs, words, inputs, ARITHMETIC])


def _named(rows: Sequence[Row]) -> list[Row]:
    if not rows:
        raise ConfigError("no runs to estimate the cost of")
    return [(label.replace("|", "\\|"), each) for label, each in rows]


def _sum(rows: Sequence[Row], others: Sequence[Other]) -> dict[str, str]:
    runs = sum(each.low.runs for _, each in rows)
    return {
        "Run": "**Sum**",
        "Runs": f"{runs:,}",
        "GPU-hours": f"**{between(*total(rows, others))}**",
    }


def _costs(label: str, cost: RunCost) -> dict[str, str]:
    step, work = cost.step, cost.work
    passes = step.old_log_probabilities + step.reference
    parts = {"Rollout": step.rollout, "Log-probs": passes, "Update": step.update}
    parts |= {"Critic": step.critic, "Overhead": step.overhead, "Step": step.seconds}
    line = {"Run": label, "Runs": f"{cost.runs:,}", "GPUs": f"{work.gpus:,}"}
    line |= {"Steps": f"{work.steps:,}", "Tokens (M)": f"{cost.rollout_tokens / 1e6:,.1f}"}
    line |= {f"{name} (s)": f"{seconds:,.1f}" for name, seconds in parts.items()}
    hours = {"Tests": cost.test_hours, "Saves": cost.save_hours, "Starts": cost.start_hours}
    line |= {f"{name} (h)": f"{value:,.2f}" for name, value in hours.items()}
    return {**line, "Hours": f"{cost.hours:,.2f}", "GPU-hours": f"{cost.total:,.1f}"}


def _inputs(label: str, cost: RunCost) -> dict[str, str]:
    counts = {"tests": cost.tests, "saves": cost.saves, "starts": cost.starts}
    values = {**vars(cost.shape), **vars(cost.work), **counts, **vars(cost.how)}
    return {"run": label, **{name: f"{value:,.12g}" for name, value in values.items()}}


def listing(rows: Sequence[dict[str, str]]) -> str:
    """Markdown that is also aligned in a terminal: the first row's keys, then a line a row."""
    head = list(rows[0])
    cells = [head, *([row.get(name, "") for name in head] for row in rows)]
    wide = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * wide[0], *("-" * (width - 1) + ":" for width in wide[1:])]
    lines = [[line[0].ljust(wide[0]), *map(str.rjust, line[1:], wide[1:])] for line in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


ARITHMETIC = """\
How a line is computed (P is the parameters; kl, critic and recompute: 1 is yes):

- a forward pass is 2 P FLOP a token at forward_mfu of the peak, an update 8 P (recompute: gradient
  checkpointing) or 6 P at train_mfu; attention adds 2 x layers x hidden x length to each 2 P
  (arXiv:2001.08361, 2.1)
- a rollout is prefill (without the output head) and decoding: a step of it reads 2 P bytes and, of
  decode_batch sequences a GPU, the KV cache (4 x layers x kv_width bytes a token), at
  decode_efficiency of the bandwidth, or takes as long as its FLOP at forward_mfu
- a GPU holds the whole model in decoding; no fewer decoding steps than `longest` tokens
- log-probs are one forward pass, two with kl; a critic is one and an update, of the policy's size
- response and prompt_tokens are means, without padding; sequences all have the mean length
- every part of a step but the update runs once; that runs epochs_per_batch times, the critic's too
- tests are generation alone, and test_seconds each; a run starts again after job_hours
"""
