"""Metrics for Prometheus, made from records: no task ever sends a number.

So they are right after a restart, and wherever they are asked: on ``/metrics`` of Airflow's pages,
or in the file that ``python -m pipelines metrics`` writes for a textfile collector. The number of
series depends on the numbers of models, rules, tests and sources, not on history; names of sources
come from outside, so at most `MOST_SOURCES` of them get series.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from threading import Lock

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from pipelines.core.store import clock
from pipelines.monitoring.facts import Facts
from pipelines.records.evaluations import AnyMetrics, SetScores
from pipelines.records.monitoring import AnsweredDay, TriggerCheck, Window

CONTENT_TYPE = CONTENT_TYPE_LATEST
MOST_SOURCES = 50
MOST_NAME_CHARS = 60
CACHE_SECONDS = 30.0

Labels = Mapping[str, str]


class Cached:
    """The newest text; made again when it is older than `CACHE_SECONDS`, by one caller at a time.

    A scrape of many servers, or an impatient one, so costs the store no more than one.
    """

    def __init__(
        self, make: Callable[[], bytes], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._make, self._now, self._lock = make, now, Lock()
        self._made: tuple[float, bytes] | None = None

    def __call__(self) -> bytes:
        with self._lock:
            if self._made is None or self._now() - self._made[0] > CACHE_SECONDS:
                self._made = (self._now(), self._make())
            return self._made[1]


class _Gauges:
    """Gauges of one text, each made when it is first set; ``model`` is whom `set` is about."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.model = ""
        self._gauges: dict[str, Gauge] = {}

    def set(self, name: str, about: str, value: float | None, **labels: str) -> None:
        """Set a gauge of the model; a value of None leaves it out."""
        self.set_shared(name, about, value, model=self.model, **labels)

    def set_shared(self, name: str, about: str, value: float | None, **labels: str) -> None:
        """Set a gauge that is about no model."""
        if value is None:
            return
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"loop_{name}", about, list(labels), registry=self.registry)
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set(value)


def render(every: Iterable[Facts]) -> bytes:
    """The text of one scrape, from what was read of each model."""
    gauges = _Gauges()
    for facts in every:
        gauges.model = facts.model
        _of_model(gauges, facts)
    return generate_latest(gauges.registry)


def _of_model(gauges: _Gauges, facts: Facts) -> None:
    _champion(gauges, facts)
    _scores(gauges, facts)
    _gate(gauges, facts)
    if facts.windows:
        _window(gauges, facts.windows[0])
        _drift(gauges, facts.windows[0])
        _intake(gauges, facts.windows[0])
    _nights(gauges, facts)
    if facts.answers is not None:
        _answers(gauges, facts.answers)
    _counts(gauges, facts)
    _triggers(gauges, facts)
    for part in ("champion_log", "decision", "evaluation", "steps", "decisions", "windows",
                 "answers", "triggers", "alerts", "nights"):  # fmt: skip
        gauges.set(
            "read_errors", "Whether a part of the records could not be read (1) or could (0).",
            float(part in facts.broken), part=part,
        )  # fmt: skip
    gauges.set("read_timestamp_seconds", "When the records were read, by the store's clock.",
               facts.now.timestamp())  # fmt: skip


def _champion(gauges: _Gauges, facts: Facts) -> None:
    gauges.set(
        "champion_generation", "Number of the champion in its log; 0 before the first.",
        facts.entry.generation if facts.entry else 0,
    )  # fmt: skip
    if facts.entry is None:
        return
    gauges.set(
        "champion_info", "The champion's version and how it became champion; always 1.", 1,
        version=facts.entry.version, kind=facts.began.kind if facts.began else "unknown",
    )  # fmt: skip
    since = clock.read(facts.began.at) if facts.began else None
    if since is not None:
        gauges.set("champion_since_timestamp_seconds", "When the champion became champion.",
                   since.timestamp())  # fmt: skip


def _scores(gauges: _Gauges, facts: Facts) -> None:
    """The champion on the reviews of its gate: what it was promoted on."""
    if facts.evaluation is None:
        return
    sets: tuple[SetScores, ...] = (
        facts.evaluation.holdout, facts.evaluation.newest, facts.evaluation.golden,
    )  # fmt: skip
    for scores in sets:
        metrics: AnyMetrics | None = scores.challenger
        if metrics is None:
            continue
        gauges.set("gate_accuracy_ratio", "Accuracy at the champion's gate, by set of reviews.",
                   metrics.accuracy, set=scores.name)  # fmt: skip
        gauges.set("gate_log_loss_nats", "Log loss at the champion's gate, nats per review.",
                   metrics.log_loss, set=scores.name)  # fmt: skip
        gauges.set("gate_reviews", "Reviews in each set of the champion's gate.", scores.rows,
                   set=scores.name)  # fmt: skip


