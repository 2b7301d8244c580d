"""Orders of a data set under a start model. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gainrl import plan
from gainrl.config.methods import parse_order
from gainrl.errors import DataError
from gainrl.records import ORDER, SCORES, read_metadata, read_table, write_table
from gainrl.signals.concentration import concentration
from gainrl.stages.common import Context

SHUFFLE_SEED = 0


def make_order(context: Context, model: str, dataset: str, order: str) -> None:
    """Sort the prompts; ties go by id. The file names the scores it came from.

    angle: C descending (Algorithm 1), as `scoring` defines C; offdiagonal: C without i = j, which
    alone puts 1 / length into it; residual: the rank of C less what the rank of the length
    predicts; released: the authors' script's value, prompts without one (NaN) first, as its argsort
    puts them; reversed: C ascending; length: shortest question first (the published orders are
    that, at a rank correlation of .96 to .99); shuffled: random but fixed. `angle-c4` and its like
    are C with another weight of C_inter (`methods.*.inter_weight`).
    """
    source = context.layout.signal(model, dataset, "scores")
    scores = read_table(source, SCORES)
    length = scores["n_question"].astype(float)
    kind, weight = parse_order(order)
    if weight is None:
        weight = context.preset.scoring.inter_weight
    elif kind != "offdiagonal":  # a method's own weight; C at `scoring.inter_weight` is in `c`
        scores["c"] = concentration(_intra(context, scores, source), scores["c_inter"], weight)
    if kind in ("angle", "reversed"):
        value = _column(scores, "c", source)
    elif kind == "offdiagonal":
        intra = _column(scores, "c_intra_offdiagonal", source)
        value = concentration(intra, scores["c_inter"], weight)
    elif kind == "residual":
        value = _residual(_column(scores, "c", source), length)
    elif kind == "released":
        value = _column(scores, "c_released", source)
    else:
        value = length if kind == "length" else _random_keys(scores["id"])
    ascending = kind in ("reversed", "length", "shuffled")
    frame = pd.DataFrame({"id": scores["id"], "value": value})
    frame = frame.sort_values("id", kind="stable").sort_values(
        "value", ascending=ascending, kind="stable", na_position="first"
    )
    frame.insert(0, "rank", np.arange(len(frame)))
    metadata = {
        "scores": plan.file_digest(source),
        "scores_file": str(source),
        "order": order,
        "scoring": read_metadata(source),
    }
    target = context.layout.order(model, dataset, order)
    write_table(target, frame.reset_index(drop=True), ORDER, metadata)


def _intra(context: Context, scores: pd.DataFrame, source: Path) -> pd.Series:
    offdiagonal = context.preset.scoring.variant == "offdiagonal"
    return _column(scores, "c_intra_offdiagonal" if offdiagonal else "c_intra", source)


def _column(scores: pd.DataFrame, name: str, source: Path) -> pd.Series:
    if name not in scores:
        raise DataError(
            f"{source}: no column '{name}'; add it with the key scoring.also or scoring.variant"
        )
    return scores[name]


def _residual(value: pd.Series, length: pd.Series) -> pd.Series:
    """Rank of `value` less its linear regression on the rank of `length`."""
    known = value.notna()
    ranks, given = value[known].rank(), length[known].rank()
    spread = given.var()
    slope = ranks.cov(given) / spread if spread else 0.0
    left = (ranks - ranks.mean()) - slope * (given - given.mean())
    return left.reindex(value.index)


def _random_keys(ids: pd.Series) -> pd.Series:
    """A fixed random key a prompt, the same whatever order the table is in."""
    rank = ids.rank(method="first").astype(int) - 1
    keys = np.random.default_rng([SHUFFLE_SEED, 31]).permutation(len(ids))
    return pd.Series(keys[rank.to_numpy()].astype(float), index=ids.index)
