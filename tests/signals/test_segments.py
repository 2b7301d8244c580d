"""Prefix, question and suffix of prompts rendered by the chat templates of five model families.

The expected text of a prompt is put together by hand from the rules of its template, and the edges
of its segments are found from the bytes that its token pieces stand for.
"""

import datetime
import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, count, pairwise, takewhile

import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import ByteLevel as ByteLevelProcessor
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from gainrl.data.prompts import encode
from gainrl.errors import UserError

# --- the families --------------------------------------------------------------------------------

CHATML = """\
{%- if messages[0].role != 'system' -%}
{{ '<|im_start|>system\\nDEFAULT<|im_end|>\\n' }}
{%- endif -%}
{%- for turn in messages -%}
{{ '<|im_start|>' ~ turn.role ~ '\\n' ~ turn.content ~ '<|im_end|>\\n' }}
{%- endfor -%}
{{ '<|im_start|>assistant\\n' if add_generation_prompt }}"""
LLAMA = """\
{%- set date = date_string or strftime_now('%d %b %Y') -%}
{%- set told = messages | selectattr('role', 'equalto', 'system') | list -%}
{{ '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\\n\\n' -}}
{{ 'Cutting Knowledge Date: December 2023\\nToday Date: ' ~ date ~ '\\n\\n' -}}
{{ (told | map(attribute='content') | first | default('') | trim) ~ '<|eot_id|>' -}}
{%- for turn in messages if turn.role != 'system' -%}
{{ '<|start_header_id|>' ~ turn.role ~ '<|end_header_id|>\\n\\n' -}}
{{ turn.content | trim ~ '<|eot_id|>' -}}
{%- endfor -%}
{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' if add_generation_prompt }}"""
INST = """\
{{ '<s>' }}
{%- for turn in messages -%}
{{ raise_exception('system role not supported') if turn.role == 'system' -}}
{{ '[INST] ' ~ turn.content ~ ' [/INST]' -}}
{%- endfor -%}"""
PLAIN = """\
{%- for turn in messages -%}
{{ turn.role | capitalize ~ ': ' ~ turn.content ~ '\\n' -}}
{%- endfor -%}
{{ 'Assistant:' if add_generation_prompt }}"""

CHATML_HEAD = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n"
CHATML_TAIL = "<|im_end|>\n<|im_start|>assistant\n"
CHATML_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA_HEAD = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: DATE\n\n{}<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n"
)
LLAMA_TAIL = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
LLAMA_SPECIAL = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


@dataclass(frozen=True)
class Family:
    """jinja: chat template; bare, told: text before the turn without and with a system prompt."""

    jinja: str
    special: tuple[str, ...]
    bare: str
    told: str | None
    tail: str
    strips: bool = False

    def texts(self, question, template="{question}", system=None):
        """What stands before the user's turn, the turn, and what stands after it."""
        head = self.bare if system is None else self.told.format(system)
        turn = template.replace("{question}", question)
        return head, turn.strip() if self.strips else turn, self.tail


def chatml(default):
    """The family of a ChatML template with a system prompt of its own."""
    jinja, bare = CHATML.replace("DEFAULT", default), CHATML_HEAD.format(default)
    return Family(jinja, CHATML_SPECIAL, bare, CHATML_HEAD, CHATML_TAIL)


