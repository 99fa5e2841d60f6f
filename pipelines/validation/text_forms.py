"""Recognize by their form texts that are marked up, escaped, damaged or without any letter.

Few texts hold a ``<``, a ``&`` or a character beyond ASCII, so each check first looks for that.
"""

from __future__ import annotations

import re
import unicodedata
from html import unescape
from html.entities import html5, name2codepoint
from itertools import islice

from ftfy.badness import is_bad

from pipelines.features.text_id import TAG
from pipelines.intake.files.ids import FILLERS, is_invisible

MOST_MARKS = 200  # of "<" or "&" that are looked at in one text

# ── Markup ───────────────────────────────────────────────────────────────────────────────────

_NAME = r"[a-z][a-z0-9]*+(?:[:-][a-z][\w-]*+)*+"
# A tag that closes or has attributes; a comment, a declaration, an instruction. Names with a colon
# are those of Office; one with a hyphen is an element of its own if text follows, for reviewers
# type "<eye-roll>".
_CERTAIN = re.compile(
    rf"""<(?:/\s*+{_NAME}\s*+>|{_NAME}[\s/][^<>=]*+=\s*+[\w"'#/.][^<>]*+>"""
    r"|[a-z][a-z0-9]*+(?::[a-z][\w-]*+(?:\s[^<>]*+)?/?>|-[a-z][\w-]*+(?:\s[^<>]*+)?>(?=\w))"
    r"|!--|!\[[a-z]|!(?:doctype|entity|element|attlist|notation)\b|\?[a-z][^<>]*+>)",
    re.IGNORECASE,
)
# Attributes that HTML has without a value. Any other word may be typed: "<i agree>".
_BARE = (
    r"(?:class|style|hidden|disabled|checked|selected|readonly|required|multiple|autofocus|noshade|"
    r"nowrap|compact|ismap|defer|async|controls|autoplay|loop|muted|noresize|open|reversed|"
    r"novalidate|allowfullscreen|itemscope)"
)
# What stands alone may be what a reviewer typed: "<grin>". These are elements of HTML; they need
# no end tag, format a text, or do harm even if the text is cut within.
_ALONE = re.compile(
    r"<\s*+(?:/\s*+)?(?:"
    r"a|abbr|acronym|address|area|article|aside|audio|b|base|basefont|bdi|bdo|big|blink|blockquote|"
    r"body|button|canvas|caption|center|cite|code|col|colgroup|dd|del|details|dfn|dir|div|dl|dt|em|"
    r"embed|fieldset|figcaption|figure|font|footer|form|frame|frameset|h[1-6]|head|header|hr|html|"
    r"i|iframe|img|input|ins|kbd|label|legend|li|link|main|map|mark|marquee|math|menu|meta|nav|"
    r"nobr|noframes|noscript|object|ol|optgroup|option|p|param|picture|pre|q|rp|rt|ruby|s|samp|"
    r"script|section|select|small|source|span|strike|strong|style|sub|summary|sup|svg|table|tbody|"
    r"td|template|textarea|tfoot|th|thead|time|title|tr|track|tt|u|ul|var|video|wbr|xmp"
    rf")(?:\s*+/?\s*+>|\s++[\w:-]++\s*+=|(?:\s++{_BARE})++\s*+/?>)|<\s*+/?\s*+(?:script|iframe)\b",
    re.IGNORECASE,
)
_LINE_BREAK = re.compile(r"<\s*+/?\s*+br\s*+/?\s*+>", re.IGNORECASE)


def is_marked_up(text: str) -> bool:
    """Whether it holds markup other than ``<br />`` in any spelling."""
    if "<" not in text:
        return False
    rest = _start(_LINE_BREAK.sub("", text), "<")
    return "<" in rest and bool(_CERTAIN.search(rest) or _ALONE.search(rest))


