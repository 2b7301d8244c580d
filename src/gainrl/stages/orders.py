"""Orders of a data set under a start model. No torch."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gainrl import plan
from gainrl.config.methods import parse_order
from gainrl.errors import DataError
from gainrl.records import ORDER, SCORES, read_metadata, read_table, write_table
from gainrl.signals.concentration import concentration
from gainrl.signals.orders import ASCENDING, random_keys, ranked, residual
from gainrl.stages.common import Context


def make_order(context: Context, model: str, dataset: str, order: str) -> None:
    """Sort the prompts; ties go by id. The file names the scores it came from.

    angle: C descending (Algorithm 1), as `scoring` defines C; offdiagonal: C without the
    diagonal terms, which favour short prompts; residual: C with the effect of length regressed out,
    in ranks; released: the authors' script's value, prompts without one (NaN) first, as its argsort
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
        value = residual(_column(scores, "c", source), length)
    elif kind == "released":
        value = _column(scores, "c_released", source)
    else:
        value = length if kind == "length" else random_keys(scores["id"])
    frame = ranked(pd.DataFrame({"id": scores["id"], "value": value}), kind in ASCENDING)
    metadata = {
        "scores": plan.file_digest(source),
        "scores_file": str(source),
        "order": order,
        "scoring": read_metadata(source),
    }
    target = context.layout.order(model, dataset, order)
    write_table(target, frame, ORDER, metadata)


def _intra(context: Context, scores: pd.DataFrame, source: Path) -> pd.Series:
    offdiagonal = context.preset.scoring.variant == "offdiagonal"
    return _column(scores, "c_intra_offdiagonal" if offdiagonal else "c_intra", source)


def _column(scores: pd.DataFrame, name: str, source: Path) -> pd.Series:
    if name not in scores:
        raise DataError(
            f"{source}: no column '{name}'; add it with the key scoring.also or scoring.variant"
        )
    return scores[name]
