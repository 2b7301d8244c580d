"""What an experiment's table says in words."""

import math

import pandas as pd

from gainrl.results.speed import UNLEARNT
from gainrl.tables.answer import answers

LABELS = {"grpo": "GRPO", "gain": "GAIN-RL", "sec": "SEC", "pcl": "PCL"}


def row(method, metric, mean, low=math.nan, high=math.nan, benchmark="chain", model="tiny", n=5):
    return {"model": model, "dataset": "mixed", "method": method, "benchmark": benchmark,
            "metric": metric, "mean": mean, "low": low, "high": high, "n": n}  # fmt: skip


def said(*rows):
    return answers(pd.DataFrame(rows), "grpo", LABELS, "table1")


def test_methods_are_held_against_the_baseline_at_equal_tokens():
    rows = [row("grpo", "final_accuracy", 0.4, 0.38, 0.43)]
    for method, low, high in (("gain", 0.01, 0.03), ("sec", -0.03, -0.01), ("pcl", -0.01, 0.01)):
        rows.append(row(method, "difference_to_baseline", 0.5, 0.4, 0.6))
        rows.append(row(method, "difference_at_equal_tokens", (low + high) / 2, low, high))
    assert said(*rows) == [
        "table1, tiny trained on mixed: GRPO ends at 40.0 [38.0, 43.0]% on chain (5 seeds); at "
        "equal tokens: GAIN-RL +2.0 [+1.0, +3.0] points (better), SEC -2.0 [-3.0, -1.0] "
        "points (worse), PCL +0.0 [-1.0, +1.0] points (not told apart). Intervals are "
        "up to 1.0 points to either side; of four times as many seeds, half of that or less"
    ]


def test_one_seed_has_no_interval_and_tells_nothing_apart():
    rows = [
        row("grpo", "final_accuracy", 0.4, n=1),
        row("gain", "difference_to_baseline", 0.1, n=1),
    ]
    assert said(*rows) == [
        "table1, tiny trained on mixed: GRPO ends at 40.0% on chain (1 seed); at the end: GAIN-RL "
        "+10.0 points (not told apart)"
    ]


def test_of_several_benchmarks_the_average_and_a_line_for_each_model():
    rows = []
    for model in ("one", "two"):
        rows += [row("grpo", "final_accuracy", 0.2, model=model, benchmark="chain")]
        rows += [row("grpo", "final_accuracy", 0.5, model=model, benchmark="average")]
        rows += [row("grpo", "final_accuracy", 0.8, model=model, benchmark="word")]
    rows.append(row("gain", "interquartile_mean", 0.5, model="all"))
    first, second = said(*rows)
    assert first == "table1, one trained on mixed: GRPO ends at 50.0% on average (5 seeds)"
    assert "two trained on mixed" in second


def cheaper(method, mean, low=math.nan, high=math.nan, note="times as much"):
    return row(method, "equal_accuracy_tokens", mean, low, high) | {"note": note}


def test_how_many_tokens_a_method_saves_stands_behind_the_points():
    rows = [row("grpo", "final_accuracy", 0.4, n=1)]
    rows += [row(method, "difference_to_baseline", 0.1, n=1) for method in ("gain", "sec", "pcl")]
    rows += [cheaper("gain", 0.354, 0.251, 0.462), cheaper("sec", 1.5, 1.1, math.inf)]
    assert said(*rows)[0].endswith(
        "PCL +10.0 points (not told apart). Tokens for the same accuracy, GRPO's over the method's "
        "(above 1 it is faster): GAIN-RL 0.35\u00d7 [0.25, 0.46], SEC 1.50\u00d7 [1.10, open]"
    )


def test_where_the_baseline_did_not_learn_nothing_is_faster_and_the_answer_says_why():
    rows = [row("grpo", "final_accuracy", 0.4, n=1)]
    for method in ("gain", "sec"):
        rows.append(row(method, "difference_to_baseline", 0.1, n=1))
        rows.append(cheaper(method, math.nan, note=UNLEARNT))
    assert said(*rows)[0].endswith(
        ". Tokens for the same accuracy are undefined: the baseline did not learn"
    )
