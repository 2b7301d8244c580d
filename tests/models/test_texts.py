"""Token ids as text: no decoder may take a space of the first line's indentation."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from gainrl.data.prompts import Prompts
from gainrl.errors import GradingError
from gainrl.evaluation.samples import Answer, Benchmark, graded
from gainrl.grading.grades import Grade
from gainrl.models.nano import build_tokenizer
from gainrl.models.texts import texts_of

BODIES = ["    y = 1\n    return y", "  z", " word", "word", "\n    x", "    ", "", "é = 2"]
SPACE = "\u2581"


def sentencepiece(kind: str) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    if kind == "metaspace":
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        core.decoder = decoders.Metaspace(prepend_scheme="first")
    else:
        core.normalizer = normalizers.Replace(" ", SPACE)
        steps = [decoders.Replace(SPACE, " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        core.decoder = decoders.Sequence(steps)
    marks = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=80, special_tokens=marks, show_progress=False)
    core.train_from_iterator([*BODIES, *BODIES], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="</s>")


@pytest.mark.parametrize("kind", ["strip", "metaspace"])
def test_the_first_space_is_kept(kind: str) -> None:
    tokenizer = sentencepiece(kind)
    known = tokenizer.get_vocab()
    ids = [[known[SPACE if sign == " " else sign] for sign in body] for body in BODIES]
    dropped = tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert dropped[0] == BODIES[0][1:]  # what it is about
    ended = [[known["<s>"], *row, known["</s>"]] for row in ids]
    for given in (ids, ended):
        texts = texts_of(tokenizer, given)
        assert [text for text in texts if text.strip()] == [b for b in BODIES if b.strip()]


def byte_level() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["</s>"], show_progress=False
    )
    core.train_from_iterator(BODIES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>")


@pytest.mark.parametrize("make", [byte_level, build_tokenizer])
def test_other_tokenizers_decode_as_ever(make) -> None:
    tokenizer = make()
    ids = [[*range(start, start + 7)] for start in range(0, len(tokenizer) - 7, 3)]
    assert texts_of(tokenizer, ids) == tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert texts_of(tokenizer, []) == []


def test_spaces_of_a_byte_level_tokenizer_are_as_written() -> None:
    tokenizer = byte_level()
    ids = [tokenizer.encode(body) for body in [*BODIES, f"{SPACE}a"]]
    assert texts_of(tokenizer, ids) == [*BODIES, f"{SPACE}a"]


def test_a_lost_grade_is_refused() -> None:
    tokenizer = byte_level()
    prompts = Prompts(["a"], [[1]], 0, np.zeros(1, dtype=np.int64))
    answers = [Answer(0, sample, [5], True) for sample in range(2)]

    class Loses:
        version = "loses one"

        def __call__(self, responses, golds):
            return [Grade(True, "1", "same text") for _ in responses[1:]]

    with pytest.raises(GradingError, match="d: 2 answers, 1 grades"):
        graded(Benchmark("d", prompts, ["1"], Loses()), answers, tokenizer)