FAMILIES = {
    "qwen": chatml("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    "smol": chatml("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    "llama": Family(LLAMA, LLAMA_SPECIAL, LLAMA_HEAD.format(""), LLAMA_HEAD, LLAMA_TAIL, True),
    "inst": Family(INST, ("<s>", "</s>"), "<s>[INST] ", None, " [/INST]"),
    "plain": Family(PLAIN, ("</s>",), "User: ", "System: {}\nUser: ", "\nAssistant:"),
}

# --- tokenizers and segments ---------------------------------------------------------------------

VISIBLE = [*range(33, 127), *range(161, 173), *range(174, 256)]  # GPT-2's alphabet of bytes
HIDDEN = [byte for byte in range(256) if byte not in VISIBLE]
BYTE = {chr(b): b for b in VISIBLE} | {chr(256 + i): b for i, b in enumerate(HIDDEN)}
LINES = (
    "What is 12 + 7? What is one or two? Name a prime below 20. Solve: one two three\n",
    "You are a helpful assistant. Think step by step. Answer with a number.\nAssistant:",
    "system\nuser\nassistant\n\nUser: Date: [INST] one [/INST] é è 漢字 漢語 🙂 🙃\n\n",
)


def symbol(character, byte):
    """The byte-level symbol of one byte of a character."""
    return next(sign for sign, value in BYTE.items() if value == character.encode()[byte])


@cache
def tokenizer_of(name, merges=(), kind="bytes", trim=None):
    """A tokenizer of single bytes (plus merges that know no word edges) or a trained one."""
    family = FAMILIES[name]
    symbols = [*sorted(BYTE), *(a + b for a, b in merges)]
    core = Tokenizer(BPE({s: i for i, s in enumerate(symbols)}, list(merges)))
    core.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=kind == "trained")
    if kind == "trained":
        trainer = BpeTrainer(vocab_size=340, initial_alphabet=sorted(BYTE), show_progress=False)
        core.train_from_iterator(LINES * 3, trainer)
    if name == "qwen":
        core.normalizer = NFC()
    if trim is not None:
        core.post_processor = ByteLevelProcessor(trim_offsets=trim)
    core.decoder = ByteLevelDecoder()
    core.add_special_tokens(list(family.special))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=family.special[-1])
    tokenizer.chat_template = family.jinja
    return tokenizer


def spell(tokenizer, family, row):
    """The bytes of each token."""
    pieces = tokenizer.convert_ids_to_tokens(row)
    return [p.encode() if p in family.special else bytes(BYTE[s] for s in p) for p in pieces]


class Clock(datetime.datetime):
    @classmethod
    def now(cls):
        return cls(2031, 5, 1)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(chat_template_utils, "datetime", Clock)


def dated(text, rendered):
    """A hand-made text with the day that the rendering shows; any day will do."""
    return text.replace("DATE", rendered.partition("Today Date: ")[2][: len("01 May 2031")])


def segments(name, questions, tokenizer, template="{question}", system=None):
    """Check everything that holds for any data set; return (prefix, question, suffix) texts."""
    family = FAMILIES[name]
    ids = [f"q{i}" for i in range(len(questions))]
    prompts = encode(tokenizer, ids, questions, template=template, system=system)
    rows, prefix = prompts.tokens, prompts.n_prefix
    assert (prompts.ids, len(rows)) == (ids, len(questions))
    texts, found = [], []
    sizes = zip(rows, prompts.n_question, prompts.n_suffix, questions, strict=True)
    for row, size, after, question in sizes:
        decoded = tokenizer.decode(row)
        head, turn, tail = family.texts(question, template, system)
        if tokenizer.backend_tokenizer.normalizer is not None:
            turn = unicodedata.normalize("NFC", turn)
        head, turn, tail = dated(head, decoded).encode(), turn.encode(), tail.encode()
        texts.append(head + turn + tail)
        spelled = spell(tokenizer, family, row)
        assert b"".join(spelled) == texts[-1]
        assert decoded == texts[-1].decode()
        starts = [0, *accumulate(map(len, spelled))]
        end = len(head + turn)
        assert after == sum(start >= end for start in starts[:-1])
        assert 0 < size == len(row) - prefix - after
        cuts = (0, starts[prefix], starts[prefix + size], len(texts[-1]))
        found.append(tuple(texts[-1][a:b] for a, b in pairwise(cuts)))
    assert all(row[:prefix] == rows[0][:prefix] for row in rows)
    starved = 1 in prompts.n_question  # longer only at the cost of a prompt's last question token
    assert starved or len({row[prefix] for row in rows}) > 1
    common = len(list(takewhile(lambda at: len(set(at)) == 1, zip(*texts, strict=False))))
    assert len(found[0][0]) <= common
    if not starved and len(tokenizer.get_vocab()) == 256 + len(family.special):  # bytes only
        assert {len(first) for first, _, _ in found} == {common}
    return [tuple(part.decode(errors="replace") for part in row) for row in found]


# --- every family --------------------------------------------------------------------------------

