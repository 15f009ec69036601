"""The `onnx` form: encoder.onnx and decoder.onnx, with which plain onnxruntime decodes; and dynamic
int8 quantisation of either form.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim
from transformers import PreTrainedModel

from orchestrator.tuning.deploying.onnx_graphs import DecoderGraph, EncoderGraph
from orchestrator.tuning.model.families import Family

OPSET = 18
"""The version that torch's exporter writes natively; it does not convert well to all others."""

FRAMES, TOKENS, PAST = 37, 3, 5
"""Lengths of the example inputs. They differ from each other, because the exporter takes axes of
equal length for one axis; they do not limit the lengths of real inputs."""


def export_onnx(model: PreTrainedModel, family: Family, folder: Path) -> None:
    """Write the encoder's and the decoder's graph of a stock model, float32, to one file each."""
    encoder, decoder = EncoderGraph(model, family.windows).eval(), DecoderGraph(model).eval()
    # (1, samples), a multiple of `family.multiple` that gives about FRAMES encoder frames
    audio = torch.randn(
        1, FRAMES * family.stride + family.shortest - family.shortest % family.multiple
    )
    with torch.no_grad():
        _, keys, values = encoder(audio)
    samples: Any = Dim("samples", min=2 * family.shortest, max=1 << 25)
    if family.multiple > 1:
        samples = family.multiple * Dim("pieces", min=8, max=1 << 20)
    _write(
        encoder,
        (audio,),
        folder / "encoder.onnx",
        ["audio"],
        ["encoded", "k_cross", "v_cross"],
        [{1: samples}],
    )
    past = (len(keys), 1, keys.shape[2], PAST, keys.shape[4])
    # keys and values in tensors of their own: of one tensor given twice, the exporter makes one
    # input
    inputs = (
        torch.ones(1, TOKENS, dtype=torch.long),
        torch.zeros(past),
        torch.zeros(past),
        keys,
        values,
    )
    cached, frames = Dim("past", min=0, max=1 << 14), Dim("frames", min=2, max=1 << 20)
    axes: list[dict[int, Any]] = [
        {1: Dim("tokens", min=1, max=1 << 14)},
        {3: cached},
        {3: cached},
        {3: frames},
    ]
    _write(
        decoder,
        inputs,
        folder / "decoder.onnx",
        ["token", "k_self", "v_self", "k_cross", "v_cross"],
        ["logits", "out_k_self", "out_v_self"],
        [*axes, {3: frames}],
    )


def _write(
    graph: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    path: Path,
    names: list[str],
    outputs: list[str],
    axes: list[dict[int, Any]],
) -> None:
    """Write one graph; `axes` are the axes of each input whose length varies."""
    with quiet():
        torch.onnx.export(
            graph,
            inputs,
            path,
            input_names=names,
            output_names=outputs,
            dynamic_shapes=dict(zip(names, axes, strict=True)),
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            external_data=False,
            verbose=False,
        )


def quantize_int8(folder: Path) -> None:
    """Replace every graph of a folder by its dynamic int8 quantisation by onnxruntime: the weights
    of matrix products in 8 bits.

    They are unsigned, because x86 processors without VNNI saturate sums of products of signed ones
    at 16 bits, which moved the embedded model's encoder output by 35 % of its largest value,
    against 2 %.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for path in sorted(folder.glob("*.onnx")):
        aside = path.with_suffix(".int8")
        with quiet():
            quantize_dynamic(
                path, aside, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QUInt8
            )
        aside.replace(path)


@contextmanager
def quiet() -> Iterator[None]:
    """A context without what exporters print, log and warn about. Exceptions are raised as ever."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