def _gate(gauges: _Gauges, facts: Facts) -> None:
    """How near the champion came to each limit of its gate."""
    for rule in facts.decision.rules if facts.decision else ():
        if rule.group == "slice" or rule.limit is None or rule.observed is None:
            continue
        gauges.set("gate_observed", "What the gate saw, by rule.", rule.observed, rule=rule.rule)
        gauges.set("gate_limit", "The limit of each rule of the gate.", rule.limit, rule=rule.rule)


def _window(gauges: _Gauges, window: Window) -> None:
    day = clock.read(window.night)
    if day is not None:
        gauges.set("window_night_timestamp_seconds", "Midnight UTC of the newest judged night.",
                   day.timestamp())  # fmt: skip
    for verdict in ("QUIET", "DRIFT", "FADING", "TOO_FEW"):
        gauges.set("window_verdict", "1 for the verdict on the newest judged night, else 0.",
                   float(window.verdict == verdict), verdict=verdict)  # fmt: skip
    gauges.set("window_reviews", "Reviews of the newest judged night.", window.rows)
    gauges.set("window_coverage_ratio", "Share of the delivered rows that count.", window.coverage)
    gauges.set("window_provisional", "1 where too few delivered rows count to start anything.",
               float(window.is_provisional))  # fmt: skip
    gauges.set("window_late_nights", "Nights until the last of its rows counted.",
               window.late_nights)  # fmt: skip
    if (measured := window.measured) is not None:
        gauges.set("fresh_accuracy_ratio", "Share of new reviews that the champion has right.",
                   measured.accuracy)  # fmt: skip
        gauges.set("fresh_accuracy_low_ratio", "Lower end of its 95 % interval.", measured.low)
        gauges.set("fresh_accuracy_high_ratio", "Upper end of its 95 % interval.", measured.high)
        gauges.set("fresh_log_loss_nats", "Log loss on new reviews, nats each.", measured.log_loss)
        gauges.set("usual_accuracy_ratio", "Share of the champion's reference that it has right.",
                   measured.usual)  # fmt: skip
        gauges.set("fresh_loss_ratio", "How much lower than usual the accuracy is.", measured.loss)
        gauges.set("fresh_loss_limit_ratio", "The loss from which a night is FADING.",
                   measured.limit)  # fmt: skip
    if (estimate := window.estimate) is not None:
        gauges.set("estimated_accuracy_ratio", "Accuracy by the champion's own confidence.",
                   estimate.accuracy)  # fmt: skip
        gauges.set("estimated_accuracy_low_ratio", "Lower end of its 95 % interval.", estimate.low)
        gauges.set("estimated_accuracy_high_ratio", "Upper end of its 95 % interval.",
                   estimate.high)  # fmt: skip
        gauges.set("estimates_disagree", "1 where two estimates differ: ask for labels.",
                   float(estimate.asks_for_labels))  # fmt: skip


def _drift(gauges: _Gauges, window: Window) -> None:
    for test in window.drift:
        gauges.set("drift_value", "How far new reviews are from the usual, by test.", test.value,
                   test=test.name)  # fmt: skip
        gauges.set("drift_limit", "From which value on that is DRIFT, by test.", test.limit,
                   test=test.name)  # fmt: skip


def _answers(gauges: _Gauges, answers: AnsweredDay) -> None:
    """What the services were really asked on the newest judged day."""
    day = clock.read(answers.day)
    if day is not None:
        gauges.set("answers_day_timestamp_seconds", "Midnight UTC of the newest judged day of "
                   "answers.", day.timestamp())  # fmt: skip
    for verdict in ("QUIET", "DRIFT", "FADING", "TOO_FEW"):
        gauges.set("answers_verdict", "1 for the verdict on that day's answers, else 0.",
                   float(answers.verdict == verdict), verdict=verdict)  # fmt: skip
    gauges.set("answers_texts", "Different texts among that day's answers.", answers.texts)
    gauges.set("answers_left_out_files", "Files of that day that could not be read.",
               answers.left_out_files)  # fmt: skip
    if (estimate := answers.estimate) is not None:
        gauges.set("answers_estimated_accuracy_ratio",
                   "Accuracy on what was asked, by the champion's own confidence.",
                   estimate.accuracy)  # fmt: skip
        gauges.set("answers_estimated_accuracy_low_ratio", "Lower end of its 95 % interval.",
                   estimate.low)  # fmt: skip
        gauges.set("answers_estimated_accuracy_high_ratio", "Upper end of its 95 % interval.",
                   estimate.high)  # fmt: skip
        gauges.set("answers_loss_ratio", "How much lower than usual that is.", estimate.loss)
        gauges.set("answers_loss_limit_ratio", "The loss from which a day is FADING.",
                   estimate.limit)  # fmt: skip
    for test in answers.drift:
        gauges.set("answers_drift_value", "How far answers are from the usual, by test.",
                   test.value, test=test.name)  # fmt: skip
        gauges.set("answers_drift_limit", "From which value on that is DRIFT, by test.",
                   test.limit, test=test.name)  # fmt: skip


