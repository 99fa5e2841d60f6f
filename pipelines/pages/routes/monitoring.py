"""*Monitoring*: nights against their limits; one night with what changed; and ``/metrics``."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from datetime import date, timedelta
from threading import Lock
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from pipelines.core import config, keys, links
from pipelines.core.parallel import in_parallel
from pipelines.core.store import clock
from pipelines.core.store.bucket import Bucket
from pipelines.intake.landing import is_night
from pipelines.monitoring import facts, kept, metrics
from pipelines.pages import read
from pipelines.pages.error_pages import no_such
from pipelines.pages.site import Site, Viewer, respond
from pipelines.pages.views import monitoring, night_charts
from pipelines.pages.views.monitoring import Point
from pipelines.records.monitoring import AnsweredDay, TriggerDecision, Window

DAYS = 30  # of answers that are listed
DECISIONS = 20  # on triggers that are listed, and whose starts are marked
MOST_POINTS = 3000  # that are remembered
_Text = Annotated[str, Query(max_length=200)]


class Remembered:
    """Windows as points, read once: a record never changes under its key."""

    def __init__(self) -> None:
        self._points: OrderedDict[tuple[str, ...], Point] = OrderedDict()
        self._lock = Lock()

    def read(self, reviews: Bucket, nights: list[list[str]]) -> tuple[list[Point], list[str]]:
        """The points of some nights, oldest first, and the first key of each that has none.

        Of a night's windows, the first that is proven counts.
        """
        wanted = [tuple(names) for names in nights]
        with self._lock:
            points = {names: self._points[names] for names in wanted if names in self._points}
        missing = [names for names in wanted if names not in points]
        found = in_parallel(lambda names: kept.first_proven(reviews, names, Window), missing)
        new = {
            names: monitoring.point(window)
            for names, window in zip(missing, found, strict=True)
            if window is not None
        }
        with self._lock:
            self._points.update(new)
            while len(self._points) > MOST_POINTS:
                self._points.popitem(last=False)
        points |= new
        return (
            [points[names] for names in reversed(wanted) if names in points],
            [names[0] for names in wanted if names not in points],
        )


def router(site: Site) -> APIRouter:
    routes = APIRouter(dependencies=[site.may_read(links.MONITOR)])
    remembered = Remembered()
    scrape = metrics.Cached(lambda: metrics.render(facts.read_all(site.stores(), config.load())))

    @routes.get("/metrics")
    def of_prometheus() -> Response:
        return Response(scrape(), media_type=metrics.CONTENT_TYPE)

    @routes.get("/monitoring")
    def nights(
        request: Request, viewer: Viewer = site.viewer, span: int = 90, until: _Text = "",
        part: _Text = monitoring.EVERYTHING, test: _Text = monitoring.WORST,
    ) -> HTMLResponse:  # fmt: skip
        reviews, settings = site.stores().reviews, site.about(request).settings
        name, keeps_answers = settings.model.name, settings.serving.prediction_log.is_enabled
        starter = replace(viewer, dags=settings.dags)
        today = clock.now(reviews).date().isoformat()
        last = until if until and is_night(until) else today
        chosen = span if span in monitoring.SPANS else monitoring.SPANS[1]
        found = kept.window_keys(
            reviews, name, last, chosen, nights=settings.monitoring.window_nights
        )
        points, unread = remembered.read(reviews, found)
        decisions = read.or_none(
            lambda model: kept.newest_decisions(reviews, model, today, DECISIONS), name
        )
        days = read.or_none(
            lambda model: kept.newest_answers(reviews, model, last, DAYS) if keeps_answers else [],
            name,
        )
        parts = monitoring.part_names(points)
        shown_part = part if part in parts else monitoring.EVERYTHING
        shown_test = test if test in monitoring.test_names() else monitoring.WORST
        starts = _starts(decisions or [])
        return respond(
            request, "monitoring.html.jinja", title="Monitoring", section="monitoring",
            model=name, shown=monitoring.lines(points, shown_part), nights=len(points),
            accuracy=night_charts.accuracy(points, starts, shown_part) if points else None,
            drift=night_charts.drift(points, starts, shown_test) if points else None,
            answered=monitoring.answered(days or []),
            asked=monitoring.asked(decisions or []), span=chosen, spans=monitoring.SPANS,
            part=shown_part, parts=parts, test=shown_test, tests=monitoring.test_names(),
            until=last, older=_older(points, chosen), page_link=links.monitoring_link(),
            button=starter.button("Ask for a retraining", links.MONITOR, {}),
            notes=_notes(unread, decisions, days),
        )  # fmt: skip

    @routes.get("/monitoring/{night}")
    def one_night(
        request: Request, night: Annotated[str, Path(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    ) -> HTMLResponse:
        reviews, settings = site.stores().reviews, site.about(request).settings
        name, nights = settings.model.name, settings.monitoring.window_nights
        found = kept.of_night(reviews, name, night, nights=nights) if is_night(night) else []
        window = kept.first_proven(reviews, found, Window)
        if window is None:
            raise no_such(f"No window of the night {night} exists.")
        return respond(
            request, "night.html.jinja", title=f"Night {night}", section="monitoring",
            model=name, way=[("Monitoring", links.monitoring_link("", name))],
            one=monitoring.night(window, earlier=len(found) - 1),
        )  # fmt: skip

    return routes


def _starts(decisions: list[TriggerDecision]) -> list[str]:
    return [each.night for each in decisions if each.is_started and each.night]


def _older(points: list[Point], span: int) -> str:
    """The night before those shown; empty when there may be none."""
    if len(points) < span:
        return ""
    return (date.fromisoformat(points[0].night) - timedelta(days=1)).isoformat()


def _notes(
    unread: list[str], decisions: list[TriggerDecision] | None, days: list[AnsweredDay] | None
) -> list[str]:
    notes = [
        f"The window of {keys.day_of_monitoring(key)} cannot be read, and is left out. To find "
        "every fault, run: python -m pipelines champion fsck"
        for key in unread[:5]
    ]
    if decisions is None:
        notes.append("The decisions on retrainings cannot be read.")
    if days is None:
        notes.append("What the services were asked cannot be read.")
    return notes
