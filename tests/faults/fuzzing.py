"""Fuzzers of what people write by hand, sweep files and manifests, with a corpus that grows.

    python -m tests.faults.fuzzing --minutes 2 --seed 1

An input is changed by its structure, a value of a JSON line or a cell of a table, or in its bytes.
One that is answered in words that no input of the corpus was answered with goes into the corpus, and
is changed further; so does one that broke something. `test_fuzzing.py` reads the whole corpus.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from orchestrator.corpus.manifests.manifest import load_manifest
from orchestrator.errors import ManifestError, OrchestrateError, SpecError
from orchestrator.sweepfile.loading import load_spec
from tests.cli_project import SWEEP
from tests.corpus_damage import DAMAGE, GOOD, cut

CORPUS = Path(__file__).with_name("corpus")
LONGEST_INPUT, LONGEST_ANSWER = 1500, 20_000
BROKEN = "broken"


@dataclass(frozen=True)
class Target:
    """A kind of file that people write."""

    name: str
    file: str
    """The name under which an input is written into the fuzzer's folder."""
    read: Callable[[Path], object]
    """The function of the product that reads it."""
    refuses: type[OrchestrateError]
    """The only error that `read` may raise."""
    seeds: tuple[bytes, ...]
    """Inputs that the corpus begins with."""


_LINE = json.dumps(GOOD).encode()
TABLES = (
    b"audio_filepath,text,speaker\na.wav,one two,s1\n",
    b'path\tsentence\tclient_id\na.wav\t"one, two"\ts1\n',
    b"a.wav|one two|One Two\n",
    b"a one two\n",
    b'file_name,transcription\na.wav,"one\ntwo"\n',
)
MANIFESTS = Target(
    "manifests",
    "set.jsonl",
    load_manifest,
    ManifestError,
    (
        _LINE,
        _LINE + b"\n" + cut(),
        b"[" + _LINE + b"]",
        *TABLES,
        *(raw for raw, _ in DAMAGE.values()),
    ),
)
SWEEPS = Target("sweeps", "sweep.yaml", load_spec, SpecError, (SWEEP.encode(),))
TARGETS = (MANIFESTS, SWEEPS)


@dataclass
class Fuzzer:
    """The fuzzer of one target, which is read in a folder of its own."""

    target: Target
    folder: Path
    random: random.Random
    known: set[str] = field(default_factory=set)
    """All lines of answers so far."""
    corpus: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        noise = np.random.default_rng(1).normal(0, 0.05, 16_000).astype(np.float32)
        for name in ("a.wav", "b.flac"):
            soundfile.write(self.folder / name, noise, 16_000)
        for data in (*self.target.seeds, *kept(self.target)):
            if len(data) <= LONGEST_INPUT:
                self.known |= self.answer(data)
                self.corpus.append(data)

    def answer(self, data: bytes) -> frozenset[str]:
        """Read an input and return the lines of the error message, without what is particular to
        this input. Empty where it is accepted; a line that begins with BROKEN where another error
        is raised, or a message is too long or does not name the file.
        """
        path = self.folder / self.target.file
        path.write_bytes(data)
        try:
            self.target.read(path)
        except self.target.refuses as error:
            said = str(error)
            if len(said) > LONGEST_ANSWER or str(path) not in said:
                return frozenset([f"{BROKEN}: {len(said)} characters: {said[:300]}"])
            return _words(said.replace(str(self.folder), ""))
        except Exception as error:  # a bug: that is what the fuzzer looks for
            return frozenset([f"{BROKEN}: {type(error).__name__}: {error}"])
        return frozenset()

    def news(self, until: float) -> Iterator[tuple[frozenset[str], bytes]]:
        """Change inputs of the corpus at random, and yield (answer, input) for those with a line in
        the answer that no answer had before. They are added to the corpus.
        """
        while time.monotonic() < until:
            data = _changed(self.random.choice(self.corpus), self.random)[:LONGEST_INPUT]
            answer = self.answer(data)
            if not answer <= self.known:
                self.known |= answer
                self.corpus.append(data)
                yield answer, data


def kept(target: Target) -> list[bytes]:
    """Read the corpus on file: JSON strings, one per line, whose characters are the input's bytes
    as Latin-1.
    """
    file = CORPUS / f"{target.name}.jsonl"
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [json.loads(line).encode("latin-1") for line in lines]


def keep(target: Target, data: bytes) -> None:
    """Add an input to the corpus on file."""
    CORPUS.mkdir(exist_ok=True)
    with (CORPUS / f"{target.name}.jsonl").open("a", encoding="ascii") as file:
        file.write(json.dumps(data.decode("latin-1")) + "\n")


