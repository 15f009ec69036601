"""Texts with the markup of a corpus in them, and texts that consist of notes alone: reported with
their number, the first of them, and a command that helps.
"""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
from pathlib import Path

import pytest

from orchestrator.corpus.manifests.manifest import Manifest, load_manifest
from orchestrator.records.readiness.text_artifacts import artifact_texts, other_texts, wordless_text
from tests.cli_project import make_project, orchestrate
from tests.test_cli_manifest import tone

Printed = pytest.CaptureFixture[str]


def manifest_of(folder: Path, *texts: str) -> Manifest:
    rows = []
    for number, text in enumerate(texts):
        tone(folder / f"{number}.wav", 1.0, 500 + 10 * number)
        rows.append(json.dumps({"audio_filepath": f"{number}.wav", "text": text}))
    (folder / "set.jsonl").write_text("\n".join(rows))
    return load_manifest(folder / "set.jsonl")


def run(commands: str) -> None:
    """Each command of a cure, here."""
    for command in commands.split(" && "):
        words = shlex.split(command)
        if words[0] == "orchestrate":
            assert orchestrate(*words[1:]) == 0
        else:
            subprocess.run(command, shell=True, check=True)


def cured(manifest: Manifest, name: str = "train") -> Manifest:
    """The manifest that the commands of the message about marks make."""
    [said] = artifact_texts(name, manifest, "whisper-en")
    run(said.partition(" or leave it out: ")[2])
    return load_manifest(manifest.path.with_name(f"{manifest.path.stem}-signs.jsonl"))


def texts_of(path: Path) -> list[str]:
    return [each.text for each in load_manifest(path).utterances]


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        ("domain", "whatever is heard there counts as an insertion"),
        ("confirm_heldout", "whatever is heard there counts as an insertion"),
        ("train", "an adapter learns to write so"),
    ],
)
def test_notes_alone_are_counted_with_the_first_and_a_command(
    tmp_path: Path, name: str, effect: str
) -> None:
    manifest = manifest_of(tmp_path, "hello [noise] you", "[noise]", "♪♪", "<MUSIC>", "uh", "(ok)")
    said, _, cure = wordless_text(name, manifest, "whisper-en").partition(" Leave them out: ")
    assert said == (
        f"4 of 6 texts of {name} have no word left by normalizer whisper-en, e.g. {manifest.path}:2 ('[noise]'): "
        f"{effect}."
    )
    run(cure)
    assert texts_of(tmp_path / "set-said.jsonl") == ["hello [noise] you", "uh"]
    assert wordless_text(name, load_manifest(tmp_path / "set-said.jsonl"), "whisper-en") == ""


@pytest.mark.parametrize("name", ["train", "domain"])
def test_the_marks_at_the_ends_of_a_text_are_found_in_every_set_and_taken_out(
    tmp_path: Path, name: str
) -> None:
    """In an evaluation set too, where the normaliser would drop them: no model can be given them."""
    manifest = manifest_of(tmp_path, "<s> hello you </s>", "two", "</s>", "a <s>b")
    [said] = artifact_texts(name, manifest, "whisper-en")
    assert "3 of 4 texts" in said and "('<s>' 2, '</s>' 2)" in said
    assert "the model's own tokens stops the sweep. Write what is said" in said
    made = [each.text.strip() for each in cured(manifest, name).utterances]
    assert made == ["hello you", "two", "a b"]


@pytest.mark.parametrize("text", ["Mm-hmm.", "um", "hello (noise)", "5", "नमस्ते"])
def test_what_is_said_is_no_note(tmp_path: Path, text: str) -> None:
    assert wordless_text("domain", manifest_of(tmp_path, text, "two"), "whisper-en") == ""
    assert wordless_text("domain", manifest_of(tmp_path, "[noise]"), "basic") == "", (
        "its words count"
    )


@pytest.mark.parametrize("name", ["train", "domain"])
def test_marks_of_a_corpus_are_said_with_a_command_that_helps(tmp_path: Path, name: str) -> None:
    unscored = "ignore_time_segment_in_scoring"
    manifest = manifest_of(
        tmp_path, "ONE", "YES <COMMA> I DO <PERIOD>", "TWO <unk> THREE", unscored, "<NOISE> FOUR"
    )
    [words] = artifact_texts(name, manifest, "basic")
    said, _, cure = words.partition(" Write what is said, or leave it out: ")
    effect = "an adapter learns to write so" if name == "train" else "they count as errors"
    assert said == (
        f"4 of 5 texts of {name} hold marks of their corpus ('<COMMA>' 1, '<PERIOD>' 1, '<unk>' 1, '{unscored}' 1, "
        f"'<NOISE>' 1), e.g. {manifest.path}:2 ('YES <COMMA> I DO <PERIOD>'): {effect}."
    )
    run(cure)
    assert texts_of(tmp_path / "set-signs.jsonl") == ["ONE", "YES, I DO."]