def _start(text: str, mark: str) -> str:
    """The text up to a mark that no review holds so often: a hostile one holds a million."""
    parts = text.split(mark, MOST_MARKS)
    return mark.join(parts[:MOST_MARKS])


# ── Escapes ──────────────────────────────────────────────────────────────────────────────────

_REFERENCE = re.compile(r"&(?:#[0-9]{1,7};?|#x[0-9a-f]{1,6};?|[a-z][a-z0-9]{1,31};)", re.IGNORECASE)
_OLD_NAMES = sorted((name for name in html5 if name[-1] != ";"), key=len, reverse=True)
# Others whose semicolon was lost: quotes and dashes, which nobody types. "cloak&dagger" is typed.
_QUOTES = "|".join(
    name
    for name, code in name2codepoint.items()
    if unicodedata.category(chr(code)) in {"Pi", "Pf", "Pd"}
)
_CUT_REFERENCE = re.compile(rf"&(?:apos|hellip|{_QUOTES})")
_OLD_REFERENCE = re.compile(rf"&(?:{'|'.join(_OLD_NAMES)})(?![A-Za-z0-9;=])")
_BACKSLASHED = re.compile(
    r"\\(?:u[0-9a-f]{4}|u\{[0-9a-f]{2,6}\}|x[0-9a-f]{2}|U[0-9a-f]{8}|[\"'/])"
    r"|\\r\\n|\\n\\n|(?<![a-z:])\\n|\\n(?=\s|(?-i:[A-Z]))",
    re.IGNORECASE,
)
_WINDOWS_PATH = re.compile(r"\b[a-z]:\\[^\s\"']*", re.IGNORECASE)
_LOST_BACKSLASH = re.compile(  # "donu2019t"; but "Thu2019" is a day
    r"(?<=[a-z])u(?:00[a-f][0-9a-f]|20(?:1[c-f]|(?:1[3489]|2[26])(?=[a-z])))|\bu201[cd](?=[a-z])",
    re.IGNORECASE,
)
_NAMED_CODE = re.compile(r"<U\+[0-9A-F]{4,8}>|_x00[0-9A-F]{2}_")  # of R and of Excel
_QUOTED_PRINTABLE = re.compile(r"=[C-F][0-9A-F]=[89AB][0-9A-F]")  # of UTF-8
_ADDRESS = re.compile(r"(?:\w://|\bwww\.)\S+")
_PERCENT = re.compile(
    r"%u[0-9A-Fa-f]{4}|%[C-Fc-f][0-9A-Fa-f]%[89ABab][0-9A-Fa-f]"
    r"|%(?:20|2C|27|22|0A|0D)[^%\s]{0,40}%[0-9A-F]{2}[^%\s]{0,40}%[0-9A-F]{2}"
)


def is_escaped(text: str) -> bool:
    """Whether a character is written as an entity of HTML, or escaped as in code or an address."""
    if "&" in text and _has_entity(text):
        return True
    if "\\" in text and _BACKSLASHED.search(_WINDOWS_PATH.sub("", text)):
        return True
    if "=" in text and _QUOTED_PRINTABLE.search(text):
        return True
    if ("u20" in text or "u00" in text) and _LOST_BACKSLASH.search(text):
        return True
    if ("+" in text or "_" in text) and _NAMED_CODE.search(text):
        return True
    return "%" in text and bool(_PERCENT.search(_ADDRESS.sub("", text)))


def _has_entity(text: str) -> bool:
    text = _start(text, "&")
    if _OLD_REFERENCE.search(text) or _CUT_REFERENCE.search(text):
        return True
    return any(_is_entity(found[0]) for found in _REFERENCE.finditer(text))


def _is_entity(reference: str) -> bool:
    return any(unescape(name) != name for name in (reference, reference.lower()))


# ── Damage by a wrong encoding ───────────────────────────────────────────────────────────────

