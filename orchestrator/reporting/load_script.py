"""load.py of an exported adapter: the recorded words with stock PEFT and transformers alone."""

from __future__ import annotations

from orchestrator.sweepfile.sweep import EvaluationSpec, ModelSpec

_WINDOWS = """\
windows = model.config.encoder_config  # widths that transformers reads as the windows of the measurements
windows.sliding_windows = [[left + 1, right + 1] for left, right in windows.sliding_windows]
"""


def load_script(model: ModelSpec, evaluation: EvaluationSpec) -> str:
    """Python that prints what the adapter in its own folder hears in a file of 16 kHz and one
    channel.
    """
    revision = "" if model.is_folder else f', revision="{model.revision}"'
    # the mean is taken as the evaluation takes it, over the whole clip
    level = (
        f"sound * ({evaluation.rms:g} / (sound**2).mean() ** 0.5)" if evaluation.rms else "sound"
    )
    return (
        "import sys, peft, soundfile, torch, transformers\n"
        "folder, file = sys.argv[1:3]  # python load.py FOLDER FILE; further folders: model.load_adapter(path, name)\n"
        f'model = transformers.AutoModelForSpeechSeq2Seq.from_pretrained("{model.id}"{revision})\n'
        + (_WINDOWS if evaluation.encoder_windows == "inclusive" else "")
        + "model = peft.PeftModel.from_pretrained(model, folder).eval()\n"
        "sound, rate = soundfile.read(file)\n"
        f"audio = torch.tensor({level}).float().clamp(-1, 1)[None]\n"
        f"cap = int({evaluation.max_tokens_per_second:g} * len(sound) / rate) + 2\n"
        'step = 80 if "streaming" in model.config.model_type else 1\n'
        "audio = audio[:, : audio.shape[1] // step * step]\n"
        "mask = torch.ones_like(audio).long()\n"
        "tokens = model.generate(input_values=audio, attention_mask=mask, max_new_tokens=cap)[0]\n"
        "tokenizer = transformers.AutoTokenizer.from_pretrained(folder)\n"
        "print(tokenizer.decode(tokens, skip_special_tokens=True).strip())\n"
    )
