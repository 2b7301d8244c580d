"""The report: a page that the tests read back, made of a results folder that they write."""

import json
import re

import pytest
import yaml
from markupsafe import escape
from report_files import CLAIMS, PRESET, changed, claiming, page, write_index, write_results
from run_folders import change

from gainrl import plan
from gainrl.claims.table import read_claims
from gainrl.compare.render import (
    Caption,
    Heading,
    Points,
    Table,
    Title,
    read_views,
    write_views,
)
from gainrl.config.preset import Preset
from gainrl.errors import DataError
from gainrl.report.make import settings_of
from gainrl.tracking.client import pages

VERL = {"steps": 4, "lr": 1e-4, "backend": "verl", "prompts": 2, "rollouts": 8}
VERL |= {"mini_batch": None, "kl": 0.0}


def headings(made):
    return re.findall(r"<h2>(.*?)</h2>", made.text)


# --- order and numbers ---------------------------------------------------------------------------


def test_the_sections_stand_in_order_health_and_verdicts_first(results, claimed):
    assert headings(page(results, claimed)) == [
        *(
            "Health of the runs",
            "Verdicts",
            "Tables and learning curves",
            "The angle signal",
            "Cost",
            "Configuration",
        ),
        "Runs",
    ]


def test_the_first_sentence_counts_what_was_run(results):
    assert (
        "4 finished training runs: 1 model on 1 data set, trained by 2 methods with 2 seeds, "
        "16 RL steps in all." in page(results).text
    )


def test_a_table_has_the_cells_of_its_markdown(results):
    made = page(results)
    for name in ("table1", "alone"):
        lines = (results / f"nano/{name}.md").read_text().splitlines()
        cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
        del cells[1]  # the rule below the header
        assert cells in made.tables
        assert f"<h3>{name}, preset nano</h3>" in made.text
        assert f'<p class="caption">{escape(lines[-1].strip("*"))}</p>' in made.text


def test_the_signal_table_and_the_words_above_it_are_there(results):
    made = page(results)
    assert [["Signal", "Length (n = 4)"], ["C_intra", "-0.39 [-0.50, -0.27]"]] in made.tables
    assert "<li>tiny on chain: C goes with prompt length, rho = -0.39" in made.text


def test_cost_is_summed_over_runs_and_a_shared_run_counts_once(results):
    # 4 steps of 100 + seed tokens and 2 seconds each, on 2 threads
    rows = page(results).table("Experiment", "Method")
    assert [(row["Experiment"], row["Method"], row["Runs"]) for row in rows[:3]] == [
        *(("table1", "GRPO", "2"), ("table1", "GAIN-RL", "2"), ("alone", "GRPO", "2")),
    ]
    assert rows[0]["Rollout tokens"] == "804"
    assert rows[0]["Training (s)"] == "16.0"
    assert rows[0]["Core-hours"] == f"{16 * 2 / 3600:.2g}" == "0.0089"
    assert rows[0]["Whole jobs (s)"] == "–"
    (cost,) = (table for table in page(results).tables if table[0][0] == "Experiment")
    assert cost[-1] == ["All runs, each once", "4", "1,608", "32.0", "–", "0.018"]


def test_seconds_of_jobs_are_snakemakes(results):
    home = results / "nano/benchmarks/train"
    home.mkdir(parents=True)
    for method in ("grpo", "gain"):
        for seed in (0, 1):
            path = home / f"tiny-chain-{method}-seed{seed}.tsv"
            path.write_text(f"s\th:m:s\n{20.5 + seed}\t0:00:20\n")
    assert page(results).table("Experiment")[0]["Whole jobs (s)"] == "42.0"
    (home / "tiny-chain-grpo.tsv").write_text("s\th:m:s\n30.0\t0:00:30\n")
    together = {**changed(), "seeds_together": True}
    assert page(results, together).table("Experiment")[0]["Whole jobs (s)"] == "30.0"
    path.write_text("h:m:s\n0:00:20\n")
    with pytest.raises(DataError, match=r"gain-seed1\.tsv: no seconds"):
        page(results)