def test_marks_beside_words_are_deleted_without_the_words(tmp_path: Path) -> None:
    beside = ["one {breath} two", "++noise++ three", "four [laughter]", "<b>five</b><br> six"]
    manifest = manifest_of(tmp_path, *beside, "it is [inaudible] here", "a {1} + 2")
    [words] = artifact_texts("train", manifest, "whisper-en")
    assert words.startswith("5 of 6 texts of train hold marks of their corpus ('{breath}' 1,")
    run(words.partition(" or leave it out: ")[2])
    left = texts_of(tmp_path / "set-signs.jsonl")
    assert left == ["one two", "three", "four", "five six", "a {1} + 2"]
    # the normaliser of these references removes what stands in square brackets and tags
    [counted] = artifact_texts("domain", manifest_of(tmp_path, *beside), "whisper-en")
    assert counted.startswith(
        "2 of 4 texts of domain hold marks of their corpus ('{breath}' 1, '++noise++' 1)"
    )


def test_marks_in_other_languages_are_found_and_a_line_that_was_not_understood_is_left_out(
    tmp_path: Path,
) -> None:
    texts = ["да [смех] хорошо", "ja {öffnet die Tür} gut", "ja [unverständlich] gut", "[нрзб] да"]
    manifest = manifest_of(tmp_path, *texts, "gut")
    for name, rules in (("train", "basic"), ("domain", "basic"), ("train", "whisper-en")):
        [said] = artifact_texts(name, manifest, rules)
        assert said.startswith(f"4 of 5 texts of {name} hold marks of their corpus")
    run(said.partition(" or leave it out: ")[2])
    assert texts_of(tmp_path / "set-signs.jsonl") == ["да хорошо", "ja gut", "gut"]


def test_the_command_for_a_table_does_not_cut_its_texts(tmp_path: Path) -> None:
    manifest_of(tmp_path, "one")
    (tmp_path / "set.csv").write_text("path,text\n0.wav,YES <COMMA> I DO\n")
    [words] = artifact_texts("train", load_manifest(tmp_path / "set.csv"), "whisper-en")
    run(words.partition(" or leave it out: ")[2])
    assert texts_of(tmp_path / "set-signs.jsonl") == ["YES, I DO"]


def test_marks_that_cost_nothing_are_left_alone(tmp_path: Path) -> None:
    """But one that stands for a word, and those that are learned."""
    manifest = manifest_of(tmp_path, "YES <COMMA> I DO", "a < b > c", "<b>bold</b>", "an unk")
    assert list(artifact_texts("domain", manifest, "whisper-en")) == []
    [learned] = artifact_texts("train", manifest, "whisper-en")
    marks = "('<COMMA>' 1, '<b>' 1, '</b>' 1)"
    assert learned.startswith(f"2 of 4 texts of train hold marks of their corpus {marks}")
    [spoken] = artifact_texts("domain", manifest_of(tmp_path, "YES <unk>"), "whisper-en")
    assert spoken.startswith("1 of 1 texts of domain hold marks of their corpus ('<unk>' 1)")


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_other_words_under_another_key_are_said(tmp_path: Path, name: str, capsys: Printed) -> None:
    manifest_of(tmp_path, "one", "two", "three")  # for their sound
    said = [("Asr, draft", "asr draft"), ("a draft", "what is said"), ("three", "")]
    rows = [
        {"audio": f"{row}.wav", "text": text, "transcription": other, "raw_text": "else"}
        for row, (text, other) in enumerate(said)
    ]
    path = tmp_path / name
    with path.open("w", newline="") as file:
        if path.suffix == ".csv":
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    manifest = load_manifest(path)
    place = f"{path}:{3 if path.suffix == '.csv' else 2}"
    [words] = other_texts("train", manifest)
    assert words == (
        '1 of 3 lines of train say something else in "transcription" than in the text that is taken, '
        f"e.g. {place}: 'a draft' is taken, and not 'what is said'. Keep one of the two; where "
        '"transcription" is what is said, call it "text" and the other one otherwise.'
    )
    assert orchestrate("diagnose", path) == 0
    assert "say something else" in " ".join(capsys.readouterr().out.split())


