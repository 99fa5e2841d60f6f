"""Texts are recognized by their form: members of each kind, and texts that only look like one."""

from __future__ import annotations

import json
import unicodedata
import urllib.parse
from html import escape
from html.entities import html5

import pytest

from pipelines.validation.text_forms import (
    has_letters,
    is_damaged,
    is_escaped,
    is_marked_up,
    visible_chars,
)
from tests.support.timing import cpu_seconds

FINE = [
    "One line.<br />Another.<br><BR/>< br >\n</br>",
    "So funny <grin>, I <3 it, 3 < 4 > 2, <<<sigh>>>, if x<y, <- here ->, <I agree with all>",
    "Great <eye-roll> <tongue-in-cheek>, <sigh/>, <sigh />, <a class act>, <big open space>, <!>",
    "<The whole review stands in brackets: I liked it a lot, and so will you.>",
    "See <http://example.com/a?b=c&d=e> or mail <someone@example.com>",
    "AT&T, R&B, Q&A, rock&roll, M&M's; Tom & Jerry; a && b; &; & c; &nosuchname; x&y;",
    "Caf\u00e9, na\u00efve, \u201cquoted\u201d, it\u2019s \u2013 \u2026",
    "\u00a35, \u00bd, \u00c9tat, Bj\u00f6rk, 20\u00b0, \u00abOui\u00bb, se\u00f1or\u2026",
    "\u041c\u0435\u0442\u0440\u043e\u043f\u043e\u043b\u0438\u0441 and",
    "\u4e03\u4eba\u306e\u4f8d and \uae30\uc0dd\ucda9 and \u05d2\u05d0\u05dc",
    "100% good, %100 believable, 50%-60%, a path C:\\films\\new, n\\a, 5=5",
    "On Thu2019 in Malibu2020, D:\\films\\New and yes\\no, black&white, cloak&dagger, <U+>, _x1_",
    "See http://a.com/a%20b%20c%20d and https://a.org/Am%C3%A9lie, www.a.com/%E2%80%99",
    "I adored \u201c\u00c9milie Muller\u201d (\u201c\u00c9t\u00e9 85\u201d)",
    "L\u2019\u00c9cole, qu\u2019\u00e0, \u2014\u00e9tude, \u00a35\u2014\u00a36",
    "Emoji \U0001f600\U0001f44d\U0001f3fd and a soft\u00adhyphen and \x85 C1 \x97 controls \x92",
]  # fmt: skip

MARKED_UP = [
    "<p>A good film.</p>", "<b>Good</b>", "<ul><li>ok", "<h1>Good</h1>", "<font color=red>Good",
    "<!-- hidden -->Good", "<![CDATA[Good]]>", "<center>Good", "<o:p></o:p>", "<hr>", "<HR/>",
    "<my-widget>Good", "Good</div>", "Good <a href='x'>x", "<spoiler>x</spoiler>", "<br class='x'>",
    "< script >alert(1)", "<img src=x onerror=alert(1)", "<?php echo 1 ?>", "<!DOCTYPE html>",
    "<hr noshade>", "<input disabled>", "<p class>", "<option selected hidden />", "<o:p/>",
    "<![if !mso]>", "<![endif]-->", "<!ENTITY x>", "<!ELEMENT a (b)>",
    "<blink>Good</blink>", "<sup>2</sup>", "<td>", "<marquee>", "<svg/onload=alert(1)>",
]  # fmt: skip

ESCAPED = [
    "I didn&#39;t", "&#34;Good&#34;", "didn&#x27;t", "didn&#X27;t", "didn&apos;t", "caf&eacute;",
    "Good&hellip;", "&lt;br /&gt;", "&amp;quot;Good&amp;quot;", "Tom &amp; Jerry", "&nbsp;Good",
    "Tom &amp Jerry", "&copy 2026", "&rsquo;", "&#8217", "&CounterClockwiseContourIntegral;",
    "It\\u2019s", "caf\\xe9", "It\\'s", 'A \\"good\\" one', "One.\\nTwo",
    "donu2019t", "It%u2019s", "&EACUTE;", "It=E2=80=99s",
    "It<U+2019>s", "film_x000D_", "caf%C3%A9", "it%e2%80%99s", "home\\n\\nand", "home\\nAnd",
    "wait&hellip and", "didn&apost", "it&rsquos", "It\\u{2019}s", "itu2019s",
    "u201cGood", "wordu2014so",
    urllib.parse.quote("A good film, he said"),
    json.dumps("\u201cGood\u201d")[1:-1],
]  # fmt: skip