CASES = {
    "different": ["12 + 7 is what?", "Name a prime below 20.", "What is 9?"],
    "alike": ["What is 1?", "What is 2?", "What is 34?"],
    "prefixes": ["What is 1", "What is 12", "What is 12 + 1?"],
    "same": ["one", "one"],
    "single": ["What is 3?"],
    "accents": ["é or è", "è or é", "écolé"],
    "kanji": ["漢字", "漢語は何", "字"],
    "emoji": ["🙂 or 🙃", "🙃", "🙂🙂"],
    "composed": ["the\u0301", "cafe\u0301", "e\u0301a"],
    "whitespace": [" one", "two ", "\n three\n", "\t four \n\n", " \none"],
    "own text": [
        *("{tail}", "{head}", "{tail}{head}one", "x{tail}", "{tail}x", "{tail}{tail}"),
        *("assistant", "user\nassistant\n", "Today Date:", "[INST] [/INST]", "{question}"),
    ],
}
SETUPS = {
    "bare": {},
    "system": {"system": "Answer with a number."},
    "tail": {"template": "{question} Think step by step."},
    "both": {"template": "Solve: {question}\n", "system": "Use é, 漢 and 🙂."},
}


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["bytes", "trained"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_segments_cover_the_rendering(name, kind, case, setup):
    family, options = FAMILIES[name], dict(SETUPS[setup])
    if family.told is None:
        options.pop("system", None)
    own = {"{tail}": family.tail, "{head}": family.bare.replace("DATE", "02 Jun 1999")}
    questions = CASES[case]
    for mark, text in own.items():
        questions = [question.replace(mark, text) for question in questions]
    segments(name, questions, tokenizer_of(name, kind=kind), **options)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_trained_tokenizers_merge(name):
    """The cases above are not all about single bytes."""
    assert len(tokenizer_of(name, kind="trained")("What is one").input_ids) <= 5


@pytest.mark.parametrize("name", FAMILIES)
def test_the_template_around_the_question_belongs_to_the_users_turn(name):
    family, style = FAMILIES[name], {"template": "Solve {question} Think step by step."}
    found = segments(name, ["6 - 1?", "one?"], tokenizer_of(name), **style)
    prefix = dated(family.bare, found[0][0]) + "Solve "
    assert found[0] == (prefix, "6 - 1? Think step by step.", family.tail)
    assert found[1] == (prefix, "one? Think step by step.", family.tail)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("questions", "expected"),
    [
        (["What is 3?"], ["?"]),  # one question token must be left
        (["What is 1", "What is 12?"], ["1", "12?"]),
        (["What is 1?", "What is 2 or 3?"], ["1?", "2 or 3?"]),
        (["漢字", "漢語"], ["字", "語"]),
        (["🙂 one", "two 🙃"], ["🙂 one", "two 🙃"]),
    ],
)
def test_what_all_questions_begin_with_is_prefix(name, questions, expected):
    found = segments(name, questions, tokenizer_of(name))
    assert [row[1:] for row in found] == [(text, FAMILIES[name].tail) for text in expected]


@pytest.mark.parametrize("name", [name for name in FAMILIES if not FAMILIES[name].strips])
def test_white_space_that_the_template_keeps_is_question(name):
    found = segments(name, [" one \n", "two\t"], tokenizer_of(name))
    assert [row[1] for row in found] == [" one \n", "two\t"]


@pytest.mark.parametrize(
    ("question", "system"),
    [(" one", "Pick one or two."), ("two ", "Say two or six."), (" Date", None)],
)
def test_a_stripped_question_is_not_taken_for_the_same_words_before_it(question, system):
    """Llama's template strips; what it was given may stand, space and all, in the system block."""
    found = segments("llama", [question, "9 + 4"], tokenizer_of("llama"), system=system)
    assert [row[1:] for row in found] == [(question.strip(), LLAMA_TAIL), ("9 + 4", LLAMA_TAIL)]


def test_the_prefix_is_shared_when_midnight_passes_between_two_prompts(monkeypatch):
    """All prompts of one data set carry one date."""
    days = count(1)
    ticking = type("Ticking", (Clock,), {"now": classmethod(lambda cls: cls(2031, 5, next(days)))})
    monkeypatch.setattr(chat_template_utils, "datetime", ticking)
    tokenizer = tokenizer_of("llama")
    prompts = encode(tokenizer, ["a", "b"], ["one", "two"])
    prefix = tokenizer.decode(prompts.tokens[0][: prompts.n_prefix])
    assert prefix == dated(FAMILIES["llama"].bare, prefix)


