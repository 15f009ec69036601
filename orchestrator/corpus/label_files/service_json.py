"""What services say of one recording, with times: the JSON of Deepgram, AssemblyAI, AWS Transcribe, Azure,
Google, Rev and Speechmatics. Words that have times alone are put together to sentences. Pure.

Sources: https://developers.deepgram.com, https://www.assemblyai.com/docs, https://docs.aws.amazon.com/transcribe,
https://learn.microsoft.com/azure/ai-services/speech-service, https://cloud.google.com/speech-to-text,
https://docs.rev.ai and https://docs.speechmatics.com.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from orchestrator.corpus.label_files.segments import SHORTEST_WORD, Segment

_ENDS = (".", "?", "!", "。", "？", "！")
_TICKS = 10_000_000
"""Of Azure, in a second."""
_UNKNOWN = "UU"
"""What Speechmatics writes for a speaker whom it does not know."""
_QUOTES = "\"'”’»)"
"""What may stand behind the sign that ends a sentence."""
_CLOSE = frozenset(",.?!;:%)。，？！")
"""What stands behind a word without a space."""


@dataclass(frozen=True)
class _Word:
    text: str
    begin: float | None
    """None for punctuation, which has no times."""
    end: float | None
    speaker: str = ""
    channel: str = ""


def parts_of_service(text: str) -> list[Segment] | None:
    """Return every part in which something is said; None for a text that no service wrote, or one without times."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, Mapping):
        return None
    for read in _READERS:
        try:
            found = [part for part in read(value) if part.text]
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            continue  # another one's
        if found:
            return found
    return None


def _part(told: Mapping[str, Any], text: str, scale: float = 1.0, **more: Any) -> Segment:
    begin, end = (float(told[key]) / scale for key in ("start", "end"))
    channel = more.pop("channel", told.get("channel"))
    speaker = more.pop("speaker", told.get("speaker"))
    said = " ".join(text.split())
    return Segment(1, begin, end, said, speaker=_name(speaker), channel=_name(channel))


def _name(value: object) -> str:
    """Return a speaker or a channel as it is written; empty where it is not known."""
    unknown = value is None or isinstance(value, dict | list) or value == _UNKNOWN
    return "" if unknown else str(value)


def _deepgram(value: Mapping[str, Any]) -> Iterator[Segment]:
    results, one = value["results"], value["metadata"].get("channels") == 1
    if utterances := results.get("utterances"):
        for each in utterances:
            yield _part(each, each["transcript"], channel=None if one else each.get("channel"))
        return
    for number, channel in enumerate(results["channels"]):
        best, own = channel["alternatives"][0], None if one else number
        if "paragraphs" not in best:
            yield from _punctuated([_deepgram_word(each, own) for each in best["words"]])
            continue
        for paragraph in best["paragraphs"]["paragraphs"]:
            speaker = paragraph.get("speaker")
            for each in paragraph["sentences"]:
                yield _part(each, each["text"], speaker=speaker, channel=own)


def _deepgram_word(told: Mapping[str, Any], channel: int | None) -> _Word:
    text = told.get("punctuated_word") or told["word"]
    speaker = _name(told.get("speaker"))
    return _Word(text, float(told["start"]), float(told["end"]), speaker, _name(channel))


def _assembly(value: Mapping[str, Any]) -> Iterator[Segment]:
    """Yield the parts of AssemblyAI, which tells whole milliseconds. Other JSON with the same keys tells seconds: its
    times have a decimal point, or its longest part would be too short for a word.
    """
    parts = value.get("utterances") or value.get("sentences") or value["words"]
    times = [(each["start"], each["end"]) for each in parts]
    in_milliseconds = all(isinstance(time, int) for span in times for time in span)
    longest = max(end - begin for begin, end in times)
    if (
        {"audio_duration", "audio_url"}.isdisjoint(value)
        or not in_milliseconds
        or longest < SHORTEST_WORD
    ):
        return
    found = [_part(each, each["text"], 1000.0) for each in parts]
    if parts is not value.get("words"):
        yield from found
        return
    yield from _punctuated(
        [_Word(each.text, each.begin, each.end, each.speaker, each.channel) for each in found]
    )


def _aws(value: Mapping[str, Any]) -> Iterator[Segment]:
    results = value["results"]
    if parts := results.get("audio_segments"):
        for each in parts:
            channel, speaker = each.get("channel_label"), each.get("speaker_label")
            times = {"start": each["start_time"], "end": each["end_time"]}
            yield _part(times, each["transcript"], speaker=speaker, channel=channel)
        return
    turns = (results.get("speaker_labels") or {}).get("segments") or []
    # older answers name the speaker of a word only where they list who speaks when
    who: dict[float | None, Any] = {
        float(word["start_time"]): word.get("speaker_label")
        for turn in turns
        for word in turn.get("items", ())
    }
    labels = (results.get("channel_labels") or {}).get("channels")
    channels = labels or [{"items": results["items"]}]
    for channel in channels:
        items = (
            {
                "channel": channel.get("channel_label"),
                "speaker": each.get("speaker_label")
                or who.get(float(each.get("start_time") or -1)),
                **each,
            }
            for each in channel["items"]
        )
        yield from _sentences(map(_item, items))