# What UTF-8 becomes where each byte is taken for a character, as in Latin-1. C1 controls alone are
# no damage of that kind: IMDB's own reviews hold them. One letter counts if it is a European one;
# any other may be by chance: "\xd6\xbb" also ends a word in guillemets.
_BYTES = re.compile(
    "[\xc2-\xc5][\x80-\xbf]|\xc8[\x98-\x9b]|(?:[\xc2-\xdf][\x80-\xbf]){2}"
    "|[\xe0-\xef](?![\xa0\xab\xbb]{2})[\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}|\ufffd"
    "|\xe3[\xa1-\xaa\xac\xae-\xba\xbc-\xbf]"  # the same in small letters: "se\xe3\xb1or"
)
# What restored characters prove: letters of Europe, punctuation, signs and emoji alone; others only
# two together.
_TELLING = re.compile(
    "[\x80-\u017f\u0218-\u021b\u1e00-\u27bf\ufb00-\ufb06\ufe0f\ufeff\ufffd\U0001f000-\U0001faff]"
    "|[^\x00-\x7f]{2}"
)
# Damage shows where two foreign characters meet, or in one of a few that seldom stand alone.
_SUSPECT = re.compile("[^\x00-\x7f]{2,40}|[\xc2\xc3\u0152\u0153\ufffd]")
MOST_LOOKED_AT = 160  # such characters in one text: a text in another script has no others
MOST_TYPOGRAPHY = 2_000  # quotes, dashes and the like that are looked at in one text
# A letter in NFD. Not the whole text is composed: thousands of accents in a row take very long.
_COMBINING = re.compile("[\u0300-\u036f]")
_DECOMPOSED = re.compile(".[\u0300-\u036f]{1,4}")
_C1 = dict.fromkeys(range(128, 160), " ")
# Letters that make UTF-8 again in the encoding that they were read in. Where it has two bytes per
# character, Chinese or Korean letters stand in an English text; then only longer UTF-8 is a proof.
_ONE_BYTE = (
    "sloppy-windows-1252", "sloppy-windows-1250", "sloppy-windows-1251", "sloppy-windows-1253",
    "sloppy-windows-1254", "sloppy-windows-1257", "mac-roman", "cp437", "cp850", "cp866",
    "koi8-r", "iso8859-2",
)  # fmt: skip
_TWO_BYTES = ("gb18030", "cp932", "cp949", "cp950")


def is_damaged(text: str) -> bool:
    """Whether characters were damaged by a wrong encoding (mojibake)."""
    if text.isascii():
        return False
    if _COMBINING.search(text):
        text = _DECOMPOSED.sub(_composed, text)
    if not _SUSPECT.search(text):
        return False
    text = _MARKS.sub(_plain, text, MOST_TYPOGRAPHY)
    if _BYTES.search(text):
        return True
    looked_at = 0
    for found in _SUSPECT.finditer(text):
        around = text[max(0, found.start() - 2) : found.end() + 2]
        if is_bad(around.translate(_C1)) or _was_utf8(found[0]):
            return True
        looked_at += len(found[0])
        if looked_at > MOST_LOOKED_AT:
            break
    return False