MOST_TELLING = "\u2019\u201c\u201d\u2013\u2026\u00e9\u00c9\u00df\u2122\U0001f600\u20ac\u00bd"
ENCODINGS = ["cp1252", "latin-1", "cp1250", "cp1251", "mac_roman", "cp437", "gb18030"]
DAMAGED = [
    "\u00c3\u2030tat", "Stra\u00c3\u0178e", "\u00e2\u201e\u00a2", "\u00f0\u0178\u02dc\u20ac",
    "it\u00e2\u20ac\u2122s", "caf\u00c3\u00a9", "\u00c2\u00a35", "\u00ef\u00bf\u00bdt", "bad\ufffd",
    "it\u00e2\x80\x99s", "\u951f\u65a4\u62f7", "it\u9225\u6a9a fine", "Gu\u00a8\u00a6tary",
    "it\u00e2\u20ac\u0153quoted", "\u00c3\u00b1", "na\u00c3\u00afve",
    "cafA\u0303\u00a9", "se\u00e3\u00b1or", "caf\u00e3\u00a9",
]  # fmt: skip

# Words of Europe with letters at both ends of which a quote, read as a byte, makes UTF-8.
WORDS = [
    "\xc9milie", "\xe9lan", "\xe0", "\xc7a", "\xfcber", "\xd6l", "Spa\xdf", "\xc5sa", "\xe5",
    "\u0141\xf3d\u017a", "mi\u0142o\u015b\u0107", "\u010cech", "\u017eena", "\u0150sz", "f\u0171",
    "\u021aar\u0103", "ROM\xc2N\u0102", "\u0219i", "AMANH\xc3", "manh\xe3", "irm\xe3",
    "\xd1and\xfa", "CAF\xc9", "LIBERT\xc9", "\u0152dipe", "\u0130stanbul", "\u011f", "\u015eey",
    "\xdeA\xd0", "\xc6sir", "\xd8stre", "Zo\xeb", "\u0160koda", "\u016asas", "up\u0113",
    "\u0105\u017euolas", "HYV\xc4", "hyv\xe4", "SM\xc5", "PER\xd2", "pi\xf9", "\u017d",
]  # fmt: skip
TYPOGRAPHY = [
    "\u201c{}\u201d", "\u201e{}\u201c", "\u201e{}\u201d", "\u201d{}\u201d", "\xab{}\xbb",
    "\xbb{}\xab", "\u2039{}\u203a", "\u203a{}\u2039", "\u2018{}\u2019", "\u201a{}\u2018",
    "\xab\xa0{}\xa0\xbb", "\xe0\xa0\xab\xa0{}\xa0\xbb", "\u2014{}\u2014", "\u2013 {} \u2013",
    "\u2026{}\u2026", "(\u201c{}\u201d)", "\u201c{}\u201d,", "\u201c{}\u2026\u201d",
    "\u201c\u2018{}\u2019\u201d", "{}\u2019s", "l\u2019{}", "word\u2014{}", "{}\u2014word",
    "\xbf{}?", "\xa1{}!", "{}\xa0!", "\xa35\u2014{}", "\x93{}\x94", "\x91{}\x92", "{}\x85",
    "{}\x92s",
]  # fmt: skip
DAMAGED_WORDS = [
    "\xc9milie", "\xe9lan", "\xe7a", "\xdcber", "Spa\xdf", "\xc5sa", "\xe6ble", "\u0141\xf3d\u017a",
    "\u017ar\xf3d\u0142o", "\u010cech", "\u017eena", "\u0159\xedk\xe1", "\u0151r", "f\u0171",
    "\u021aar\u0103", "rom\xe2n\u0103", "cora\xe7\xe3o", "av\xf3", "\xd1and\xfa", "caf\xe9",
    "\u0153uvre", "gar\xe7on", "\u015fey", "\xde\xf3r", "Zo\xeb", "\xdaj", "\u0105\u017euolas",
    "\u0117jo", "it\u2019s", "wait\u2026", "2010\u20132012", "word\u2014word", "\xa35", "20\xb0",
    "\u20ac5", "\xbfQu\xe9", "\u041f\u0440\u0438\u0432\u0435\u0442",
]  # fmt: skip
READ_AS = [
    "cp1252", "latin-1", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "mac_roman", "cp437",
    "cp850", "cp866", "koi8-r", "iso8859-2",
]  # fmt: skip