def test_both_are_findings_of_a_sweep_and_of_a_manifest(tmp_path: Path, capsys: Printed) -> None:
    spec, path = make_project(tmp_path), tmp_path / "data" / "domain.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["text"], rows[2]["text"] = "[noise]", "it is <unk> here"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    orchestrate("validate", spec)
    said = " ".join(capsys.readouterr().out.split())
    assert f"warn (text-artifacts): 1 of {len(rows)} texts of domain have no word left" in said
    assert f"warn (text-artifacts): 1 of {len(rows)} texts of domain hold marks" in said
    assert orchestrate("diagnose", path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"1 of {len(rows)} texts of {path} have no word left by normalizer" in said
    assert f"1 of {len(rows)} texts of {path} hold marks of their corpus" in said


def test_words_inside_marks_are_kept(tmp_path: Path) -> None:
    """Switchboard writes a word that is said with laughter, and one of which a part is said."""
    manifest = manifest_of(
        tmp_path,
        "uh-huh [laughter-what] do you",
        "{w[earing]-} out <v-noise> there",
        "it is !SIL so and(2) on <sil>",
    )
    [said] = artifact_texts("train", manifest, "whisper-en")
    assert "[laughter-what] 1" in said.replace("'", "") and "<v-noise> 1" in said.replace("'", "")
    run(said.partition("leave it out: ")[2])
    assert texts_of(tmp_path / "set-signs.jsonl") == [
        "uh-huh what do you",
        "{w[earing]-} out there",
        "it is so and on",
    ]


def test_marks_of_other_corpora_are_deleted_too(tmp_path: Path) -> None:
    texts = (
        "so %HESITATION yes",
        "<|en|> go <SPOKEN_NOISE> on",
        "<s> one <FIL/> two </s>",
        "a <hes> b",
        "in <UNKNOWN> out",
    )
    manifest = manifest_of(tmp_path, *texts)
    [said] = artifact_texts("domain", manifest, "basic")
    assert said.startswith("5 of 5 texts of domain hold marks of their corpus")
    assert [each.text for each in cured(manifest).utterances] == [
        "so yes",
        "go on",
        "one two",
        "a b",
    ]
    [said] = artifact_texts("domain", manifest_of(tmp_path, *texts), "whisper-en")
    assert said.startswith("3 of 5 texts"), (
        "<...> is no word for it, but %HESITATION is, <s> is a token, and <UNKNOWN> stands for one"
    )
    clean = manifest_of(tmp_path, "50 % hesitation", "a | b", "x%hesitation", "the <S> key")
    assert not [*artifact_texts("domain", clean, "whisper-en")]


def test_a_time_beside_what_could_not_be_heard_is_a_part_of_the_mark(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, "so [inaudible 00:00:07] then", "good day")
    [said] = artifact_texts("domain", manifest, "whisper-en")
    assert "[inaudible 00:00:07]" in said


def test_names_are_left_alone_where_marks_are_deleted(tmp_path: Path) -> None:
    """A browser calls the second download `clip(2).wav`, and `clip.wav` is another recording."""
    rows = []
    for name, text in {
        "clip": "first one [noise]",
        "clip(2)": "second and(2) other",
        "[noise]": 'so \\ " [noise], and [noise]. is(3) [noise]',
        "clip (2)": "step (2) and(2)",
    }.items():
        tone(tmp_path / f"{name}.wav", 1.0, 500)
        rows.append(json.dumps({"id": name, "audio_filepath": f"{name}.wav", "text": text}))
    (tmp_path / "set.jsonl").write_text("\n".join(rows))
    made = cured(load_manifest(tmp_path / "set.jsonl"))
    assert [(each.id, (each.audio or Path()).stem, each.text) for each in made.utterances] == [
        ("clip", "clip", "first one"),
        ("clip(2)", "clip(2)", "second and other"),
        ("[noise]", "[noise]", 'so \\ ", and. is'),
        ("clip (2)", "clip (2)", "step (2) and"),
    ]


def test_marks_that_are_written_with_escapes_are_deleted(tmp_path: Path) -> None:
    """As Go, Gson and .NET write < and >."""
    manifest = manifest_of(tmp_path, "hello <i>ok</i> <COMMA> there")
    manifest.path.write_text(
        manifest.path.read_text().replace("<", "\\u003c").replace(">", "\\u003e")
    )
    made = cured(load_manifest(manifest.path))
    assert [each.text for each in made.utterances] == ["hello ok, there"]


def test_a_text_of_marks_alone_is_left_out_where_marks_are_deleted(tmp_path: Path) -> None:
    texts = ("[noise]", "<COMMA>", "[noise] - <COMMA>", "[laughter-what]", "ok [noise]")
    made = cured(manifest_of(tmp_path, *texts))
    assert [each.text for each in made.utterances] == ["what", "ok"]


def test_only_texts_without_a_word_are_left_out_and_others_stay_as_they_are(tmp_path: Path) -> None:
    texts = ("[noise]", "ok <unk> [UNK] then", "fine (x) [inaudible 00:00:07]", "{b}", "-")
    manifest = manifest_of(tmp_path, *texts)
    cure = wordless_text("domain", manifest, "whisper-en").partition(" Leave them out: ")[2]
    assert cure.endswith(r"--without-text '^(?>\[[^][]*\]|\W)+$'")
    run(cure)
    assert texts_of(tmp_path / "set-said.jsonl") == [*texts[1:4]]


def test_words_beside_a_mark_that_is_deleted_stay_apart(tmp_path: Path) -> None:
    texts = (
        "hello <i>ok</i> there",
        "five<br>six <b>sev</b>en",
        "so<sil>then <sil>, yes <sil>. no",
    )
    made = cured(manifest_of(tmp_path, *texts))
    wanted = ["hello ok there", "five six seven", "so then, yes. no"]
    assert [each.text for each in made.utterances] == wanted
