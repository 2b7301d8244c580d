"""Groups one by one and out of order: a policy is told what it would be told as a batch."""

from __future__ import annotations

import json

import numpy as np
import pytest
from outcomes import outcome, setting

from gainrl.curricula import REGISTRY, build, compose, make
from gainrl.errors import DataError
from gainrl.integrations.asynchronous import Asynchronous

POLICIES = sorted(name for name in REGISTRY if not compose(name).goes_by)
SIZE, BATCH, GROUP = 40, 6, 8


def made(name, **more):
    has = setting()
    known = {key: getattr(has, key) for key in ("order", "difficulty", "categories", "features")}
    return make({"name": name, **more}, size=SIZE, batch=BATCH, rollouts=GROUP, **known)


def rewards_of(row, rollouts, turn):
    return (np.random.default_rng([row, turn]).random(rollouts) < row % 5 / 4).astype(float)


def told(curriculum, row):
    return {"signal": row / SIZE} if curriculum.reads_signal else {}


def given(work, most=10**6):
    """All that may be given out now."""
    groups = []
    while len(groups) < most and (group := work.next_group()) is not None:
        groups.append(group)
    return groups


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_groups_in_any_order_are_the_batch_to_every_policy(name, seed):
    whole, work = made(name), Asynchronous(made(name))
    rng = np.random.default_rng(seed)
    for turn in range(25):
        rows = whole.next_batch()
        groups = given(work, len(rows))
        assert groups == list(zip(rows.tolist(), whole.rollouts.tolist(), strict=True))
        rewards = [rewards_of(*group, turn) for group in groups]
        more = {"signal": rows / SIZE} if whole.reads_signal else {}
        trained = whole.observe(rows, rewards, **more)
        found = []
        for i in rng.permutation(len(groups)):
            assert not found
            row = groups[i][0]
            found = work.observe(row, rewards[i], **told(whole, row))
        assert [each.tolist() for each in found] == ([] if trained is None else [trained.tolist()])
        assert json.dumps(work.curriculum.state_dict()) == json.dumps(whole.state_dict())


