"""The nano model: a Llama of under 2M parameters with a word-level tokenizer of its own.

It is an ordinary Hugging Face folder that transformers and vLLM load. Its chat template carries a
system prompt and one worked example, so that prompts share a prefix as those of real models do.
"""

from __future__ import annotations

from typing import Any

from gainrl.config.models import Nano, Vocabulary
from gainrl.models.nano_words import END, LESSONS, MARKS, PAD, UNKNOWN, Lesson, words

__all__ = ["LESSONS", "build_model", "build_tokenizer", "template", "words"]


def template(lesson: Lesson) -> str:
    """The chat template; a system prompt of the conversation's own replaces the lesson's."""
    return (
        "{%- if messages[0]['role'] == 'system' -%}"
        "{%- set system = messages[0]['content'] -%}{%- set turns = messages[1:] -%}"
        "{%- else -%}{%- set system = '" + lesson.system + "' -%}{%- set turns = messages -%}"
        "{%- endif -%}"
        "<|system|> {{ system }} <|end|> "
        "<|user|> " + lesson.question + " <|end|> <|assistant|> " + lesson.answer + " <|end|>"
        "{%- for turn in turns %} <|{{ turn['role'] }}|> {{ turn['content'] }} <|end|>"
        "{%- endfor %}"
        "{%- if add_generation_prompt %} <|assistant|>{%- endif %}"
    )


def build_tokenizer(vocabulary: Vocabulary = "arithmetic") -> Any:
    """A word-level tokenizer over the generators' closed vocabulary, with the chat template."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(WordLevel(words(vocabulary), unk_token=UNKNOWN))
    core.pre_tokenizer = Whitespace()  # words, and runs of symbols such as ####
    core.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, padding_side="left"
    )
    tokenizer.chat_template = template(LESSONS[vocabulary])
    return tokenizer


def build_model(spec: Nano, vocabulary: int) -> Any:
    """A Llama with random weights drawn from `spec.seed`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=spec.hidden,
        intermediate_size=spec.feed_forward,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=spec.heads,
        max_position_embeddings=spec.context,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        attention_dropout=0.0,
        initializer_range=0.08,  # the usual 0.02 is for wide models; here it learns half as fast
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        return LlamaForCausalLM(config)