EMPTY = [
    "\u200b" * 40, "\u2800" * 40, "\u3164" * 40, "\u00ad" * 40, "\u2060" * 40, "\ufeff" * 40,
    "." * 40, "-" * 40, "\u2026" * 40, "?!" * 20, "\u00a0" * 40, "\u3000" * 40, "_" * 40, "* " * 20,
    "\u180e" * 40, "\U000e0041" * 40, "\uffa0" * 40, "\u034f" * 40, "\ufe0f" * 40, "\x00" * 40,
    "\u202e" * 40, "\U0001f44d" * 40, "\u02d1" * 40,
    "\u0301" * 40, "<br />" * 8, "<p></p>" * 8, "\u2588" * 40, "\ue000" * 40,
]  # fmt: skip


@pytest.mark.parametrize("text", FINE, ids=ascii)
def test_what_reviewers_type_is_none_of_them(text):
    assert not is_marked_up(text)
    assert not is_escaped(text)
    assert not is_damaged(text)
    assert has_letters(text)


@pytest.mark.parametrize("text", MARKED_UP)
def test_markup_is_known_by_its_form(text):
    assert is_marked_up(f"A film. {text}")
    assert is_escaped(f"A film. {escape(text)}")


@pytest.mark.parametrize("text", ESCAPED)
def test_escapes_are_known_by_their_form(text):
    assert is_escaped(f"A film. {text} It was")


def test_every_entity_of_html_is_one():
    assert [name for name in html5 if not is_escaped(f"A &{name} film")] == []


@pytest.mark.parametrize("text", DAMAGED, ids=ascii)
def test_damage_is_known_by_its_form(text):
    assert is_damaged(f"A film. {text} It was")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_in_utf8_that_was_read_in_another_encoding_is_damaged(encoding):
    original = "It was good, they said: \u201cIt\u2019s a caf\u00e9 \u2013 in \u00c9tat\u2026\u201d"
    damaged = original.encode().decode(encoding, "replace").replace("\ufffd", "")

    assert is_damaged(damaged)


@pytest.mark.parametrize("form", TYPOGRAPHY, ids=ascii)
@pytest.mark.parametrize("normal_form", ["NFC", "NFD"])
def test_typography_beside_any_letter_of_europe_is_no_damage(form, normal_form):
    texts = [f"It is {form.format(word)} I saw." for word in WORDS] + list(map(form.format, WORDS))

    assert [text for text in texts if is_damaged(unicodedata.normalize(normal_form, text))] == []


@pytest.mark.parametrize("encoding", READ_AS)
@pytest.mark.parametrize("form", ["A film. {} It was", "{}", "The \u201c{}\u201d, he"])
def test_one_word_in_utf8_that_was_read_in_another_encoding_is_damage(encoding, form):
    read = {word: _read_as(word, encoding) for word in DAMAGED_WORDS}
    damaged = {word: form.format(text) for word, text in read.items() if text}

    assert len(damaged) >= 25
    assert [word for word, text in damaged.items() if not is_damaged(text)] == []
    assert not [text for text in damaged.values() if not is_damaged(_nfd(text))]


@pytest.mark.parametrize(
    "piece", ["\u0315\u0300", "\u2013\xfc", "a\u0301", "\xe9 \u201c"], ids=ascii
)
def test_ten_times_the_accents_or_marks_cost_about_ten_times_the_time(piece):
    few, many = piece * 5_000, piece * 50_000

    assert cpu_seconds(lambda: is_damaged(many)) < 40 * cpu_seconds(lambda: is_damaged(few))


def _read_as(word, encoding):
    """The word with each byte as a character; empty if the encoding lacks one of them."""
    try:
        return word.encode().decode(encoding)
    except UnicodeDecodeError:
        return ""


def _nfd(text):
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize("text", EMPTY, ids=ascii)
def test_a_text_without_a_letter_that_can_be_seen_is_none(text):
    assert not has_letters(text)


def test_a_word_of_any_script_is_a_text():
    words = ["Good", "\u0425\u043e\u0440\u043e\u0448\u043e", "\u597d", "\u0662\u0660", "\uff11"]

    assert [word for word in words if not has_letters(f"... {word} ...")] == []


def test_invisible_characters_are_no_length():
    assert visible_chars("  a\u200bb\u3164\ufeff c ") == len("ab c")
    assert visible_chars("caf\u00e9 \x92") == 6