def _intake(gauges: _Gauges, window: Window) -> None:
    rows: dict[str, list[int]] = {}
    for number, source in enumerate(window.sources):
        name = _name(source.source) if number < MOST_SOURCES else "others"
        counts = rows.setdefault(name, [0, 0, 0, 0])
        for place, count in enumerate((
            source.delivered_rows, source.accepted_rows, source.quarantined_rows, source.held_rows,
        )):  # fmt: skip
            counts[place] += count
    for name, counts in rows.items():
        for kind, count in zip(
            ("delivered", "accepted", "quarantined", "held"), counts, strict=True
        ):
            gauges.set("rows", "Rows of the newest judged night, and what became of them.",
                       count, source=name, kind=kind)  # fmt: skip


def _nights(gauges: _Gauges, facts: Facts) -> None:
    """What waits for a person, the last night without a fault, and how long things took."""
    held = sum(source.held_rows > 0 for window in facts.windows for source in window.sources)
    silent = facts.newest.silent_sources if facts.newest else None
    for kind, count in (("held", held), ("silent", silent)):
        gauges.set("incidents_open", "Incidents that wait for a person, of the newest 30 judged "
                   "nights and the newest night.", count, kind=kind)  # fmt: skip
    good = next((window for window in facts.windows if _is_good(window)), None)
    if good is not None and (day := clock.read(good.night)) is not None:
        gauges.set("last_good_night_timestamp_seconds", "Midnight UTC of the newest judged night "
                   "that brought reviews and left none held.", day.timestamp())  # fmt: skip
    for step, seconds in facts.step_seconds.items():
        gauges.set("champion_step_seconds", "How long each step of the champion's retraining took; "
                   "to promote takes a person's answer, too.", seconds, step=step)  # fmt: skip
    gauges.set("delivery_longest_seconds", "From when a file of the newest night was taken up to "
               "when it was decided, of the slowest.",
               facts.newest.longest_seconds if facts.newest else None)  # fmt: skip


def _is_good(window: Window) -> bool:
    accepted = sum(source.accepted_rows for source in window.sources)
    return accepted > 0 and not any(source.held_rows for source in window.sources)


def _name(source: str) -> str:
    """A source's name as a label: printable and short."""
    return "".join(letter if letter.isprintable() else "?" for letter in source)[:MOST_NAME_CHARS]


def _counts(gauges: _Gauges, facts: Facts) -> None:
    for verdict in ("PROMOTE", "REFRESH", "HOLD", "REJECT", "INCONCLUSIVE"):
        gauges.set("decisions", "Decisions against the present champion, by verdict.",
                   facts.verdicts.get(verdict, 0), verdict=verdict)  # fmt: skip
    for judged in ("QUIET", "DRIFT", "FADING", "TOO_FEW"):
        count = sum(window.verdict == judged for window in facts.windows)
        gauges.set("windows", "The newest judged nights, at most 30, by verdict.", count,
                   verdict=judged)  # fmt: skip
    gauges.set("approvals_pending", "Decisions that wait for a person.", facts.waiting)
    gauges.set_shared("alerts_unsent", "Alerts that were not sent, by incident and channel.",
                      facts.unsent)  # fmt: skip


def _triggers(gauges: _Gauges, facts: Facts) -> None:
    if facts.trigger is None:
        return
    at = clock.read(facts.trigger.at)
    if at is not None:
        gauges.set("trigger_timestamp_seconds", "When the monitor last decided on a retraining.",
                   at.timestamp())  # fmt: skip
    gauges.set("trigger_started", "1 where its last decision started a retraining.",
               float(facts.trigger.is_started))  # fmt: skip
    _checks(gauges, "trigger", facts.trigger.checks)
    _checks(gauges, "veto", facts.trigger.vetoes)


def _checks(gauges: _Gauges, kind: str, checks: Iterable[TriggerCheck]) -> None:
    for check in checks:
        gauges.set("trigger_observed", "What the monitor's last decision saw, by check.",
                   check.observed, kind=kind, check=check.name)  # fmt: skip
        gauges.set("trigger_threshold", "From which value on a check is met.", check.threshold,
                   kind=kind, check=check.name)  # fmt: skip