def _words(said: str) -> frozenset[str]:
    """Return the lines of a message, cut to eight words, without numbers, names and quotations."""
    without = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", "Q", said)
    plain = re.sub(r"[^A-Za-z\s]+|\b\w{1,2}\b", " ", without)
    return frozenset(" ".join(line.split()[:8]) for line in plain.split("\n"))


ODD = (
    *("null", "true", "[]", "{}", '""', '" "', "0", "-1", "1e999", "NaN", "-0.0", "1e-400"),
    *('"\\ud800"', '"\\u0000"', "9" * 400, '"' + "x" * 300 + '"', "[[[[1]]]]", '{"a":{"a":1}}'),
    *('"../a.wav"', '"/dev/zero"', '"a.wav|"', '"https://x/a.wav"', '"gone.wav"', '"=1+1"', "1.5"),
)
JUNK = (
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xc3", b"\r", b"\n", b"\n\n", b"\t", b",", b";", b"|"),
    *(b'"', b"'", b"{", b"}", b"[", b"]", b":", b"#", b"- ", b"&a ", b"*a", b"!!int ", b"<<: "),
    *(b"\x1b[31m", "\u2028".encode(), "\u202e".encode(), b"[/red]", b"<b>", b"%", b"@", b"\\"),
)


def _changed(data: bytes, generator: random.Random) -> bytes:
    """Return the input after one to three random changes."""
    for _ in range(generator.randint(1, 3)):
        data = generator.choice(CHANGES)(data, generator)
    return data


def _value(data: bytes, generator: random.Random) -> bytes:
    """Put an odd value after one of the colons, or into one of the cells of a table."""
    places = [match.span() for match in re.finditer(rb'(?<=[:,|\t])\s*("[^"]*"|[^,|\t}\n]+)', data)]
    if not places:
        return data
    start, end = generator.choice(places)
    return data[:start] + generator.choice(ODD).encode() + data[end:]


def _key(data: bytes, generator: random.Random) -> bytes:
    """Replace a word by another word of the input, so that one may be there twice."""
    words = re.findall(rb"\w{3,}", data)
    if not words:
        return data
    old, new = generator.choice(words), generator.choice(words)
    return data.replace(old, new, 1)


def _line_moved(data: bytes, generator: random.Random) -> bytes:
    """Move a line, and double, drop or indent it."""
    lines = data.split(b"\n")
    at, to = generator.randrange(len(lines)), generator.randrange(len(lines))
    line = lines.pop(at)
    lines[to:to] = generator.choice(([line, line], [], [b"  " + line], [line]))
    return b"\n".join(lines)


def _bytes_changed(data: bytes, generator: random.Random) -> bytes:
    """Insert junk, cut a piece out, flip a bit, or double a piece."""
    at = generator.randint(0, len(data))
    size = generator.choice((1, 2, 8, 64))
    flipped = bytes([data[at] ^ 1 << generator.randrange(8)]) if at < len(data) else b""
    middle = generator.choice((generator.choice(JUNK), b"", flipped, data[at : at + size] * 2))
    return data[:at] + middle + data[at + size * generator.randint(0, 1) :]


def _encoded(data: bytes, generator: random.Random) -> bytes:
    """Change the encoding or the ends of lines, cut the input off, or put a BOM before it."""
    text = data.decode("utf-8", "replace")
    ways = (
        lambda: text.encode("utf-16"),
        lambda: text.replace("o", "ö").encode("latin-1", "replace"),
        lambda: data.replace(b"\n", b"\r\n"),
        lambda: data[: generator.randint(0, len(data))],
        lambda: b"\xef\xbb\xbf" + data,
    )
    return generator.choice(ways)()


CHANGES = (
    _value,
    _value,
    _value,
    _key,
    _key,
    _line_moved,
    _bytes_changed,
    _bytes_changed,
    _encoded,
)


def fuzz(minutes: float, seed: int) -> list[str]:
    """Fuzz every target for an equal share of the time, adding to the corpus on file; return what
    broke.
    """
    broken = []
    for target in TARGETS:
        with tempfile.TemporaryDirectory() as folder:
            fuzzer = Fuzzer(target, Path(folder), random.Random(seed))
            began = len(fuzzer.corpus)
            for answer, data in fuzzer.news(time.monotonic() + 60 * minutes / len(TARGETS)):
                keep(target, data)
                if any(line.startswith(BROKEN) for line in answer):
                    broken.append(f"{target.name}: {data[:200]!r}: {answer}")
            print(f"{target.name}: {began} inputs in the corpus, {len(fuzzer.corpus) - began} new")
    return broken


def main() -> int:
    """Fuzz for some minutes; return 1 where something broke, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    broken = fuzz(options.minutes, options.seed)
    print("\n".join(f"broken: {line}" for line in broken))
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
