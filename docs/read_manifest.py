"""Read the texts of a manifest by line, in every format of docs/manifests.md, without the code of
this project.
"""

import csv
import gzip
import json
import re
import unicodedata

AUDIO = "audio_filepath audio_filename audio path wav file audio_path file_name filename audio_file file_path".split()
AUDIO += "filepath wav_filename wav_path".split()
TEXT = "text transcript transcription sentence normalized_text raw_transcription raw_text".split()
TEXT += "txt wrd tgt_text".split()


def texts(path):
    """Return line number, from 1 -> text. A record of several lines counts at its first one."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content).decode(
        "utf-8-sig"
    )
    found = of_json(text) if text.lstrip()[:1] in ("{", "[") else of_table(text)
    # composed letters, and one plain space for any others
    one_form = (
        (line, " ".join(unicodedata.normalize("NFC", said).split())) for line, said in found
    )
    return {line: said for line, said in one_form if said}


def of_json(text):
    """Yield line and text of every JSON object that has a text, wherever it stands: one per line,
    in a list, or in an object that holds such objects.
    """
    position = line = seen = 0
    while (position := text.find("{", position)) >= 0:
        line, seen = line + text.count("\n", seen, position), position
        value, end = json.JSONDecoder().raw_decode(text, position)
        record = (value.get("supervisions") or [value])[0]
        said = [record[key] for key in TEXT if record.get(key)]
        held = any(isinstance(each, dict | list) for each in value.values()) and not set(value) & {
            *AUDIO,
            *TEXT,
        }
        if said:
            yield line + 1, said[0]
        elif not held:
            yield from named_texts(text, position, line, value)
        position = position + 1 if held and not said else end


def named_texts(text, position, line, value):
    """Yield line and text of an object that maps names to texts: `{"a.wav": "hello"}`."""
    for name, said in value.items():
        place = text.index(json.dumps(name, ensure_ascii="\\u" in text), position)
        yield line + 1 + text.count("\n", position, place), said


def of_table(text):
    """Return lines and texts of a table. Its columns are named in the first row by the names above,
    or are in a known order; otherwise the text follows a name on the same line.
    """
    lines = text.split("\n")
    if re.fullmatch(r"sep=[\t,;|]", lines[0].strip("\r"), re.IGNORECASE):
        lines[0] = ""  # how Excel knows the separator
    first = next(line for line in lines if line.strip())
    for separator in "\t,;|":
        cells = rows([first], separator)[0][1]
        names = [re.sub(r"[\s-]+", "_", cell.strip().strip('"').lower()) for cell in cells]
        if len(cells) > 1 and set(names) & set(AUDIO):
            columns = [names.index(key) for key in TEXT if key in names]
            return [
                (n, next((row[c] for c in columns if row[c].strip()), ""))
                for n, row in rows(lines, separator)[1:]
            ]
    separator = next(
        (each for each in "\t|,;" if re.match(rf"[^{each}]*\.\w{{2,4}}{re.escape(each)}", first)),
        None,
    )
    separator = separator or next((each for each in "\t|" if each in first), None)
    if separator is None:
        name = next(
            each
            for each in (r".*?\.\w{2,4}\s*:\s+", r"[^\s:]+\s*:\s+", r"\S+\s+")
            if re.match(each, first)
        )
        return [
            (number, re.sub(rf"^\s*{name}", "", line)) for number, line in enumerate(lines, start=1)
        ]
    found = rows(lines, separator)
    seconds, thirds = (
        [len(row[c].split()) == 1 for _, row in found if len(row) == 3] for c in (1, 2)
    )
    column = 2 if seconds and all(seconds) and not all(thirds) else 1  # path|speaker|text
    return [(number, row[column] or row[-1]) for number, row in found]


def rows(lines, separator):
    """Return the line number and the cells of each row. Quotes have the meaning of CSV only where
    commas or semicolons separate the cells.
    """
    quoting = csv.QUOTE_MINIMAL if separator in ",;" else csv.QUOTE_NONE
    reader, found, before = (
        csv.reader((f"{line}\n" for line in lines), delimiter=separator, quoting=quoting),
        [],
        0,
    )
    for row in reader:
        found += [(before + 1, row)] if any(cell.strip() for cell in row) else []
        before = reader.line_num
    return found
