"""load.py of exported adapters: the recorded words with stock PEFT and transformers alone."""

from __future__ import annotations

import json
from collections.abc import Sequence

from orchestrator.sweepfile.sweep import EvaluationSpec, ModelSpec

_WINDOWS = """\
windows = model.config.encoder_config  # widths that transformers reads as the windows of the measurements
windows.sliding_windows = [[left + 1, right + 1] for left, right in windows.sliding_windows]
"""

_ONE = "model = peft.PeftModel.from_pretrained(model, folder).eval()\n"

_SEVERAL = """\
model = peft.PeftModel.from_pretrained(model, f"{folder}/{names[0]}", adapter_name=names[0])
for name in names[1:]:
    model.load_adapter(f"{folder}/{name}", adapter_name=name)
model.eval()
"""

_HEAR_ONE = """\
tokens = model.generate(input_values=audio, attention_mask=mask, max_new_tokens=cap)[0]
print(tokenizer.decode(tokens, skip_special_tokens=True).strip())
"""

_HEAR_SEVERAL = """\
for name in names:
    model.set_adapter(name)
    tokens = model.generate(input_values=audio, attention_mask=mask, max_new_tokens=cap)[0]
    print(name, tokenizer.decode(tokens, skip_special_tokens=True).strip(), sep="\\t")
"""


def load_script(model: ModelSpec, evaluation: EvaluationSpec, names: Sequence[str] = ()) -> str:
    """Python that prints what the adapter in its own folder hears in a file of 16 kHz and one
    channel; with `names`, what the adapters in the folders of those names below it hear, a line
    each, on one base that is loaded once.
    """
    arguments = "folder, file = sys.argv[1:3]  # python load.py FOLDER FILE\n"
    if names:
        known = ", ".join(map(_literal, names))
        arguments = (
            "folder, file, *names = sys.argv[1:]  # python load.py FOLDER FILE [NAME]...\n"
            f"names = names or [{known}]\n"
        )
    return (
        "import sys, peft, soundfile, torch, transformers\n"
        + arguments
        + _base(model, evaluation)
        + (_SEVERAL if names else _ONE)
        + _audio(evaluation)
        + "tokenizer = transformers.AutoTokenizer.from_pretrained(folder)\n"
        + (_HEAR_SEVERAL if names else _HEAR_ONE)
    )


def _base(model: ModelSpec, evaluation: EvaluationSpec) -> str:
    """Lines that load the base model, in the windows that were measured."""
    revision = "" if model.is_folder else f", revision={_literal(model.revision)}"
    place = f"{_literal(model.id)}{revision}"
    loaded = f"transformers.AutoModelForSpeechSeq2Seq.from_pretrained({place})"
    return f"model = {loaded}\n" + (_WINDOWS if evaluation.encoder_windows == "inclusive" else "")


def _literal(text: str) -> str:
    """As Python reads it back, whatever characters it holds: JSON's strings are Python's, too."""
    return json.dumps(text, ensure_ascii=False)


def _audio(evaluation: EvaluationSpec) -> str:
    """Lines that read the file as the evaluation hears it: its level, its cap, its whole frames."""
    # the mean is taken as the evaluation takes it, over the whole clip
    level = (
        f"sound * ({evaluation.rms:g} / (sound**2).mean() ** 0.5)" if evaluation.rms else "sound"
    )
    return (
        "sound, rate = soundfile.read(file)\n"
        f"audio = torch.tensor({level}).float().clamp(-1, 1)[None]\n"
        f"cap = int({evaluation.max_tokens_per_second:g} * len(sound) / rate) + 2\n"
        'step = 80 if "streaming" in model.config.model_type else 1\n'
        "audio = audio[:, : audio.shape[1] // step * step]\n"
        "mask = torch.ones_like(audio).long()\n"
    )
