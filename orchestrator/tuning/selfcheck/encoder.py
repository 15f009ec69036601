"""Start-up checks of the encoder: that its masks are applied, that it does not depend on padding,
and that its outputs can be used more than once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from orchestrator.checks import Finding, finding
from orchestrator.corpus.samples import SAMPLE_RATE
from orchestrator.tuning.decoding.greedy_decoding import transcribe
from orchestrator.tuning.model.base_model import BaseModel
from orchestrator.tuning.model.layout import RaggedLayout, laid_out
from orchestrator.tuning.selfcheck.probe import (
    FRAMES_ALIKE,
    Probe,
    difference_text,
    relative_difference,
    stock_input,
)

TOKENS = 8
"""The tokens decoded of the clips, which are cut in the middle; more would tell nothing new."""


def attention_mask(probe: Probe) -> Iterator[Finding]:
    """Compare the encoder with the stock one and its attention mask, and with itself where the
    other clips of a batch are replaced by noise.
    """
    base, clip = probe.base, probe.padded[-1]
    ours, layout = _encode_clips(base, [clip])
    samples = stock_input(base, clip)
    mask = torch.ones_like(samples, dtype=torch.long)
    stock = base.model.model.encoder(samples, attention_mask=mask).last_hidden_state
    ours = layout.pad(ours)
    if ours.shape != stock.shape or relative_difference(ours, stock) > FRAMES_ALIKE:
        yield finding(
            "attention-mask",
            "a clip's encoder output differs from the stock model's with its attention mask by "
            f"{difference_text(ours, stock)} "
            "of the largest value: the mask, or the window that hangs on it, is not applied.",
        )
    frames, layout = laid_out(*base.family.front_end(probe.padded), base.family.block)
    own = torch.arange(layout.places, device=base.device) < layout.lengths[0]
    noise = (
        torch.randn(frames.shape, generator=torch.Generator().manual_seed(0)).to(frames)
        * frames.abs().max()
    )
    quiet, loud = (
        base.family.encoder_layers(batch, layout, 0, base.encoder_depth)[:, own]
        for batch in (frames, frames.where(own[:, None], noise))
    )
    if not relative_difference(quiet, loud) <= FRAMES_ALIKE:
        yield finding(
            "attention-mask",
            f"what stands beside a clip changes its encoder output by {difference_text(quiet, loud)} of the largest "
            "value: "
            "clips are not masked from each other.",
        )


def frame_counts(probe: Probe) -> Iterator[Finding]:
    """Compare the numbers of frames that clips have alone and in a batch with a longer one."""
    front_end, short = probe.base.family.front_end, probe.padded[:-1]
    together = front_end(probe.padded)[1].tolist()
    for clip, beside in zip(short, together, strict=False):
        count = int(front_end([clip])[1][0])
        if count != beside:
            yield finding(
                "padding",
                f"a clip of {len(clip) / SAMPLE_RATE:.2f} s has {count} frames alone and {beside} in a "
                "padded batch: a number would depend on what is decoded beside it.",
            )
            return


def check_padding(probe: Probe) -> Iterator[Finding]:
    """Compare the encoder's output and the decoded tokens of clips alone and in a batch with a
    longer one.
    """
    base, short = probe.base, probe.padded[:-1]
    encoded, together = _encode_clips(base, probe.padded)
    rows = together.pad(encoded)
    for row, clip in enumerate(short):
        count = int(together.lengths[row])
        alone = _encode_clips(base, [clip])[0][0, :count]
        padded = rows[row, :count]
        if relative_difference(alone, padded) > FRAMES_ALIKE:
            yield finding(
                "padding",
                "a clip's encoder output in a padded batch differs from its own alone by "
                f"{difference_text(alone, padded)} of "
                "the largest value: a number would depend on what is decoded beside it.",
            )
            return
    [alone_words], [padded_words] = (
        transcribe(base, probe.store, name, [TOKENS] * len(probe.store.clips[name]), ())
        for name in ("alone", "padded")
    )
    if alone_words.tokens[0] != padded_words.tokens[0]:
        said = [base.text(decoded.tokens[0]) for decoded in (alone_words, padded_words)]
        yield finding(
            "padding", f"a clip says {said[0]!r} alone and {said[1]!r} in a padded batch."
        )


def encoder_reuse(probe: Probe) -> Iterator[Finding]:
    """Compare the encoder's output before and after the decoder has read it twice."""
    base = probe.base
    encoded, layout = _encode_clips(base, probe.padded)
    before = encoded.clone()
    tokens = torch.full((len(layout.lengths), 2), base.decoder.start, device=base.device)
    for _ in range(2):
        base.decoder(
            tokens,
            base.decoder.cross_keys(base.family.memory(encoded, layout), layout),
            layout.mask,
        )
    if not torch.equal(before, encoded):
        yield finding(
            "encoder-reuse",
            f"the decoder changes the encoder output it reads by {difference_text(encoded, before)} of the largest "
            "value, so "
            "an output that is used again is another one: add the positions out of place.",
        )


def _encode_clips(base: BaseModel, clips: Sequence[np.ndarray]) -> tuple[Tensor, RaggedLayout]:
    """Return the encoder's output (1, F, width) of clips end to end, and their layout."""
    frames, layout = laid_out(*base.family.front_end(clips), base.family.block)
    return base.family.encoder_layers(frames, layout, 0, base.encoder_depth), layout