def _speechmatics(value: Mapping[str, Any]) -> Iterator[Segment]:
    yield from _sentences(map(_item, value["results"]))


def _item(told: Mapping[str, Any]) -> _Word:
    """Return what AWS or Speechmatics tells of a word or a sign."""
    best = told["alternatives"][0]
    speaker, channel = told.get("speaker", best.get("speaker")), told.get("channel")
    begin, end = (told.get(key) for key in ("start_time", "end_time"))
    is_word = told["type"] != "punctuation" and begin is not None and end is not None
    return _Word(
        best["content"],
        float(begin or 0) if is_word else None,
        float(end or 0) if is_word else None,
        _name(speaker),
        _name(channel),
    )


def _azure(value: Mapping[str, Any]) -> Iterator[Segment]:
    if "phrases" in value:  # of its fast transcription
        for each in value["phrases"]:
            begin, length = each["offsetMilliseconds"], each["durationMilliseconds"]
            yield _part({"start": begin, "end": begin + length, **each}, each["text"], 1000.0)
        return
    for each in value["recognizedPhrases"]:
        if each.get("recognitionStatus", "Success") != "Success":
            continue
        begin, length = each["offsetInTicks"], each["durationInTicks"]
        times = {"start": begin / _TICKS, "end": (begin + length) / _TICKS}
        more = {key: each.get(key) for key in ("speaker", "channel")}
        yield _part(times, each["nBest"][0]["display"], **more)


def _google(value: Mapping[str, Any]) -> Iterator[Segment]:
    """Yield the results of Google. Each ends at a time, and begins with its first word or where the one before it
    of the same channel ended. One without alternatives is of a time in which nothing was heard. One without a
    transcript says once more who says each word of all. A result in which several speak has no speaker.
    """
    results = [(each, (each.get("alternatives") or [None])[0]) for each in value["results"]]
    who: dict[float | None, Any] = {
        begin: _speaker_of(word)
        for _, best in results
        if best and _says_who(best)
        for word in best["words"]
        if (begin := _begin(word)) is not None
    }
    ends: dict[object, float] = {}
    for each, best in results:
        if best and _says_who(best):
            continue
        channel = each.get("channelTag")
        begin = ends.get(channel, 0.0)
        end = ends[channel] = _seconds(each.get("resultEndTime") or each["resultEndOffset"])
        if best:
            words = best.get("words", ())
            told = next(map(_begin, words), None)
            times = {"start": begin if told is None else told, "end": end}
            speakers = {who.get(_begin(word), _speaker_of(word)) for word in words} - {None}
            speaker = speakers.pop() if len(speakers) == 1 else None
            yield _part(times, best.get("transcript", ""), speaker=speaker, channel=channel)


def _says_who(best: Mapping[str, Any]) -> bool:
    """Whether a result of Google has words without a transcript, which say who speaks in the results before it."""
    return not best.get("transcript") and "words" in best


def _speaker_of(word: Mapping[str, Any]) -> Any:
    """Return who says a word: a number in the first version of Google's answers, and a name in the second."""
    return word.get("speakerTag") or word.get("speakerLabel")


def _begin(word: Mapping[str, Any]) -> float | None:
    told = word.get("startTime", word.get("startOffset"))
    return None if told is None else _seconds(told)


def _seconds(told: str) -> float:
    return float(told.removesuffix("s"))


def _punctuated(words: Sequence[_Word]) -> Iterator[Segment]:
    """Yield the sentences of words that have their signs; nothing of words without signs, of which no sentence ends."""
    if any(word.text.rstrip(_QUOTES).endswith(_ENDS) for word in words):
        yield from _sentences(words)


def _rev(value: Mapping[str, Any]) -> Iterator[Segment]:
    for turn in value["monologues"]:
        words = (
            _Word(each["value"], each.get("ts"), each.get("end_ts"), _name(turn.get("speaker")))
            for each in turn["elements"]
        )
        yield from _sentences(words, spaced=True)


def _sentences(words: Iterable[_Word], spaced: bool = False) -> Iterator[Segment]:
    """Yield the sentences of words: each goes up to a sign that ends it, or to the next speaker.
    `spaced`: the signs have the spaces around them, and words without one between them are one.
    """
    part: Segment | None = None
    last = ""
    for word in chain(words, [_Word("", 0.0, 0.0, "\0")]):
        told = word.text.strip()
        ended = last.rstrip(_QUOTES).endswith(_ENDS)
        is_new = part is None or word.speaker != part.speaker or ended
        if word.begin is not None and is_new:
            if part is not None:
                yield replace(part, text=" ".join(part.text.split()))
            end = word.begin if word.end is None else word.end
            part = Segment(1, word.begin, end, told, speaker=word.speaker, channel=word.channel)
        elif part is not None and (told or spaced):
            space = "" if spaced or told[0] in _CLOSE else " "
            end = part.end if word.end is None else word.end
            part = replace(part, end=end, text=f"{part.text}{space}{word.text if spaced else told}")
        last = told or last


_READERS: tuple[Callable[[Mapping[str, Any]], Iterator[Segment]], ...] = (
    *(_deepgram, _assembly, _azure, _rev, _google, _aws, _speechmatics),
)
