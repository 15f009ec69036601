"""Read the texts of a manifest, in every format of docs/manifests.md, without the code of this
project.
"""

import csv
import glob
import gzip
import hashlib
import json
import re
import sys
import unicodedata

AUDIO = "audio_filepath audio_filename audio path wav file audio_path file_name filename audio_file file_path".split()
AUDIO += "filepath wav_filename wav_path".split()
TEXT = "text transcript transcription sentence normalized_text raw_transcription raw_text".split()
TEXT += "txt wrd tgt_text".split()


def references(path, kept):
    """Return the texts of a set, of which sets.json keeps the digest of its manifest and the line of
    each utterance. Ends the program where that does not tell which texts are meant.
    """
    if not path.is_file():
        sys.exit(f"there is no file {path}, with which the study was measured")
    if hashlib.sha256(path.read_bytes()).hexdigest() != kept["sha256"]:
        sys.exit(f"{path} is not the file that the study was measured with")
    of_line = {}
    for line, said in texts(path):
        of_line.setdefault(line, []).append(said)
    for line in {*kept["lines"]}:
        if kept["lines"].count(line) != len(of_line.get(line, [])):
            sys.exit(f"sets.json does not say which texts of {path}:{line} are meant")
    rest = {line: iter(found) for line, found in of_line.items()}
    return [next(rest[line]) for line in kept["lines"]]


def texts(path):
    """Return line number, from 1, and text of each record, in the order of the file. A record of
    several lines counts at its first one.
    """
    content = path.read_bytes()
    text = (gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content).decode(
        "utf-8-sig"
    )
    is_json = text.lstrip()[:1] in ("{", "[")
    found = of_json(text) if is_json else of_table(text, path.parent)
    # composed letters, and one plain space for any others
    one_form = (
        (line, " ".join(unicodedata.normalize("NFC", said).split())) for line, said in found
    )
    return [(line, said) for line, said in one_form if said]


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
        if said and not value.get("_skipme"):
            yield line + 1, said[0]
        elif not held and not said:
            yield from named_texts(text, position, line, value)
        position = position + 1 if held and not said else end


def named_texts(text, position, line, value):
    """Yield line and text of an object that maps names to texts: `{"a.wav": "hello"}`."""
    for name, said in value.items():
        place = text.index(json.dumps(name, ensure_ascii="\\u" in text), position)
        yield line + 1 + text.count("\n", position, place), said


LISTS = (  # name: text, or name :: text; name text; name:text; text (name)
    r"(?P<name>[^:\t]*[^:\s])[ \t]*::?[ \t]+(?P<text>\S.*)",
    r"(?P<name>\S+)[ \t]+(?P<text>\S.*)",
    r"(?P<name>[^:\s]+):(?P<text>\S.*)",
    r"(?:<s>\s*)?(?P<text>\S.*?)\s*(?:</s>)?\s*\((?P<name>[^\s()]+)\)",
)
COMMENT = re.compile(r"[;#]+(\s.*)?")
FESTIVAL = r'\(\s*(?P<name>\S+)\s+"(?P<text>.*)"\s*\)'


def of_list(lines, first, folder):
    """Return the lines and texts of a list of names and texts; None where the first line is of
    none. A name ends as a file does, or is that of a file in the folder.
    """

    def names_audio(name):
        places = (folder / each / f"{glob.escape(name)}.*" for each in ("", "clips", "wavs"))
        return re.search(r"\.\w{2,4}$", name) or any(glob.glob(str(place)) for place in places)

    matches = ((form, re.fullmatch(form, first.strip())) for form in LISTS)
    form = next((form for form, found in matches if found and names_audio(found["name"])), None)
    if re.fullmatch(FESTIVAL, first.strip()):
        form = FESTIVAL
    if form is None or (form != LISTS[0] and form != FESTIVAL and re.search(r"[\t|]", first)):
        return None
    found = (
        (number, re.fullmatch(form, line.strip()))
        for number, line in enumerate(lines, start=1)
        if not COMMENT.fullmatch(line.strip())
    )
    unquoted = (lambda said: said.replace('\\"', '"')) if form == FESTIVAL else str
    return [(number, unquoted(match["text"])) for number, match in found if match]


def of_table(text, folder):
    """Return lines and texts of a table. Its columns are named in the first row by the names above,
    or are in a known order; or it is a list of names and texts.
    """
    lines = text.split("\n")
    if re.fullmatch(r"sep=[\t,;|]", lines[0].strip("\r"), re.IGNORECASE):
        lines[0] = ""  # how Excel knows the separator
    if COMMENT.fullmatch(next(line for line in lines if line.strip()).strip()):
        lines = ["" if COMMENT.fullmatch(line.strip()) else line for line in lines]
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
    if (listed := of_list(lines, first, folder)) is not None:
        return listed
    separator = next(
        (each for each in "\t|,;" if re.match(rf"[^{each}]*\.\w{{2,4}}{re.escape(each)}", first)),
        None,
    )
    separator = separator or next(each for each in "\t|" if each in first)
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