def test_tests_under_a_protocol_are_counted_with_the_method_that_they_test(results):
    data = changed()
    data["experiments"]["alone"]["final"] = ["paper"]
    home, name = results / "nano", "benchmarks/chain/paper-transformers"
    for at, folder in enumerate(("evals/tiny", *(f"runs/tiny/chain/grpo/seed{k}" for k in (0, 1)))):
        (home / folder / name).mkdir(parents=True)
        score = {"commit": "abc123", "seconds": {"generating": 10.0 * at, "grading": 1.0}}
        (home / folder / name / "score.json").write_text(json.dumps(score))
    made = page(results, data)
    rows = {(r["Experiment"], r["Method"]): r for r in made.table("Experiment", "Method")[:3]}
    assert {key: row["Protocol tests (s)"] for key, row in rows.items()} == {
        ("table1", "GRPO"): "–",
        ("table1", "GAIN-RL"): "–",
        ("alone", "GRPO"): "32.0",
    }
    assert made.table("What", "Of")[-1]["Seconds"] == "1.0"
    assert made.table("What", "Value")[0]["Runs and tests"] == "7"
    (home / folder / name / "score.json").unlink()
    with pytest.raises(DataError, match=r"grpo/seed1/.*score\.json: no such file"):
        page(results, data)


def test_preparation_is_what_the_files_say(results):
    rows = page(results).table("What", "Of", "Seconds")
    assert [(row["Of"], row["Seconds"]) for row in rows] == [
        *(("tiny", "125"), ("tiny on chain", "1.2"), ("tiny on chain", "7.5")),
    ]


@pytest.mark.parametrize(
    ("config", "gpus", "cores"),
    [
        (
            {"machine": {"platform": "L", "cores": 8, "gpus": 1, "gpu": "A"}},
            f"{16 / 3600:.2g}",
            None,
        ),
        ({"machine": None}, None, "0.0089"),
        ({"machine": None, "versions": {"torch": "2.0+cu128"}}, None, None),
        ({"machine": None, "training": VERL}, f"{128 / 3600:.2g}", None),
    ],
    ids=["one GPU", "a run of before", "unknown", "verl"],
)
def test_hours_go_by_what_a_run_was_trained_on(tmp_path, config, gpus, cores):
    write_results(tmp_path, **config)
    row = page(tmp_path).table("Experiment")[0]
    assert (row.get("GPU-hours"), row.get("Core-hours")) == (gpus, cores)


def test_a_run_has_its_numbers_and_a_link_to_mlflow(results):
    made = page(results)
    row = made.table("Model", "Data set", "Method", "Seed")[3]
    assert row["Method"] == "GAIN-RL"
    assert (row["Seed"], row["Last test (%)"], row["Commit"]) == ("1", "chain 90.0", "abc123")
    assert row["MLflow run"] == "gain1012"
    links = [link for link in made.all("a", "href") if "runs" in link and link[0] != "#"]
    # GRPO's home is the first experiment that it belongs to
    assert links[0] == "http://127.0.0.1:5000/#/experiments/8/runs/grpo00123456789"
    assert len(links) == 4
    assert "<code>make ui</code> starts" in made.text


def test_a_tracking_server_is_linked_without_its_password(results):
    write_index(results, "https://me:secret@track.example:8443/base/")
    made = page(results)
    link = "https://track.example:8443/base/#/experiments/8/runs/gain10123456789"
    assert link in made.all("a", "href")
    assert "secret" not in made.text
    assert "make ui" not in made.text


def test_pages_of_stores():
    assert pages("sqlite:////x/mlflow.db") == pages("file:///x") == "http://127.0.0.1:5000"
    assert pages("http://127.0.0.1:8080/") == "http://127.0.0.1:8080"


# --- verdicts ------------------------------------------------------------------------------------


def test_a_verdict_is_a_word_and_a_shape_of_its_own(results, claimed):
    text = page(results, claimed).text
    found = re.findall(r'<span class="verdict [a-z-]+">(<svg.*?</svg>)(.*?)</span>', text)
    shapes = {word: shape for shape, word in found}
    assert set(shapes) == {"supported", "not supported", "undecided"}
    assert len(set(shapes.values())) == 3


