"""Named sets of target modules: the built-in presets, and how a pattern matches a module.

Paths are those of `named_modules()` below `model.`, such as `decoder.layers.0.self_attn.q_proj`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("fc1", "fc2")

PRESETS: dict[str, tuple[str, ...]] = {
    "attention": _ATTENTION,
    "encoder-attention": tuple(f"encoder.*.{name}" for name in _ATTENTION),
    "decoder-attention": tuple(f"decoder.*.{name}" for name in _ATTENTION),
    "decoder-self-attention": tuple(f"decoder.*.self_attn.{name}" for name in _ATTENTION[:3]),
    "qv": ("q_proj", "v_proj"),
    "decoder-mlp": tuple(f"decoder.*.{name}" for name in _MLP),
    "all-linear": (
        *_ATTENTION,
        *(f"encoder.layers.*.{name}" for name in _MLP),
        *(f"decoder.*.{name}" for name in _MLP),
    ),
}
"""Preset name -> patterns. `decoder-self-attention` is the Moonshine authors' own recipe;
`all-linear` leaves out the encoder's embedder and the output head, unlike PEFT's word of the same
name."""


def matches(pattern: str, path: str) -> bool:
    """Whether a glob pattern matches a module path: `*` matches dots too, case counts.

    A pattern without a dot and without a star is matched against the path's last component alone,
    as PEFT does for names.
    """
    return fnmatchcase(
        path if "." in pattern or "*" in pattern else path.rsplit(".", 1)[-1], pattern
    )