def _composed(letter: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", letter[0])


def _was_utf8(letters: str) -> bool:
    spellings = {letters, _LAST_MARK.sub("", letters), _LAST_MARKS.sub("", letters)}
    return any(
        _TELLING.search(_restored(each, encoding)) for encoding in _ONE_BYTE for each in spellings
    ) or any(char > "\u07ff" for encoding in _TWO_BYTES for char in _restored(letters, encoding))


def _restored(letters: str, encoding: str) -> str:
    """What they are if they are UTF-8 that was read in this encoding; empty if they are not."""
    try:
        restored = letters.encode(encoding).decode("utf-8")
    except UnicodeError:
        return ""
    return restored if len(restored) <= len(letters) else ""


# Quotes, dashes, dots and blanks that are not ASCII, also as C1 controls. Beside an accented letter
# they look like damage, and damage holds them. Damage puts them into words; typography before or
# after one.
_MARK = (
    "\x82\x84\x85\x8b\x91-\x97\x9b\xa0\xab\xad\xbb"
    "\u2010-\u2015\u2018-\u201f\u2026\u202f\u2039\u203a"
)
_MARKS = re.compile(f"[{_MARK}]+")
_IS_MARK = re.compile(f"[{_MARK}]")
_LAST_MARK = re.compile(f"[{_MARK}]$")
_LAST_MARKS = re.compile(f"[{_MARK}]+$")
# Damage may begin with one of these: of "\u2013\xfc\u2014\xc4", each dash is a part of one letter.
_MAY_LEAD = frozenset("\xad\u2013\u2014\u201a\u201e")
_BLANKS = frozenset("\xa0\xad\u202f")
_NEVER_LAST = frozenset("\x82\x84\u201a\u201e")
_WORD_BEGINS = re.compile(rf"[^\W\d_](?:[{_MARK}]*$|[{_MARK}]*[\x00-\x7f])")


def _plain(marks: re.Match[str]) -> str:
    """Typography as an ASCII quote; a part of damage as it is."""
    text, start, end = marks.string, marks.start(), marks.end()
    first, last = marks[0][0], marks[0][-1]
    before, after = text[max(0, start - 2) : start], text[end : end + 1]
    if _is_border(before[-1:]):
        is_part = last in _MAY_LEAD and not _WORD_BEGINS.match(text, end)
        return f'"{last}' if is_part else '"'
    is_between = _is_border(after) or (before.isalpha() and _divides(marks[0], before, after))
    return '"' if is_between and first not in _NEVER_LAST and _ends_word(before) else marks[0]


def _divides(marks: str, before: str, after: str) -> bool:
    """Whether marks end a word although a letter follows: a blank, or "AB\u2019s"."""
    return not _BLANKS.isdisjoint(marks) or (before.isupper() and after.islower())


def _is_border(char: str) -> bool:
    return char.isascii() and not char.isalnum()


def _ends_word(two: str) -> bool:
    """Whether two characters end a word as people write it: not "xX", and not with a lone foreign
    letter, unless it is in quotes.
    """
    last, previous = two[-1:], two[:-1]
    if last.isascii() or not last.isalpha():
        return last.isalpha()
    if _IS_MARK.match(previous):
        return True
    return previous.isupper() and last != "\xc2" if last.isupper() else previous.isalnum()


# ── Nothing to read ──────────────────────────────────────────────────────────────────────────

_LETTER = re.compile("[A-Za-z0-9]")
_INVISIBLE = re.compile(f"[{FILLERS}\xad\u034f\u061c\u115f-\u1160\u17b4\u17b5\u180b-\u180f"
                        "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\uffa0"
                        "\ufff0-\ufffb\U000e0000-\U000e0fff]")  # fmt: skip


def has_letters(text: str) -> bool:
    """Whether there is a letter or a digit outside of markup: something that can be read."""
    if "<" not in text:
        return _has_letter(text)
    tags = islice(TAG.finditer(text), MOST_MARKS)
    return _has_letter(TAG.sub(" ", text)) or any(_is_typed(tag[0]) for tag in tags)


def _is_typed(tag: str) -> bool:
    """Whether a reviewer put words into angle brackets."""
    return not (_LINE_BREAK.fullmatch(tag) or is_marked_up(tag)) and _has_letter(tag)


def _has_letter(text: str) -> bool:
    return bool(_LETTER.search(text)) or any(map(_is_letter, set(text)))


def _is_letter(char: str) -> bool:
    kind = unicodedata.category(char)
    return kind[0] in "LN" and kind != "Lm" and not is_invisible(char)  # Lm: signs like an accent


def visible_chars(text: str) -> int:
    """How many characters there are without blanks at the ends and what is not seen."""
    if not text.isascii() and _INVISIBLE.search(text):
        text = _INVISIBLE.sub("", text)
    return len(text.strip())
