"""What a checkpoint's configuration files say beside the shapes of its weights: special tokens,
decoding settings, and what cannot be run here.

Published files lack a start or a padding token, name several end tokens, or ask for beam search.
They are read as stock greedy `generate` reads them; what cannot be run is refused before any data
are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from orchestrator.corpus.samples import SAMPLE_RATE
from orchestrator.errors import ModelError

NEUTRAL = {
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "do_sample": (False,),
    "max_length": (20,),  # the default of models that name none
    "max_new_tokens": (),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "repetition_penalty": (1.0,),
    "encoder_repetition_penalty": (1.0,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "bad_words_ids": ([],),
    "sequence_bias": ({}, []),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "forced_decoder_ids": ([],),
    "exponential_decay_length_penalty": (),
    "guidance_scale": (1.0,),
    "stop_strings": ([],),
    "num_return_sequences": (1,),
    "force_words_ids": ([],),
    "constraints": ([],),
    "penalty_alpha": (0.0,),
    "dola_layers": (),
    "watermarking_config": (),
    "max_time": (),
}
"""Settings of `generate` that change which tokens greedy decoding gives, or how many, and for each
the values, beside None, at which it changes nothing."""

GROWING_ROPE = ("dynamic", "longrope")
"""Kinds of rotary embedding whose frequencies depend on the length of the sequence. They are
refused because the rows of a pack differ in length.
"""


class SpecialTokens(NamedTuple):
    """The tokens with which a text begins and ends."""

    start: int
    """The first token that the decoder is fed."""
    eos: int
    """The token at the end of every label."""
    ends: frozenset[int]
    """The tokens each of which ends a decoded text."""


def special_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """Return the special tokens that stock `generate` uses.

    They are those of the generation configuration, whose `bos_token_id` is the start where it has
    no `decoder_start_token_id`; what it lacks is taken likewise from the model's configuration, and
    then from the tokenizer. Raises ModelError where none has them, or where one is no token of the
    model's vocabulary.
    """
    sources = (model.generation_config, model.config, tokenizer)
    starts = (
        getattr(source, name, None)
        for source in sources
        for name in ("decoder_start_token_id", "bos_token_id")
    )
    start = next((token for token in starts if token is not None), None)
    ends = next(
        (
            found
            for source in sources
            if (found := _token_ids(getattr(source, "eos_token_id", None)))
        ),
        (),
    )
    if start is None or not ends:
        field = "decoder_start_token_id" if start is None else "eos_token_id"
        raise ModelError(
            f"{_model_name(model)}: neither generation_config.json nor config.json nor the tokenizer says {field}. "
            f"Write it in generation_config.json."
        )
    for field, token in (
        ("decoder_start_token_id", start),
        *(("eos_token_id", end) for end in ends),
    ):
        if isinstance(token, bool) or not isinstance(token, int):
            raise ModelError(
                f"{_model_name(model)}: {field} is {token!r}, and a token is a whole number. Correct it in "
                "generation_config.json and config.json."
            )
        if not 0 <= token < model.config.vocab_size:
            raise ModelError(
                f"{_model_name(model)}: {field} is {token}, and config.json gives the model a vocabulary of "
                f"{model.config.vocab_size}. Correct it in generation_config.json and config.json."
            )
    # labels end with the tokenizer's own end token where it is one of several
    preferred = (tokenizer.eos_token_id, *_token_ids(model.config.eos_token_id))
    return SpecialTokens(
        start, next((token for token in preferred if token in ends), ends[0]), frozenset(ends)
    )


def _token_ids(tokens: Any) -> tuple[Any, ...]:
    """Return a configuration's token or tokens as a tuple, whatever their type; empty for None."""
    if tokens is None:
        return ()
    return tuple(tokens) if isinstance(tokens, list | tuple) else (tokens,)