def test_claims_are_one_row_each_with_their_parts(results, claimed):
    rows = page(results, claimed).table("Claim", "Verdict")
    assert [row["Verdict"] for row in rows] == ["supported", "undecided", "not supported"]
    assert rows[0]["Claim"].startswith("GAIN-RL ends above GRPO")
    assert "Rule: the interval lies above 0" in rows[0]["Claim"]
    parts = [row["What it rests on"] for row in rows]
    assert parts[0] == "tiny on chain: difference (points): 2.81 [2.1, 4.2], n = 2; supported"
    assert parts[1].startswith("tiny on chain, tested on word: speed-up: ∞, n = 2; undecided")
    assert parts[1].endswith("3 of 3 censored")
    assert parts[2] == "share: 0.25"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "undecided,\n",
            "undecidet,\n",
            r"row 3: unknown verdict 'undecidet'; did you mean 'undec",
        ),
        ("2.8125", "much", r"row 2: 'mean' is 'much', no number"),
        (",verdict,", ",verdikt,", r"no column 'verdict'"),
        ("GRPO,tiny,chain,chain", "GRPO,,chain,chain", r"claim 'better' has 2 overall verdicts"),
    ],
)
def test_a_damaged_file_of_claims_is_named(tmp_path, old, new, message):
    path = tmp_path / "claims.csv"
    assert old in CLAIMS
    path.write_text(CLAIMS.replace(old, new, 1))
    with pytest.raises(DataError, match=rf"claims\.csv: {message}"):
        read_claims(path)


def test_runs_that_learnt_nothing_are_said_first(results):
    assert "All 4 runs had something to learn from, and learnt." in page(results).text
    tests = next((results / "nano/runs").rglob("grpo/seed0/eval.jsonl"))
    change(tests, TESTED.format(0.4), TESTED.format(0.25))
    (row,) = page(results).table("Trained")
    assert (row["Trained"], row["Method"]) == ("tiny on chain", "GRPO")
    assert row["Runs"].split() == ["green", "1", "yellow", "1"]
    assert row["Why"] == "learnt: +5.0 points from the start, standard error 5.9"
    change(tests, TESTED.format(0.25), TESTED.format(0.0))
    (row,) = page(results).table("Trained")
    assert row["Runs"].split() == ["green", "1", "red", "1"]


TESTED = '"step": 4, "benchmark": "chain", "accuracy": {}'


# --- sections that are absent --------------------------------------------------------------------


def test_what_a_preset_does_not_ask_for_is_left_out(results):
    (results / "nano/claims.csv").write_text(CLAIMS)  # of the preset that was built before
    made = page(results, changed(studies=None))
    assert headings(made) == [
        "Health of the runs",
        "Tables and learning curves",
        "Cost",
        "Configuration",
        "Runs",
    ]
    assert "#verdicts" not in made.all("a", "href")
    assert "Protocol tests" not in made.text


def test_the_first_scope_has_the_first_experiment_and_no_study_figures(results):
    (results / "nano/alone.json").unlink()
    (results / "nano/figures/layers.png").unlink()
    made = page(results, everything=False)
    assert [row["Experiment"] for row in made.table("Experiment")[:2]] == ["table1", "table1"]
    assert len(made.all("img", "src")) == 4
    assert "The angle signal" in made.text


def test_models_as_they_are_need_no_runs(results):
    preset = changed(
        experiments={},
        methods={},
        studies=None,
        benchmarks={"models": ["tiny"], "benchmarks": ["chain"]},
    )
    folder = results / "nano/evals/tiny/benchmarks/chain/paper-transformers"
    folder.mkdir(parents=True)
    score = {"commit": "abc", "versions": {}, "seconds": {"generating": 3.0, "grading": 0.5}}
    (folder / "score.json").write_text(json.dumps(score))
    table = Table([["Model", "pass@1"], ["tiny", "1.3"]])
    write_views(results / "nano/benchmarks.csv", [Heading("chain"), table])
    made = page(results, preset, everything=False)
    assert headings(made) == ["Benchmarks", "Cost", "Configuration"]
    assert "No training runs.\n1 model as it is, tested on 1 benchmark in 1 test." in made.text
    assert made.table("Model") == [{"Model": "tiny", "pass@1": "1.3"}]
    test = made.table("What", "Of")[1]
    assert (test["Of"], test["Seconds"]) == ("tiny on chain", "3.5")


