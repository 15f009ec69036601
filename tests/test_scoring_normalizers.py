import random
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from whisper_normalizer.english import EnglishTextNormalizer

from orchestrator.scoring.normalizers import (
    has_loop,
    is_surely_said,
    normalizer,
    normalizer_version,
)

SENTENCES = (
    "Mr. Brown won't pay $20 million, will he?",
    "Colour and favourite are spelt the British way.",
    "um, it's [noise] twenty-one (laughs) percent",
    "  two   spaces\tand a tab\n",
    "",
)


@pytest.mark.parametrize("text", SENTENCES)
def test_whisper_en_is_openai_s_normaliser_on_ascii_text(text: str) -> None:
    assert normalizer("whisper-en")(text) == " ".join(EnglishTextNormalizer()(text).split())


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                "uh um hmm mm mhm mmm and point double triple half percent cents dollars hundred zero oh "
                "minus plus '' - . , % $ [noise] (laughs) <unk> won't 's it's mister colour".split()
            ),
            st.text(max_size=6),
            st.from_regex(r"[A-Za-z]{5,9}", fullmatch=True),
        ),
        max_size=8,
    ).map(" ".join)
)
@example("point")
@example("double point cents")
@example("hundred thousand")
def test_what_is_surely_said_keeps_a_word_whatever_the_normaliser(text: str) -> None:
    if is_surely_said(text):
        assert all(normalizer(name)(text) for name in ("whisper-en", "basic", "none")), text


def test_notes_and_fillers_are_not_surely_said() -> None:
    for text in ("", "um hmm mhm", "[background noise]", "(laughs)", "<silence>", "..., 1234"):
        assert not is_surely_said(text)
    assert is_surely_said("um, hello")


def test_whisper_en_maps_spelling_and_numbers() -> None:
    assert normalizer("whisper-en")("The colour of twenty-one cars") == "the color of 21 cars"


@pytest.mark.parametrize("name", ["whisper-en", "basic"])
@pytest.mark.parametrize("apostrophe", ["\u2019", "\u2018", "\u02bc", "\uff07"])
def test_typographic_apostrophes_do_not_make_another_word(name: str, apostrophe: str) -> None:
    normalize = normalizer(name)
    assert normalize(f"It{apostrophe}s done, we don{apostrophe}t.") == normalize(
        "It's done, we don't."
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't 'quote' the dogs' bowl!", "don't quote the dogs bowl"),
        ("rock 'n' roll", "rock n roll"),
        ("well-known; snake_case", "well known snake case"),
        ("ＦＵＬＬ width ﬁne", "full width fine"),
        ("İstanbul'a, I\u0307ZMİR", "istanbul'a izmir"),
        ("Straße, ÉCOLE 5€", "straße école 5"),
        ("हिन्दी में", "हिन्दी में"),
        ("co\u00adoperate zero\u200bwidth", "cooperate zerowidth"),
        ("ich \u2764\ufe0f dich", "ich dich"),
        ("\u2600\ufe0f", ""),
        ("1\ufe0f\u20e3 eins", "1 eins"),
        ("\u845b\U000e0100\u98fe", "\u845b\u98fe"),
        ("geht\u00b4s \u00a8 gut", "geht s gut"),
        ("  ", ""),
    ],
)
def test_basic_keeps_words_and_inner_apostrophes(text: str, expected: str) -> None:
    assert normalizer("basic")(text) == unicodedata.normalize("NFKC", expected)


def test_basic_normalises_its_own_output_to_itself() -> None:
    generator = random.Random(0)
    for _ in range(2_000):
        text = "".join(
            chr(generator.choice((32, 39, 0x2019, generator.randrange(33, 0x3000))))
            for _ in range(12)
        )
        once = normalizer("basic")(text)
        assert normalizer("basic")(once) == once, ascii(text)


def test_none_only_collapses_whitespace() -> None:
    assert normalizer("none")(" A,\u00a0b\t’s ") == "A, b ’s"


@pytest.mark.parametrize("lookup", [normalizer, normalizer_version])
def test_unknown_name_is_refused(lookup: object) -> None:
    with pytest.raises(
        ValueError, match=r"^unknown normalizer 'whisper'; allowed: whisper-en, basic, none$"
    ):
        lookup("whisper")  # type: ignore[operator]


def test_versions_name_the_package_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {name: normalizer_version(name) for name in ("whisper-en", "basic", "none")}
    assert len(set(versions.values())) == 3
    assert all(value.startswith(f"{name}/") for name, value in versions.items())
    normalizer_version.cache_clear()
    assert normalizer_version("basic") == versions["basic"]
    normalizer_version.cache_clear()
    monkeypatch.setattr(unicodedata, "unidata_version", "0.0.0")
    assert normalizer_version("basic") != versions["basic"], (
        "the interpreter's Unicode tables decide what a letter is"
    )
    normalizer_version.cache_clear()


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("", False),
        ("no no no", False),
        ("he said no no no no", True),
        ("no no no no he said", False),
        ("thank you thank you", False),
        ("well thank you thank you thank you", True),
        ("a b c a b c a b c", True),
        ("a b c d a b c d a b c d", True),
        ("a b c d e a b c d e a b c d e", False),
        ("a b c a b c a b", False),
    ],
)
def test_a_loop_is_a_repeated_ending(text: str, loops: bool) -> None:
    assert has_loop(text.split()) is loops


@pytest.mark.parametrize("name", ["whisper-en", "basic"])
@pytest.mark.parametrize(
    ("text", "expected"), [("\u2116 five", "no five"), ("\U0001d5e7\U0001d5f5is", "this")]
)
def test_letters_within_signs_are_no_capitals(name: str, text: str, expected: str) -> None:
    assert normalizer(name)(text).replace("5", "five") == expected


@pytest.mark.parametrize("name", ["whisper-en", "basic"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wait...", "wait"),
        ("well\u2026 I think .. so", "well i think so"),
        ("hmm, \u2026 right", "right"),
        ("from 5...6", "from 5 6"),
        ("...5", "5"),
        ("a % of it", "a of it"),
        ("\u2026", ""),
        ("%", ""),
    ],
)
def test_an_ellipsis_or_a_sign_alone_is_no_word(name: str, text: str, expected: str) -> None:
    found = normalizer(name)(text)
    assert found.removeprefix("hmm ") == expected  # only whisper-en drops fillers


@given(st.text(alphabet="ab15 .,\u2026%$&-\u2764\ufe0f\u00b4\u0301", max_size=14))
def test_every_word_has_a_letter_or_a_digit(text: str) -> None:
    for name in ("whisper-en", "basic"):
        assert all(any(map(str.isalnum, word)) for word in normalizer(name)(text).split())