def test_a_system_prompt_that_the_template_refuses_is_the_users_to_mend():
    with pytest.raises(UserError, match="system"):
        encode(tokenizer_of("inst"), ["a", "b"], ["one", "two"], system="Be brief.")


# --- tokens across an edge of the question -------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "merges", "questions", "edge", "expected"),
    [
        ("qwen", (("Ċ", "o"),), ["one", "two"], "user", ["\none", "\ntwo"]),
        ("qwen", (("Ċ", "Ċ"),), ["\none", "two"], "user", ["\n\none", "\ntwo"]),
        ("smol", (("Ċ", "o"), ("Ċo", "n")), ["one", "of"], "user", ["\none", "\nof"]),
        ("llama", (("Ċ", "o"),), ["one", "two"], "id|>\n", ["\none", "\ntwo"]),
        ("llama", (("Ċ", "Ċ"), ("ĊĊ", "o")), ["one", "t"], "id|>", ["\n\none", "\n\nt"]),
        ("inst", (("Ġ", "o"),), ["one", "two"], "[INST]", [" one", " two"]),
        ("inst", (("Ġ", "Ġ"),), [" one", "two"], "[INST]", ["  one", " two"]),
        ("plain", (("Ġ", "o"),), ["one", "of"], "User: o", ["ne", "f"]),  # across, yet shared
        ("plain", (("Ġ", symbol("漢", 0)),), ["漢", "one"], "User:", [" 漢", " one"]),
        ("plain", (("Ġ", symbol("🙂", 0)),), ["🙂", "é"], "User:", [" 🙂", " é"]),
    ],
)
def test_a_token_across_the_beginning_is_question(name, merges, questions, edge, expected):
    found = segments(name, questions, tokenizer_of(name, merges))
    assert all(row[0].endswith(edge) for row in found)
    assert [row[1:] for row in found] == [(text, FAMILIES[name].tail) for text in expected]


THINK = "{question} Think."
ACROSS_THE_END = [
    ("inst", (("?", "Ġ"),), ["one?", "two"], "{question}", ["one? ", "two"]),
    ("inst", (("Ġ", "Ġ"),), ["one ", "two"], "{question}", ["one  ", "two"]),
    ("inst", (("Ġ", "Ġ"), ("ĠĠ", "[")), ["one ", "two"], "{question}", ["one  [", "two"]),
    ("inst", (("Ġ", "["),), ["one ", "two"], "{question}", ["one ", "two"]),  # behind the end
    ("plain", (("?", "Ċ"),), ["one?", "two"], "{question}", ["one?\n", "two"]),
    ("plain", (("Ċ", "Ċ"),), ["one\n", "two"], "{question}", ["one\n\n", "two"]),
    ("plain", ((".", "Ċ"), ("?", "Ġ")), ["1?", "2"], THINK, ["1? Think.\n", "2 Think.\n"]),
    ("plain", ((symbol("🙂", -1), "Ċ"),), ["one 🙂", "é"], "{question}", ["one 🙂\n", "é"]),
    ("plain", ((symbol("é", -1), "Ċ"),), ["one é", "字"], "{question}", ["one é\n", "字"]),
    ("qwen", (("?", "<"), ("Ċ", "<")), ["1?", "2\n"], "{question}", ["1?", "2\n"]),  # never
]


@pytest.mark.parametrize(("name", "merges", "questions", "template", "expected"), ACROSS_THE_END)
@pytest.mark.parametrize("trim", [None, False, True])
def test_a_token_across_the_end_is_question(name, merges, questions, template, expected, trim):
    """trim: does a post-processor cut spaces off the offsets, as RoBERTa's and Cohere's does?"""
    found = segments(name, questions, tokenizer_of(name, merges, trim=trim), template)
    assert [row[1] for row in found] == expected
    for row, question in zip(found, questions, strict=True):
        assert row[1] + row[2] == template.replace("{question}", question) + FAMILIES[name].tail
