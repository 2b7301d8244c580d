"""Models whose tokenizer and embedding disagree, and such without a pad or an end token."""

from __future__ import annotations

import json

import pytest
from chat_models import PLAIN, ROWS, bytes_tokenizer, context_of, save
from transformers import LlamaConfig

from gainrl.data.prompts import Renderer
from gainrl.errors import DataError, ModelError
from gainrl.models.loading import end_token, end_tokens, folder_ends, load_model, load_tokenizer
from gainrl.models.loading import pad_token as pad_of
from gainrl.models.sampling import Sampling, generate
from gainrl.plan import RunKey
from gainrl.stages.data import prepare_data
from gainrl.stages.evaluate import load_benchmark
from gainrl.stages.prepare import build_model
from gainrl.stages.prompts import choose_prompts
from gainrl.stages.train_local import LocalRun
from gainrl.training.supervised import corpus

pytestmark = pytest.mark.usefixtures("one_thread")


def built(tmp_path, tokenizer, rows=ROWS, ends=1, **dataset):
    """The context of a model after its stage, and its folder."""
    context = context_of(tmp_path, save(tmp_path / "given", tokenizer, rows, ends), **dataset)
    build_model(context, "mine")
    return context, context.layout.model("mine")


def refused(tmp_path, *model, **dataset):
    with pytest.raises(ModelError, match="model 'mine'") as caught:
        built(tmp_path, *model, **dataset)
    assert not (tmp_path / "results" / "given" / "models" / "mine").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_pad_beyond():
    tokenizer = bytes_tokenizer(pad_token=None)
    tokenizer.add_special_tokens({"pad_token": "<filler>"})
    assert tokenizer.pad_token_id == ROWS
    return tokenizer


@pytest.mark.parametrize(
    ("tokenizer", "rows", "ends", "pad"),
    [
        (bytes_tokenizer(), ROWS, 1, 2),
        (bytes_tokenizer(), ROWS + 40, 1, 2),
        (bytes_tokenizer(pad_token=None), ROWS, 1, 1),
        (with_pad_beyond(), ROWS, 1, 1),
        (bytes_tokenizer(pad_token=None, eos_token=None), ROWS, [5, 7], 5),
        (bytes_tokenizer(eos_token=None), ROWS, 5, 2),
    ],
    ids=["plain", "rows to spare", "no pad", "pad beyond", "ends of the model's", "no end of own"],
)
def test_a_model_that_can_be_run_is_tested_and_trained(tmp_path, tokenizer, rows, ends, pad):
    context, folder = built(tmp_path, tokenizer, rows, ends)
    network, loaded = load_model(folder), load_tokenizer(folder)
    assert pad_of(network, loaded) == pad
    prepare_data(context, "sums")
    benchmark = load_benchmark(context, "mine", "sums", network.config, loaded)
    asked = [benchmark.prompts.tokens[0][:9], benchmark.prompts.tokens[1]]
    options = {"ends": end_tokens(network, loaded), "pad": pad}
    assert len(generate(network, asked, 1, Sampling(0.0, 1.0, 3), None, **options)) == 2
    choose_prompts(context, "mine", "sums")
    run = LocalRun(context, RunKey("mine", "sums", "grpo", 0))
    run._build()
    record, _ = run.trainer.step()
    assert record["step"] == 1


def test_the_pad_token_changes_no_answer(tmp_path):
    network = load_model(save(tmp_path, bytes_tokenizer()))
    asked, greedy = [[9, 8, 7], [30, 31, 32, 33, 34, 35]], Sampling(0.0, 1.0, 8)
    one, other = (
        generate(network, asked, 1, greedy, None, ends=frozenset({1}), pad=pad) for pad in (2, 1)
    )
    assert one == other


def test_words_without_an_embedding_are_refused(tmp_path):
    said = refused(tmp_path, bytes_tokenizer(), ROWS - 30)
    assert "30 words that the model lacks" in said
    assert f"its embedding has {ROWS - 30} rows" in said


def test_an_added_token_without_an_embedding_is_refused_where_it_stands(tmp_path):
    tokenizer = bytes_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<picture>"]})
    _, folder = built(tmp_path / "unused", tokenizer)
    renderer = Renderer(load_tokenizer(folder), rows=ROWS)
    renderer.tokens(["a"], ["Any picture?"])
    with pytest.raises(DataError, match=rf"prompt 'b': .*'<picture>' \(id {ROWS}"):
        renderer.tokens(["a", "b"], ["one", "What is on <picture>?"])
    tokenizer.chat_template = PLAIN + "<picture>"
    assert "data set 'sums': the chat template: " in refused(tmp_path / "used", tokenizer)


def test_a_model_without_an_end_token_is_refused(tmp_path):
    assert "no end token" in refused(tmp_path / "none", bytes_tokenizer(eos_token=None), ROWS, None)
    beyond = bytes_tokenizer(eos_token=None)
    beyond.add_special_tokens({"eos_token": "<stop>"})
    assert f"[{ROWS}]" in refused(tmp_path / "beyond", beyond, ROWS, None)
    _, folder = built(tmp_path / "both", beyond, ROWS, 7)
    network, tokenizer = load_model(folder), load_tokenizer(folder)
    assert end_tokens(network, tokenizer) == folder_ends(folder, tokenizer) == {7}
    assert end_token(network, tokenizer) == 7


def test_the_ends_of_a_folder_are_those_of_the_loaded_model(tmp_path):
    save(tmp_path, bytes_tokenizer(eos_token=None), ends=[3, 9])
    for wanted in ({3, 9}, {LlamaConfig().eos_token_id}):
        network, tokenizer = load_model(tmp_path), load_tokenizer(tmp_path)
        assert folder_ends(tmp_path, tokenizer) == end_tokens(network, tokenizer) == wanted
        (tmp_path / "generation_config.json").unlink(missing_ok=True)


def test_a_padding_index_beyond_the_embedding_is_refused(tmp_path):
    folder = save(tmp_path / "given", bytes_tokenizer())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": ROWS}))
    with pytest.raises(ModelError, match=r"config\.json: pad_token_id lies beyond the embedding"):
        build_model(context_of(tmp_path, folder), "mine")


def test_worked_solutions_end_with_a_token_that_the_model_has(tmp_path):
    network = load_model(save(tmp_path, bytes_tokenizer(eos_token=None), ends=[5, 7]))
    tokenizer = load_tokenizer(tmp_path)
    prompts = Renderer(tokenizer, system="Be brief.").encode(["a", "b"], ["1 + 1", "2 + 1"])
    suffixes = corpus(tokenizer, prompts, ["2", "3"], "all", end_token(network, tokenizer))
    assert [suffix.tokens[-1] for suffix in suffixes] == [5, 5]