def test_group_by_group_without_it_is_another_policy():
    """Eight groups of accuracy .75 and C .5, as a batch and one by one."""
    has = setting(size=100, batch=8)
    moved = {}
    for name, shown in (("adarft", "target"), ("gain", "mu")):
        batch, single = build(name, has), build(name, has)
        rows, work = np.arange(8), made(name)
        batch.observe(outcome(rows, 0.75, 0.5))
        for row in rows:
            single.observe(outcome([row], 0.75, 0.5))
        work = Asynchronous(
            make(name, size=100, batch=8, order=has.order, difficulty=has.difficulty)
        )
        for row, rollouts in given(work, 8):
            work.observe(
                row, [1, 1, 1, 0] * (rollouts // 4), signal=0.5 if name == "gain" else None
            )
        moved[name] = [each.metrics()[shown] for each in (batch, single, work)]
    assert moved["adarft"] == pytest.approx([23.1, 100.0, 23.1], abs=0.05)
    assert moved["gain"] == pytest.approx([2.8, 22.6, 2.8], abs=0.05)


@pytest.mark.parametrize("name", [n for n in POLICIES if not made(n).several_draws])
@pytest.mark.parametrize("ahead", [1, 5, 17, SIZE - BATCH + 1])
def test_no_row_is_out_twice_at_a_time_however_many_are(name, ahead):
    work, out, rng = Asynchronous(made(name)), {}, np.random.default_rng(ahead)
    seen = set()
    for turn in range(300):
        while len(out) < ahead:
            row, rollouts = work.next_group()
            assert row not in out
            out[row] = rollouts
            seen.add(row)
        assert set(work.in_flight) == set(out)
        row = int(rng.choice(list(out)))
        work.observe(row, rewards_of(row, out.pop(row), turn), **told(work.curriculum, row))
    assert len(seen) >= ahead
    assert work.metrics()["in_flight"] == ahead - 1


def test_the_last_row_of_a_table_and_no_more():
    work = Asynchronous(make("uniform", size=5, batch=2))
    rows = [row for row, _ in given(work)]
    assert sorted(rows) == [0, 1, 2, 3, 4]
    assert work.next_group() is None
    for row in rows:
        work.observe(row, [1.0])
    assert len(given(work)) == 5


def test_an_epoch_is_whole_though_rows_are_in_flight_where_it_ends():
    work, count = Asynchronous(make("uniform", size=12, batch=3)), np.zeros(12, dtype=int)
    out = [work.next_group()[0] for _ in range(5)]
    for _ in range(12 * 20):
        work.observe(out.pop(0), [1.0])
        out.append(work.next_group()[0])
        count[out[-1]] += 1
    assert count.min() >= 19
    assert count.max() <= 21


def test_batches_are_observed_in_the_order_of_their_draws():
    """Whatever comes first: the state does not depend on how fast the groups of a batch are."""
    states = []
    for seed in (0, 1):
        work = Asynchronous(made("greso"))
        groups = given(work, 3 * BATCH)
        for i in np.random.default_rng(seed).permutation(len(groups)):
            work.observe(groups[i][0], rewards_of(*groups[i], 0))
        states.append(json.dumps(work.curriculum.state_dict()))
    assert states[0] == states[1]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("kept", [True, False])
def test_what_is_held_back_and_in_flight_is_saved(name, kept):
    work, turn = Asynchronous(made(name)), 0
    for turn in range(40):
        row, rollouts = work.next_group(version=turn)
        work.observe(row, rewards_of(row, rollouts, turn), **told(work.curriculum, row))
    out = dict(given(work, 4))
    first = next(iter(out))
    work.observe(first, rewards_of(first, out.pop(first), 99), **told(work.curriculum, first))
    state = json.loads(json.dumps(work.state_dict(), allow_nan=False))
    other = Asynchronous(made(name))
    other.load_state_dict(state, in_flight="kept" if kept else "again")
    if kept:
        assert other.in_flight == work.in_flight == dict.fromkeys(out, 0)
    else:
        assert not other.in_flight
        assert given(other, len(out)) == list(out.items())
    assert other.version == 39
    for each in (work, other):
        rows = dict(out)
        while rows:
            row, rollouts = rows.popitem()
            each.observe(row, rewards_of(row, rollouts, 100), **told(work.curriculum, row))
    assert given(work, 2 * BATCH) == given(other, 2 * BATCH)
    assert work.curriculum.state_dict() == other.curriculum.state_dict()


def test_the_version_that_a_group_is_of():
    work = Asynchronous(make("uniform", size=40, batch=4))
    rows = [work.next_group(version)[0] for version in (3, 3, 4, 7)]
    assert work.in_flight == dict(zip(rows, (3, 3, 4, 7), strict=True))
    work.observe(rows[0], [1.0])
    work.observe(rows[3], [1.0], version=6)
    shown = work.metrics()
    assert (shown["lag"], shown["lag_max"], shown["held"], shown["in_flight"]) == (2.5, 4, 2, 2)


def test_lost_groups_and_those_that_are_to_be_made_again():
    work = Asynchronous(make("mopps", size=40, batch=3))
    rows = [row for row, _ in given(work, 3)]
    work.again(rows[1])
    assert work.next_group() == (rows[1], 8)
    assert work.lost(rows[2]) == []
    assert work.observe(rows[0], [1.0, 0.0]) == []
    (trained,) = work.observe(rows[1], [1.0, 0.0])
    assert trained.tolist() == rows[:2]
    assert work.metrics()["lost"] == 1
    for call in (work.lost, work.again, lambda row: work.observe(row, [1.0])):
        with pytest.raises(DataError, match=f"row {rows[2]} is not in flight"):
            call(rows[2])


def test_a_group_that_never_comes_back_is_given_up_and_counted():
    work = Asynchronous(make("mopps", size=40, batch=2), lost_after=2)
    gone = work.next_group()[0]
    back = []
    for _ in range(5):
        row, _ = work.next_group()
        back += work.observe(row, [1.0, 0.0])
    assert len(back) == 3
    assert len(back[0]) == 1
    assert gone not in back[0]
    assert work.observe(gone, [1.0]) == []
    shown = work.metrics()
    assert (shown["lost"], shown["late"]) == (1, 1)
    with pytest.raises(DataError, match="is not in flight"):
        work.observe(gone, [1.0])


def test_a_bad_reward_leaves_the_group_in_flight():
    work = Asynchronous(make("mopps", size=40, batch=2))
    row, _ = work.next_group()
    with pytest.raises(DataError, match=f"rewards 0 of row {row} is nan"):
        work.observe(row, [np.nan])
    assert list(work.in_flight) == [row]
