"""What a mail holds: all that one must know, and nothing that anybody else obeys."""

from __future__ import annotations

import pytest

from pipelines.alerts import mail as alerts_mail
from pipelines.alerts.alert import MAX_SENTENCE_CHARS, MAX_SENTENCES, MAX_TITLE_CHARS, Link
from tests.support.made.alert_builders import HOSTILE, an_alert

SENDER, RECIPIENTS = "loop@example.org", ["ops@example.org", "two@example.org"]


def a_mail(alert):
    return alerts_mail.message(alert, sender=SENDER, recipients=RECIPIENTS)


def test_a_mail_says_what_happened_and_what_to_do_as_text_and_as_html():
    alert = an_alert()

    mail = a_mail(alert)

    body = {part.get_content_type(): part.get_content() for part in mail.walk()
            if not part.is_multipart()}  # fmt: skip
    assert mail["Subject"] == "[critical] A delivery of source 'web' is held"
    assert (mail["From"], mail["To"]) == (SENDER, "ops@example.org, two@example.org")
    assert mail["Message-ID"] == f"<{alert.key}@example.org>"
    assert set(body) == {"text/plain", "text/html"}
    for shown in body.values():
        assert "None of its 5 rows count." in shown
        assert "docs/runbooks/held-delivery.md" in shown
        assert "https://airflow.example.org/dags/x/runs/y" in shown
        assert "s3://reviews/reports/r/report.html" in shown


def test_hostile_text_is_never_markup_in_the_html():
    page = alerts_mail.html(an_alert(title=HOSTILE, sentences=(HOSTILE,), run_id=HOSTILE))

    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "{{ 7 * 7 }}" in page  # shown as it came, not computed
    assert "\u202e" not in page


def test_no_header_can_be_smuggled_in_by_a_title():
    mail = a_mail(an_alert(title="late\r\nBcc: everybody@example.org\n\nHello"))

    assert mail["Bcc"] is None
    assert mail["Subject"] == "[critical] late Bcc: everybody@example.org Hello"
    assert b"\r\nBcc:" not in mail.as_bytes()


def test_no_header_can_be_smuggled_in_by_an_address():
    with pytest.raises(ValueError, match=r"linefeed or carriage return|newline"):
        alerts_mail.message(an_alert(), sender=SENDER, recipients=["a@b.c\r\nBcc: d@e.f"])


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "s3://reviews/x"])
def test_only_web_addresses_can_be_clicked(url):
    page = alerts_mail.html(an_alert(links=(Link(name="report", url=url),)))

    assert "href" not in page
    assert url in page


def test_an_address_cannot_leave_its_attribute():
    page = alerts_mail.html(an_alert(links=(Link(name="run", url='https://x/"onclick="a()'),)))

    assert 'href="https://x/&#34;onclick=&#34;a()"' in page


def test_a_long_text_is_cut_and_only_so_many_sentences_are_told():
    alert = an_alert(title="t" * 1000, sentences=tuple("s" * 5000 for _ in range(20)))

    assert len(alert.title) == MAX_TITLE_CHARS
    assert [len(sentence) for sentence in alert.sentences] == [MAX_SENTENCE_CHARS] * MAX_SENTENCES
    assert alert.title.endswith("t...")


def test_a_mail_with_characters_of_any_kind_can_be_sent():
    mail = a_mail(
        an_alert(title="caf\u00e9 \udcff \x00 \u2028 \U0001f600", sentences=("\x1b[31m",))
    )

    mail.as_bytes()
    assert mail["Subject"] == "[critical] caf\u00e9 \U0001f600"
