"""Learning curves of several methods against each other: intervals, equal cost, speed-ups.

    curves = read_curves(["curves.csv"])
    print(markdown(blocks(summarise(curves, baseline="grpo"))))

What the pipeline's tables are computed with, for runs of any trainer. Numpy only, but for the
figure (`gainrl.compare.figure`, extra [plot]).
"""

from gainrl.compare.aggregate import (
    interquartile_mean,
    probability_of_improvement,
    stratified_interval,
)
from gainrl.compare.curves import Curve, Log, Point, curves_of, points_of
from gainrl.compare.page import blocks
from gainrl.compare.pairs import Speed, Track, equal_difference, speed
from gainrl.compare.ratios import Ratio, equal_accuracy
from gainrl.compare.reading import read_csv, read_curves, read_log, read_wandb
from gainrl.compare.render import latex, markdown, write_views
from gainrl.compare.statistics import (
    Interval,
    Median,
    Reach,
    cost_to_reach,
    levels_at_equal_cost,
    mean_interval,
    median_cost,
    paired_difference,
    smooth,
    speedup,
    target_accuracy,
)
from gainrl.compare.summary import Summary, summarise
from gainrl.compare.verdicts import Rule
from gainrl.config.statistics import Statistics

__all__ = [
    "Curve",
    "Interval",
    "Log",
    "Median",
    "Point",
    "Ratio",
    "Reach",
    "Rule",
    "Speed",
    "Statistics",
    "Summary",
    "Track",
    "blocks",
    "cost_to_reach",
    "curves_of",
    "equal_accuracy",
    "equal_difference",
    "interquartile_mean",
    "latex",
    "levels_at_equal_cost",
    "markdown",
    "mean_interval",
    "median_cost",
    "paired_difference",
    "points_of",
    "probability_of_improvement",
    "read_csv",
    "read_curves",
    "read_log",
    "read_wandb",
    "smooth",
    "speed",
    "speedup",
    "stratified_interval",
    "summarise",
    "target_accuracy",
    "write_views",
]