# --- configuration -------------------------------------------------------------------------------


def test_runs_of_one_commit_and_machine_are_said_to_be_so(results):
    made = page(results)
    assert made.table("What", "Value") == [
        {"What": what, "Value": value, "Runs and tests": "4"}
        for what, value in (
            ("git commit", "abc123"),
            ("torch", "2.0+cpu"),
            ("gainrl", "0.1.0"),
            ("machine", "Linux-6, AnyMake, family 25, 2 cores, no GPU"),
        )
    ]
    assert 'class="warning"' not in made.text


def test_runs_of_several_commits_are_said_plainly(results):
    path = results / "nano/runs/tiny/chain/gain/seed1/run.json"
    run = json.loads(path.read_text())
    path.write_text(json.dumps({**run, "commit": "def456+", "versions": {"torch": "3.0"}}))
    made = page(results)
    assert "do not all come from the same code: git commit, torch differ</b>" in made.text
    rows = made.table("What", "Value")
    assert [(row["Value"], row["Runs and tests"]) for row in rows[:2]] == [
        *(("abc123", "3"), ("def456+", "1")),
    ]


def test_the_preset_is_shown_with_its_defaults_and_without_secrets():
    sections = {
        "tracking": {"uri": "http://me:secret@host/x"},
        "verl": {"variables": {"KEY": "secret"}},
    }
    text = settings_of(plan.load(changed(**sections)))
    assert "secret" not in text
    shown = yaml.safe_load(text)
    assert shown["tracking"]["uri"] == "http://host/x"
    assert shown["verl"]["variables"] == {"KEY": "(not shown)"}
    assert Preset(**shown).training == plan.load(PRESET).training


# --- what the page may not do --------------------------------------------------------------------

EVIL = '<script>x()</script> ![p](http://evil/p.png) [l](http://evil) <img src="//evil" onload=x()>'


def test_everything_from_files_is_escaped_and_nothing_is_loaded(tmp_path):
    write_results(tmp_path, label=EVIL, commit=EVIL, versions={EVIL: EVIL})
    for name in ("table1", "signal"):
        path = tmp_path / f"nano/{name}.csv"
        evil = [Points((EVIL,)), Table([[EVIL, EVIL]]), Caption(EVIL), Heading(EVIL)]
        write_views(path, [Title(EVIL), *read_views(path), *evil])
    (tmp_path / "nano/claims.csv").write_text(
        CLAIMS.replace("GAIN-RL is faster", f'"{EVIL.replace(chr(34), "")}"')
    )
    data = changed()
    data["experiments"]["table1"]["caption"] = EVIL
    made = page(tmp_path, claiming(data))
    assert made.text.count("&lt;script&gt;") > 10
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in made.tags}
    assert all(source.startswith("data:image/png;base64,") for source in made.all("img", "src"))
    assert not [name for _, found in made.tags for name in found if name.startswith("on")]
    assert all(link[0] == "#" or "127.0.0.1:5000" in link for link in made.all("a", "href"))
    assert "url(" not in made.text
    assert "@import" not in made.text


def test_equal_files_give_equal_bytes_and_no_date(results, claimed):
    first = page(results, claimed).text
    assert page(results, claimed).text == first
    assert not re.search(r"\b20\d\d-\d\d", re.sub(r"base64,[^\"]*", "", first))


def test_figures_are_embedded_with_words_and_the_curriculum_is_folded(results):
    made = page(results)
    assert len(made.all("img", "src")) == 6  # figures 7, 3, training, curriculum, cost, layers
    assert all(made.all("img", "alt"))
    assert (made.all("img", "width")[0], made.all("img", "height")[0]) == ("60", "36")
    inside = re.search(r"<details><summary>(.*?)</summary>.*?</details>", made.text, re.DOTALL)
    assert inside[1] == "What the curricula did"
    assert inside[0].count("<img") == 1
