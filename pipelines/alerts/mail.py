"""An alert as a mail: plain text, and HTML in which all of it is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from pipelines.alerts.alert import Alert, Link
from pipelines.core import templating
from pipelines.core.escaping import plain

# No script, no style sheet, no picture, nothing from elsewhere. The policy binds where a mail is
# opened in a browser.


def message(
    alert: Alert, *, sender: str, recipients: Sequence[str], at: datetime | None = None
) -> EmailMessage:
    """The whole mail, ready to be sent or to be opened.

    Parameters
    ----------
    alert, sender, recipients : Alert, str, sequence of str
        What to send, and from which mail address to which.
    at : datetime, optional
        For the header ``Date``; with a time zone. Without it the mail has no such header.

    Raises
    ------
    ValueError
        If an address holds a line break: no header can be smuggled in.
    """
    mail = _addressed(alert, sender)
    mail["From"], mail["To"] = sender, ", ".join(recipients)
    if at is not None:
        mail["Date"] = format_datetime(at)
    mail.set_content(text(alert))
    mail.add_alternative(html(alert), subtype="html")
    return mail


def _addressed(alert: Alert, sender: str) -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = f"[{alert.severity}] {alert.title}"
    # The same incident has the same id, so a mail that is sent twice is shown once by many readers.
    mail["Message-ID"] = f"<{alert.key}@{sender.rpartition('@')[2].strip('<> ')}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Loop-Alert"] = f"{alert.kind} {alert.key}"
    return mail


def text(alert: Alert) -> str:
    """The alert for readers of plain text."""
    lines = [alert.title, "", *alert.sentences, ""]
    lines += [f"{name}: {value}" for name, value in facts(alert)]
    lines += [f"{link.name}: {link.url}" for link in alert.links]
    return "\n".join(lines) + "\n"


def html(alert: Alert) -> str:
    """The alert as a page of its own."""
    template = templating.markup("pipelines.alerts").get_template("mail.html.jinja")
    return template.render(alert=alert, facts=facts(alert), links=alert.links, is_web=is_web)


def facts(alert: Alert) -> list[tuple[str, str]]:
    """What is known of the incident apart from its sentences; empty facts are left out."""
    values = [
        ("what to do", alert.runbook),
        ("owner", alert.owner),
        ("night", alert.night or ""),
        ("DAG", alert.dag_id),
        ("run", alert.run_id),
        ("delivery", alert.delivery or ""),
        ("incident", alert.key[:12]),
    ]
    return [(name, plain(value, most=300)) for name, value in values if value]


def is_web(link: Link) -> bool:
    """Whether it may be clickable: never ``javascript:``, ``data:`` or a store's address."""
    return link.url.startswith(("http://", "https://"))