def greedy_generation(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> GenerationConfig:
    """Return the generation configuration with which `generate` decodes as it is done here, greedily:
    the model's special tokens, wherever it says them, and its limit of length.
    """
    tokens, own = special_tokens(model, tokenizer), model.generation_config
    # the end of labels is the first, where a further sweep takes it from
    ends = [tokens.eos, *sorted(tokens.ends - {tokens.eos})]
    return GenerationConfig(
        decoder_start_token_id=tokens.start,
        eos_token_id=ends if len(ends) > 1 else tokens.eos,
        pad_token_id=_padding(own, model.config.vocab_size),
        **{name: getattr(own, name) for name in ("bos_token_id", "max_length", "max_new_tokens")},
    )


def _padding(own: GenerationConfig, vocabulary: int) -> int | None:
    """Return the padding token of a generation configuration; None where what it has is no token,
    as the -1 of some, which transformers reads and does not write.
    """
    padding = own.pad_token_id
    return padding if isinstance(padding, int) and 0 <= padding < vocabulary else None


def ignored_settings(model: PreTrainedModel) -> tuple[str, ...]:
    """Return a sentence for each thing that a checkpoint's configuration asks for in vain."""
    return (*_ignored_decoding(model), *_ignored_tie(model))


def _ignored_decoding(model: PreTrainedModel) -> Iterator[str]:
    config = model.generation_config
    asked = {name: value for name in NEUTRAL if (value := getattr(config, name, None)) is not None}
    said = ", ".join(
        f"{name} {value}" for name, value in asked.items() if value not in NEUTRAL[name]
    )
    if said:
        yield (
            f"generation_config.json asks for {said}; it is ignored: decoding is greedy, and as long as "
            "evaluation.max_tokens_per_second lets it be"
        )


def _ignored_tie(model: PreTrainedModel) -> Iterator[str]:
    """Yield a sentence where the configuration ties the output head to the embeddings and the
    weights hold another head, which is then used. transformers does the same, but its warning is
    one of many.
    """
    head, embedding = model.proj_out.weight, model.model.decoder.embed_tokens.weight
    if getattr(model.config, "tie_word_embeddings", False) and head is not embedding:
        yield (
            "config.json ties the output head to the embeddings, and the weights hold a head of their own, which is "
            "taken"
        )


def check_runnable(model: PreTrainedModel) -> None:
    """Raise ModelError for a configuration that transformers loads and that the code here would not
    compute as the stock model does.
    """
    for fault in _configuration_faults(model):
        raise ModelError(f"{_model_name(model)}: {fault}")


def _configuration_faults(model: PreTrainedModel) -> Iterator[str]:
    config, encoder = model.config, model.model.encoder
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if any(kind in rope for kind in GROWING_ROPE):
        yield (
            f"config.json has rope_parameters.rope_type {rope!r}, whose frequencies change with the length of a text; "
            "use a checkpoint with 'default', 'linear', 'llama3' or 'yarn'."
        )
    stacks = {"decoder": model.model.decoder} | (
        {"encoder": encoder} if hasattr(encoder, "rotary_emb") else {}
    )
    # not the streaming encoder, for which grouped-query attention is computed
    for (
        name,
        stack,
    ) in stacks.items():
        attention = stack.layers[0].self_attn
        heads, shared = (
            len(projection.weight) // attention.head_dim
            for projection in (attention.q_proj, attention.k_proj)
        )
        if heads != shared:
            yield (
                f"config.json gives the {name} {heads} attention heads and {shared} key_value_heads, which the stock "
                "model cannot run either; use a checkpoint in which they are equal."
            )
    own = getattr(config, "encoder_config", None)
    if own is not None and own.sample_rate != SAMPLE_RATE:
        yield (
            f"config.json has encoder_config.sample_rate {own.sample_rate}, and all sound here is at {SAMPLE_RATE} Hz; "
            "use a checkpoint for that rate."
        )
    if own is not None and len(own.sliding_windows) < len(encoder.layers):
        yield (
            f"config.json has {len(own.sliding_windows)} encoder_config.sliding_windows for {len(encoder.layers)} "
            "layers; write one for every layer."
        )


def _model_name(model: PreTrainedModel) -> str:
    return f"model {model.config.name_or_path!r}" if model.config.name_or_path else "the model"
