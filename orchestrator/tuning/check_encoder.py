"""Start-up checks of the encoder: its masks, its independence of padding, and that its outputs can be used again."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from orchestrator.checks import Finding, finding
from orchestrator.tuning.check_probe import FRAMES_ALIKE, Probe, apart, audio, share
from orchestrator.tuning.transcription import transcribe

TOKENS = 8
"""Heard of a clip that is cut in its middle; more say nothing new."""


def attention_mask(probe: Probe) -> Iterator[Finding]:
    """The encoder against the stock one with its mask, and against itself with noise beyond the clips' ends."""
    base, clip = probe.base, probe.padded[-1]
    frames, lengths = base.family.front_end([clip])
    ours = base.family.encoder_layers(frames, lengths, 0, base.encoder_depth)
    samples = audio(base, clip)
    mask = torch.ones_like(samples, dtype=torch.long)
    stock = base.model.model.encoder(samples, attention_mask=mask).last_hidden_state
    if ours.shape != stock.shape or apart(ours, stock) > FRAMES_ALIKE:
        yield finding(
            "attention-mask",
            f"a clip's encoder output differs from the stock model's with its attention mask by {share(ours, stock)} "
            "of the largest value: the mask, or the window that hangs on it, is not applied.",
        )
    frames, lengths = base.family.front_end(probe.padded)
    valid = _valid(lengths, frames)
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0)).to(frames) * frames.abs().max()
    quiet, loud = (
        base.family.encoder_layers(torch.where(valid, frames, beyond), lengths, 0, base.encoder_depth)
        for beyond in (torch.zeros_like(frames), noise)
    )
    if apart(quiet[valid[..., 0]], loud[valid[..., 0]]) > FRAMES_ALIKE:
        yield finding(
            "attention-mask",
            "what stands beyond a clip's end changes its encoder output by "
            f"{share(quiet[valid[..., 0]], loud[valid[..., 0]])} of the largest value: padding is not masked.",
        )


def padding(probe: Probe) -> Iterator[Finding]:
    """Frames, encoder output and words of clips alone and beside a longer one."""
    base, short = probe.base, probe.padded[:-1]
    together, counts = base.family.front_end(probe.padded)
    encoded = base.family.encoder_layers(together, counts, 0, base.encoder_depth)
    for row, clip in enumerate(short):
        frames, count = base.family.front_end([clip])
        if int(count[0]) != int(counts[row]):
            yield finding(
                "padding",
                f"a clip of {len(clip) / 16000:.2f} s has {int(count[0])} frames alone and {int(counts[row])} in a "
                "padded batch: a number would depend on what is decoded beside it.",
            )
            return
        alone = base.family.encoder_layers(frames, count, 0, base.encoder_depth)[0]
        padded = encoded[row, : len(alone)]
        if apart(alone, padded) > FRAMES_ALIKE:
            yield finding(
                "padding",
                f"a clip's encoder output in a padded batch differs from its own alone by {share(alone, padded)} of "
                "the largest value: a number would depend on what is decoded beside it.",
            )
            return
    [alone_words], [padded_words] = (
        transcribe(base, probe.store, name, [TOKENS] * len(probe.store.clips[name]), ()) for name in ("alone", "padded")
    )
    if alone_words.tokens[0] != padded_words.tokens[0]:
        said = [base.text(each.tokens[0]) for each in (alone_words, padded_words)]
        yield finding("padding", f"a clip says {said[0]!r} alone and {said[1]!r} in a padded batch.")


def encoder_reuse(probe: Probe) -> Iterator[Finding]:
    """The encoder output before and after the decoder has read it twice."""
    base = probe.base
    frames, lengths = base.family.front_end(probe.padded)
    encoded = base.family.encoder_layers(frames, lengths, 0, base.encoder_depth)
    before = encoded.clone()
    tokens = torch.full((len(encoded), 2), base.decoder.start, device=base.device)
    mask = _valid(lengths, encoded)[..., 0][:, None, None]
    for _ in range(2):
        base.decoder(tokens, base.decoder.cross_keys(base.family.memory(encoded)), mask)
    if not torch.equal(before, encoded):
        yield finding(
            "encoder-reuse",
            f"the decoder changes the encoder output it reads by {share(encoded, before)} of the largest value, so "
            "an output that is used again is another one: add the positions out of place.",
        )


def _valid(lengths: Tensor, frames: Tensor) -> Tensor:
    """Boolean (n, T, 1), worked out here: a mask that says everything is valid must not hide itself."""
    return (torch.arange(frames.shape[1], device=lengths.device)[None] < lengths[:, None])[..., None]
