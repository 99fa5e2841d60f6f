"""From an incident to the right button: what failed, where the log is, what a dry run would do."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from pipelines.core import links
from pipelines.core.errors import DigestMismatchError, StoreUnavailableError
from pipelines.gate.card import sentences
from pipelines.intake.standings import Standing
from pipelines.pages.markdown_page import folded, html, own_page
from pipelines.pages.routes.runbooks import FOLDER, link_under, name_of
from pipelines.pages.site import Reply
from pipelines.pages.views import failures, forms, remedies
from pipelines.records.deliveries import Outcome, Receipt, Replay, ReplayPlan
from pipelines.records.succession import RollbackPlan
from pipelines.records.validations import Disputed, RuleResult
from tests.support.made.made_validations import a_delivery, a_profile, a_validation
from tests.support.made.registry_builders import a_version, decided, promoted
from tests.support.page_site import DELIVERY, Pages, a_succession, links_of

WHERE = "/dags/{}/dagRuns/run"
HOSTILE = "<script>alert(1)</script>"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"


def a_rule(name, severity="critical", sentence="It failed."):
    return RuleResult(rule=name, severity=severity, is_passed=False, observed=1.0, limit="",
                      rows=1, sentence=sentence)  # fmt: skip


def a_standing(verdict="HELD", *, held=40, quarantined=0, key="k"):
    outcome = Outcome(
        delivery="a" * 64, source="web", night="2026-01-09", landing_key="landing/web/r.csv",
        version_tag="1", counted_in="2026-01-09", verdict=verdict, why="Because.",
        delivered_rows=40, accepted_rows=0, quarantined_rows=quarantined, held_rows=held,
        accepted=None, quarantined=None, validation_key=key,
    )  # fmt: skip
    return Standing(outcome)


def offered(standing, validation):
    found = remedies.remedies(standing, validation)
    return [(one.action, one.tone) for one in found.offered], found.not_offered


# Buttons


def test_only_what_can_work_is_offered():
    held = a_standing()

    readable = offered(held, a_validation(rules=(a_rule("row_count"),)))
    cut = offered(held, a_validation(profile=None))
    all_bad = offered(held, a_validation(profile=a_profile(0, positive=0)))

    assert readable == (
        [("revalidate", "plain"), ("release", "danger"), ("discard", "danger")], ""
    )  # fmt: skip
    assert cut[0] == all_bad[0] == [("revalidate", "plain"), ("discard", "danger")]
    assert "no row can be read from it" in cut[1]
    assert "every row of it breaks a row rule" in all_bad[1]


def test_labels_in_doubt_are_released_last_and_by_a_dangerous_button():
    alarm = a_validation(rules=(a_rule("label_agreement"),))

    assert offered(a_standing(), alarm)[0] == [
        ("revalidate", "plain"), ("discard", "danger"), ("release", "danger"),
    ]  # fmt: skip
    assert remedies.runbook_of(alarm) == "docs/runbooks/poisoned-labels.md"
    assert remedies.runbook_of(a_validation()) == "docs/runbooks/held-delivery.md"


def test_rows_that_nothing_can_be_trained_on_are_not_offered_for_release():
    standing = a_standing("PARTLY_ACCEPTED", held=0, quarantined=3)
    partition = {"quarantined": {"key": "quarantine/date=2026-01-09/x.parquet", "sha256": "0" * 64,
                                 "rows": 3, "size_bytes": 1}}  # fmt: skip
    standing = Standing(Outcome.model_validate(standing.outcome.model_dump() | partition))

    none, why = offered(standing, a_validation(reasons={"label_unknown": 3}))
    some = remedies.remedies(standing, a_validation(reasons={"label_unknown": 1, "text_html": 2}))

    assert none == [("revalidate", "plain"), ("discard", "danger")]
    assert why.startswith("They cannot be released, because they lack")
    assert "at least 1 cannot be released" in some.offered[1].effect


def test_a_release_says_how_many_rows_would_count():
    some, all_good, alarm = (
        remedies.remedies(a_standing(), a_validation(rules=(a_rule(rule),), profile=profile))
        for rule, profile in (
            ("quarantined_share", a_profile(12, positive=6)),
            ("row_count", a_profile(40, positive=20)),
            ("label_agreement", a_profile(12, positive=6)),
        )
    )  # fmt: skip

    few = "12 of the 40 rows (the others break a row rule and go to quarantine)"
    assert some.offered[1].effect == f"accepts {few}"
    assert all_good.offered[1].effect == "accepts the 40 rows"
    assert alarm.offered[2].effect.startswith(f"trains the next model on {few}")


# The incident page


def an_incident(**changes):
    pages = Pages()
    delivery = a_delivery()
    validation = a_validation(**changes)
    for record in (delivery, validation, a_standing(key=validation.object_key).outcome):
        pages.reviews.put_record(record)
    return pages


def test_a_poisoned_delivery_shows_the_rows_in_doubt_and_what_the_champion_reads():
    row = Disputed(row=7, review_id="r7", label="positive", text=f"Dull. {HOSTILE}")
    pages = an_incident(rules=(a_rule("label_agreement"),), disputed=(row,))

    page = pages.get(f"/incidents/{'a' * 64}").text

    assert "Rows whose label the champion disputes" in page
    assert '<td class="keep">positive</td><td class="keep">negative</td>' in page
    assert HOSTILE not in page
    assert "/retraining/runbooks/poisoned-labels" in links_of(page)
    assert page.index("champion disputes</h2>") < page.index("Which rows</h2>")
    assert 'class="button danger"' in page


def test_a_long_text_in_doubt_is_folded_and_whole_and_a_short_one_is_not_folded():
    texts = ("Dull. " * 100 + HOSTILE, "Short.")
    rows = [Disputed(row=n, review_id="r", label="positive", text=t) for n, t in enumerate(texts)]
    pages = an_incident(rules=(a_rule("label_agreement"),), disputed=tuple(rows))

    page = pages.get(f"/incidents/{'a' * 64}").text

    folded = page.partition("<details><summary>")[2].partition("</details>")[0]
    assert folded.count("Dull.") == 100
    assert folded.endswith(ESCAPED)
    assert page.count("<details>") == 1
    assert '<td class="words whole code">Short.</td>' in page


def test_the_way_of_a_corrected_file_leads_and_only_for_a_file_that_is_held():
    pages = an_incident()
    outcome = a_standing(key=a_validation().object_key).outcome

    page = pages.get(f"/incidents/{'a' * 64}").text
    pages.reviews.objects.pop(outcome.object_key)
    held = {"verdict": "ACCEPTED", "held_rows": 0, "accepted_rows": 40}
    pages.reviews.put_record(outcome.model_copy(update=held))
    accepted = pages.get(f"/incidents/{'a' * 64}").text

    assert 'class="button" href="/retraining/forms/reviews_ingest?night=2026-01-09"' in page
    assert page.count('class="button"') == 1
    assert "under a new name in <code>landing/web/</code>" in page
    assert page.index("forms/reviews_ingest") < page.index("Validate again")
    assert "forms/reviews_ingest" not in accepted


def test_a_release_is_as_red_on_the_page_as_in_the_list_and_in_its_form():
    pages = an_incident()
    pages.answers["GET", "/dags/reviews_replay/details"] = Reply(200, DETAILS)

    page = pages.get(f"/incidents/{'a' * 64}").text
    form = pages.get(f"/forms/reviews_replay?delivery={'a' * 64}&action=release").text

    assert re.search(r'class="button danger" href="[^"]+">Release</a>', page)
    assert '<button type="submit" class="danger">' in form


def test_an_unknown_number_of_rows_is_not_said_to_be_none():
    pages = an_incident(profile=None, held_rows=0, delivered_rows=0)
    outcome = a_standing(held=0).outcome.model_copy(update={"delivered_rows": 0})
    key = a_validation(profile=None, held_rows=0, delivered_rows=0).object_key
    pages.reviews.objects.pop(outcome.object_key)
    pages.reviews.put_record(outcome.model_copy(update={"validation_key": key}))

    page = pages.get(f"/incidents/{'a' * 64}").text

    assert "how many it has is unknown, because the file could not be read" in page
    assert "0 are held" not in page


@pytest.mark.parametrize("kind", ["pin", "release"])
def test_a_champion_is_champion_since_its_promotion_and_not_since_a_later_entry(kind):
    pages = an_incident()
    (entry,) = a_succession(pages.registry, 1)
    later = entry.model_copy(update={
        "generation": 2, "kind": kind, "previous_entry_sha256": entry.digest(), "token": "e" * 64,
        "subject": "f" * 20 if kind == "release" else None, "at": "2026-02-03T04:05:06+00:00",
    })  # fmt: skip
    pages.models.put_record(later)

    page = pages.get(f"/incidents/{'a' * 64}").text

    said = page.partition("champion since ")[2].partition("</p>")[0]
    assert "2026-01-05 00:00:01" in said
    assert "2026-02-03" not in said
    assert "(promotion, generation 1)" in said


def test_an_incident_leads_to_the_run_that_found_it_its_source_and_back_to_the_list():
    pages = an_incident()
    listed, moment = pages.reviews._info, datetime(2026, 1, 10, 2, 3, 4, tzinfo=UTC)

    def dated(key):
        info = listed(key)
        return type(info)(info.key, info.size_bytes, info.version_tag, moment)

    pages.reviews._info = dated
    then = "start_date_lte=2026-01-10T02%3A03%3A04%2B00%3A00"
    asked = (
        f"/dags/reviews_ingest/dagRuns?{then}&{then.replace('start_date_l', 'end_date_g')}&limit=3"
    )
    pages.answers["GET", asked] = Reply(200, {"dag_runs": [{"dag_run_id": "scheduled__1"}, 7]})

    page = pages.get(f"/incidents/{'a' * 64}").text

    assert "/dags/reviews_ingest/runs/scheduled__1" in links_of(page)
    assert "/retraining/runs/reviews_ingest/scheduled__1" in links_of(page)
    assert "/retraining/sources/web" in links_of(page)
    assert '<li><a href="/retraining/incidents">Incidents</a></li>' in page
    assert '<time datetime="2026-01-10T02:03:04Z">' in page


def test_the_report_shown_by_airflow_leads_back_and_the_stored_one_leads_nowhere():
    pages = an_incident(rules=(a_rule("label_agreement"),))
    key = a_validation(rules=(a_rule("label_agreement"),)).object_key

    page = pages.get(links.report_link(key).removeprefix(links.ROOT)).text

    assert f"/retraining/incidents/{'a' * 64}" in links_of(page)
    assert "/retraining/runbooks/poisoned-labels" in links_of(page)


# Runs


def run_of(pages, dag_id, *, state="success", conf=None, **results):
    where = WHERE.format(dag_id)
    pages.answers["GET", where] = Reply(200, {"state": state, "conf": conf or {}})
    for task, value in results.items():
        entry = f"{where}/taskInstances/{task}/xcomEntries/return_value"
        pages.answers["GET", entry] = Reply(200, {"value": value})
    return pages.get(f"/runs/{dag_id}/run").text


def failing(pages, dag_id, task="plan_replay", *, index=-1, error="ReplayError"):
    where = WHERE.format(dag_id)
    instance = {"task_id": task, "task_display_name": "Plan the replay", "map_index": index,
                "try_number": 2,
                "rendered_map_index": "web/r.csv" if index >= 0 else None}  # fmt: skip
    pages.answers["GET", f"{where}/taskInstances?state=failed&limit=50"] = Reply(
        200, {"task_instances": [{"task_id": "check_night", "map_index": -1}, instance]}
    )
    said = {
        "exc_type": error,
        "exc_value": f"It cannot be read. {HOSTILE} See: docs/runbooks/replay.md",
    }
    log = {"content": [{"event": "Hello"}, {"event": "Task failed", "error_detail": [said]}]}
    pages.answers["GET", f"{where}/taskInstances/{task}/logs/2?map_index={index}"] = Reply(200, log)


def test_a_failed_run_says_its_error_and_leads_to_the_log_of_the_task():
    pages = Pages()
    failing(pages, "reviews_replay")

    page = run_of(pages, "reviews_replay", state="failed")

    assert "Failed before it had a plan: Plan the replay. ReplayError: It cannot be read." in page
    assert "/dags/reviews_replay/runs/run/tasks/plan_replay" in links_of(page)
    assert "/retraining/runbooks/replay" in links_of(page)
    assert HOSTILE not in page


def test_a_failed_delivery_is_named_by_its_file_before_the_task_that_only_repeats_it():
    pages = Pages()
    failing(pages, "reviews_ingest", "delivery.validate", index=3)

    page = run_of(pages, "reviews_ingest", state="failed")

    assert page.index("Plan the replay (web/r.csv) failed.") < page.index("check_night failed.")
    assert "/dags/reviews_ingest/runs/run/tasks/delivery.validate/mapped/3" in links_of(page)


def incomplete(pages, files=1):
    """A night in which so many files could not be validated."""
    where = WHERE.format("reviews_ingest")
    failed = [("delivery.validate", n, "StoreUnavailableError") for n in range(files)]
    failed.insert(0, ("check_night", -1, "NightIncompleteError"))
    listed = [{"task_id": task, "map_index": n, "try_number": 1} for task, n, _ in failed]
    pages.answers["GET", f"{where}/taskInstances?state=failed&limit=50"] = Reply(
        200, {"task_instances": listed}
    )
    for task, n, error in failed:
        said = {"error_detail": [{"exc_type": error, "exc_value": "See its log."}]}
        pages.answers["GET", f"{where}/taskInstances/{task}/logs/1?map_index={n}"] = Reply(
            200, {"content": [said]}
        )


@pytest.mark.parametrize("files", [1, 12])
def test_a_night_whose_files_were_not_processed_is_not_one_without_files(files):
    """It says so, and offers to ingest the night again."""
    pages = Pages()
    incomplete(pages, files)
    night = {"night": "2026-01-09", "deliveries": 0}

    page = run_of(pages, "reviews_ingest", state="failed", summarize_night=night)
    quiet = run_of(Pages(), "reviews_ingest", summarize_night=night)

    assert "None of the delivered files was processed. Nothing is lost" in page
    assert "Nothing was delivered" not in page
    assert "Nothing was delivered" in quiet
    form = "/retraining/forms/reviews_ingest?night=2026-01-09"
    assert form in links_of(page)
    assert form not in links_of(quiet)
    assert page.count("failed.</strong>") == min(files + 1, failures.MOST_FAILURES)


@pytest.mark.parametrize("listed", [None, [], {"task_instances": 7}, {"task_instances": [7, {}]},
                                    {"task_instances": [{"task_id": ".."}]}])  # fmt: skip
def test_whatever_airflow_answers_about_failed_tasks_the_report_is_shown(listed):
    pages = Pages()
    pages.answers["GET", "/dags/reviews_replay/dagRuns/run/taskInstances?state=failed&limit=50"] = (
        Reply(200, listed)
    )

    assert "Failed before it had a plan" in run_of(pages, "reviews_replay", state="failed")


@pytest.mark.parametrize(
    "log",
    [None, {}, {"content": "x"}, {"content": ["a line"]},
     {"content": [{"error_detail": [{"exc_value": None}, 3]}]}],
)  # fmt: skip
def test_a_log_without_an_error_leaves_the_way_to_it(log):
    task = failures.Task(task_id="t", name="T", map_index=-1, about="", log_path="")

    assert failures.failure("reviews_replay", "run", task, log).error == "Its log says why."


def test_a_dry_run_of_a_rollback_shows_what_would_be_done():
    pages = Pages()
    plan = RollbackPlan(
        model_name="sentiment", champion_generation=2, champion_version="b" * 20,
        target_generation=1, target_version="c" * 20, reason="wrong on sequels",
    )  # fmt: skip
    pages.models.put_record(plan)

    page = run_of(
        pages, "sentiment_rollback", conf={"to": "previous", "dry_run": True, "reason": "r"},
        plan_rollback=f"s3://memory/{plan.object_key}",
    )  # fmt: skip

    assert f"A dry run: version {'c' * 20} would be put back as champion." in page
    assert f"{'b' * 20}, generation 2" in page
    assert "/retraining/forms/sentiment_rollback?to=previous" in links_of(page)


def test_a_dry_run_of_a_replay_shows_what_would_be_done():
    pages = Pages()
    plan = ReplayPlan(
        delivery=DELIVERY, number=1, follows="0" * 64, action="release", rows=None,
        verdict="PARTLY_ACCEPTED", why="37 rows count from now on.", accept=tuple(range(37)),
        quarantine=((37, ("label_unknown",)),), discarded_rows=0, held_rows=0,
        validation_key="k", reason="upstream says so",
    )  # fmt: skip
    pages.reviews.put_record(plan)

    page = run_of(pages, "reviews_replay", conf={"delivery": DELIVERY, "action": "release"},
                  plan_replay=f"s3://memory/{plan.object_key}")  # fmt: skip

    assert "A dry run: the delivery would become PARTLY_ACCEPTED." in page
    assert "37 more than before" in page
    again = f"/retraining/forms/reviews_replay?delivery={DELIVERY}&amp;action=release"
    assert again in links_of(page)


def test_a_run_that_goes_on_is_loaded_again_and_one_that_waits_says_for_what():
    pages = Pages()
    pages.answers["GET", "/dags/sentiment_rollback"] = Reply(200, {"is_paused": True})

    waiting = run_of(pages, "sentiment_rollback", state="queued")

    assert '<body data-refresh="10">' in waiting
    assert "The DAG is paused, so this run waits" in waiting
    assert "It has no plan yet: it is queued." in waiting
    assert "data-refresh=" not in run_of(pages, "sentiment_rollback").partition("<main")[0]


ASKED = [
    ("sentiment_rollback", {"to": "previous", "reason": f"Wrong {HOSTILE}", "dry_run": False},
     [("to", "previous"), ("reason", f"Wrong {ESCAPED}"), ("dry run", "no")]),
    ("sentiment_release", {"version": HOSTILE, "reason": "It was the data."},
     [("version", ESCAPED), ("reason", "It was the data."), ("dry run", "yes")]),
    ("reviews_replay", {"delivery": DELIVERY, "action": HOSTILE, "rows": [0, 7, HOSTILE],
                        "reason": "Upstream \u202e says so.", "dry_run": True},
     [("delivery", DELIVERY), ("action", ESCAPED), ("rows", f"0, 7, {ESCAPED}"),
      ("reason", "Upstream says so."), ("dry run", "yes")]),
]  # fmt: skip


@pytest.mark.parametrize("state", ["queued", "running", "failed"])
@pytest.mark.parametrize(("dag_id", "conf", "asked"), ASKED, ids=lambda one: str(one)[:18])
def test_a_run_without_a_plan_shows_what_was_asked_for(dag_id, conf, asked, state):
    page = run_of(Pages(), dag_id, state=state, conf=conf)

    assert re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", page) == asked
    assert HOSTILE not in page


def test_a_reason_of_any_length_leaves_the_page_short():
    page = run_of(Pages(), "sentiment_rollback", state="queued", conf={"reason": "so " * 90_000})

    assert "so ..." in page
    assert len(page) < 20_000


# Runbooks


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_a_runbook_renders_with_links_that_lead_somewhere(path):
    pages = Pages()
    where = "/runbooks" if path.stem == "README" else f"/runbooks/{path.stem}"

    page = pages.get(where).text

    assert "](" not in page
    targets = {link for link in links_of(page) if link.startswith("/retraining/runbooks/")}
    answers = {link: pages.get(link.removeprefix(links.ROOT)).status_code for link in targets}
    assert set(answers.values()) <= {200}


def test_a_heading_can_be_linked_and_a_page_that_is_not_installed_is_named_instead():
    text = "[one](replay.md#how) [two](#what-to-do) [three](../commands.md#all) <b>x</b>\n\n"

    page = own_page(f"{text}## What to do\n", link_under("/prefix"), name_of)

    assert '<a href="/prefix/retraining/runbooks/replay#how">one</a>' in page
    assert '<a href="#what-to-do">two</a> three (docs/commands.md) ' in page
    assert '<h2 id="what-to-do">' in page
    assert "<b>" not in page


def test_what_is_folded_is_all_there():
    page = folded(html("Lead.\n\n## One\n\na\n\n## Two\n\nb\n"))

    assert page.startswith("<p>Lead.</p>")
    assert page.count("<details><summary><h2>") == page.count("</details>") == 2


# Forms


def test_the_hint_of_a_list_is_made_of_the_dags_own_examples():
    params = {
        "candidates": {"schema": {"type": ["null", "array"], "items": {"type": "string"},
                                  "examples": ["nb", "svm"]}},
        "rows": {"schema": {"type": ["null", "array"], "items": {"type": "integer"}}},
        "names": {"schema": {"type": ["null", "array"], "items": {"type": "string"}}},
    }  # fmt: skip

    form = forms.form({"dag_id": "x", "params": params}, {})

    assert [field.example for field in form.fields] == ['["nb", "svm"]', "[0, 7]", '["one", "two"]']


DETAILS = {
    "dag_id": "reviews_replay",
    "params": {
        "delivery": {"value": None, "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
        "action": {
            "value": "revalidate",
            "schema": {"type": "string", "enum": ["revalidate", "release", "discard"]},
        },
        "reason": {"value": None, "schema": {"type": "string"}},
        "dry_run": {"value": True, "schema": {"type": "boolean"}},
    },
}  # fmt: skip


def refuse():
    raise StoreUnavailableError("the store did not answer")


def bulk(count):
    pages = Pages()
    pages.answers["GET", "/dags/reviews_replay/details"] = Reply(200, DETAILS)
    pages.answers["POST", "/dags/reviews_replay/dagRuns"] = Reply(200, {"dag_run_id": "manual__1"})
    names = [f"{number:064x}" for number in range(count)]
    asked = "&".join(f"delivery={name}" for name in names)
    shown = pages.get(f"/forms/reviews_replay?{asked}&action=discard").text
    seal = shown.partition('name="_seal" value="')[2].partition('"')[0]
    sent = {"_seal": seal, "delivery": "\n".join(names), "action": "discard", "reason": "all old"}
    return pages, names, shown, pages.client.post("/forms/reviews_replay", data=sent)


def test_the_form_of_a_replay_says_which_file_night_and_rows_it_decides_on():
    pages = an_incident()
    pages.answers["GET", "/dags/reviews_replay/details"] = Reply(200, DETAILS)
    where = f"/forms/reviews_replay?delivery={'a' * 64}"

    page = pages.get(f"{where}&action=discard").text
    outcome = a_standing(key=a_validation().object_key).outcome
    pages.reviews.objects[outcome.object_key] = b"torn"
    torn = pages.get(where)
    pages.open_stores = refuse
    unreachable = pages.get(where)

    named = page.partition("<tbody>")[2].partition("</tbody>")[0]
    assert f'/retraining/incidents/{"a" * 64}">landing/web/r.csv</a>' in named
    assert re.findall(r"<td class=\"(?:keep|number)\">([^<]*)", named) == [
        "2026-01-09", "HELD", "40", "0", "0", "40",
    ]  # fmt: skip
    for without in (torn, unreachable):
        assert (without.status_code, "<tbody>" in without.text) == (200, False)
        assert "Start a run of reviews_replay" in without.text


def test_several_deliveries_get_a_run_each_from_one_form():
    pages, names, shown, answer = bulk(3)

    started = [body["conf"]["delivery"] for method, _, body in pages.asked if method == "POST"]
    assert started == names
    assert "Start 3 runs of reviews_replay" in shown
    assert f">{' '.join(names)}</textarea>" in shown
    assert 'class="danger"' in shown
    assert "3 of 3 runs of reviews_replay were started." in answer.text
    assert "/retraining/runs/reviews_replay/manual__1" in links_of(answer.text)


def test_too_many_deliveries_at_once_start_nothing():
    pages, _, _, answer = bulk(forms.MOST_AT_ONCE + 1)

    assert answer.status_code == 400
    assert "at most 50 can be started at once" in answer.text
    assert [method for method, _, _ in pages.asked if method == "POST"] == []


# Champion, decisions


def test_a_version_that_was_rolled_back_has_a_button_to_release_it():
    pages = Pages()
    first = promoted(pages.registry, "one")
    second = promoted(pages.registry, "two", against=first)
    back = second.model_copy(update={
        "generation": 3, "kind": "rollback", "subject": second.version, "version": first.version,
        "previous_entry_sha256": second.digest(), "token": "e" * 64,
    })  # fmt: skip
    pages.models.put_record(back)

    page = pages.get("/champion").text

    assert f"/retraining/forms/sentiment_release?version={second.version}" in links_of(page)
    assert "(rollback)." in page
    assert "When it was first promoted:" in page


def test_a_decision_leads_with_what_decided_and_folds_the_rest():
    pages = Pages()
    key, _ = decided(pages.registry, a_version(pages.registry, "one"))

    page = pages.get(links.decision_link(key).removeprefix(links.ROOT)).text

    assert page.index("PROMOTE") < page.index("<details>")
    assert "All rules of the gate" in page.partition("<details>")[2]
    assert links.compare_link(key).replace("&", "&amp;") in links_of(page)


def test_a_floor_decides_before_too_few_rows():
    pages = Pages()
    rules = [
        {"rule": "rows", "group": "sufficiency", "is_passed": False},
        {"rule": "accuracy", "group": "floor", "is_passed": False},
        {"rule": "recall", "group": "floor", "is_passed": True},
    ]
    common = {"observed": None, "limit": None, "sentence": "So."}
    _, decision = decided(
        pages.registry, a_version(pages.registry, "one"), verdict="INCONCLUSIVE",
        rules=[rule | common for rule in rules],
    )  # fmt: skip

    assert [rule.rule for rule in sentences.deciding(decision)] == ["accuracy", "rows"]
    assert sentences.passed_sentence(decision) == "1 other rule passed."


@pytest.mark.parametrize("dag_id", links.DAGS)
@pytest.mark.parametrize("person", ["", "olga on ", "on airflow x y on "])
def test_who_started_a_run_is_named_and_leads_to_it(dag_id, person):
    actor = links.actor(f"{person}airflow {dag_id} manual__1")

    assert actor.run == f"/dags/{dag_id}/runs/manual__1"
    assert actor.words == (f"{person.removesuffix(' on ')}, {dag_id}" if person else dag_id)


def a_night_with_a_held_file(*actions):
    """The report of a night whose one file was held, after these replays."""
    pages = Pages()
    outcome = a_standing().outcome
    pages.reviews.put_record(outcome)
    pages.reviews.put_record(Receipt(
        landing_key=outcome.landing_key, version_tag="1", night="2026-01-09", delivery="a" * 64,
        verdict="HELD", why="Because.", delivered_rows=40, accepted_rows=0, quarantined_rows=0,
        held_rows=40,
    ))  # fmt: skip
    before = outcome
    for number, (action, verdict) in enumerate(actions, start=1):
        before = Replay(
            delivery="a" * 64, number=number, follows=before.digest(), action=action,
            verdict=verdict, why="So.", delivered_rows=40,
            accepted_rows=37 if verdict == "PARTLY_ACCEPTED" else 0, quarantined_rows=0,
            held_rows=40 if verdict == "HELD" else 0, discarded_rows=0, validation_key="k",
            actor="vera on airflow reviews_replay run", reason=f"Sent again {HOSTILE}",
            token="0" * 64, at="2026-01-10T08:00:00Z", accepted=None, quarantined=None,
        )  # fmt: skip
        pages.reviews.put_record(before)
    return run_of(pages, "reviews_ingest", summarize_night={"night": "2026-01-09"})


@pytest.mark.parametrize(
    ("action", "verdict", "did"),
    [
        ("discard", "DISCARDED", "discarded"),
        ("release", "PARTLY_ACCEPTED", "released"),
        ("revalidate", "PARTLY_ACCEPTED", "validated again"),
    ],
)
def test_the_report_of_a_night_says_what_became_of_a_held_file_by_whom_and_why(
    action, verdict, did
):
    page = a_night_with_a_held_file(("revalidate", "HELD"), (action, verdict))

    assert f"Held at first; {did} by vera, reviews_replay: Sent again" in page
    assert "1 file held at first: a person decided since." in page
    assert f">{verdict}</td>" in page
    assert ">HELD</td>" not in page
    assert "none of their rows count" not in page
    assert "Not affected" not in page
    assert HOSTILE not in page


def test_a_file_that_is_still_held_is_called_so_in_the_report_of_its_night():
    page = a_night_with_a_held_file(("revalidate", "HELD"))

    assert "1 file held: none of their rows count." in page
    assert ">HELD</td>" in page
    assert "Held at first" not in page
    assert "The champion stays in use" in page


@pytest.mark.parametrize(
    ("error", "says", "runbook"),
    [
        ("StoreUnavailableError", "It timed out.", "retrain-failed#storeunavailableerror"),
        ("KeyError", "'a'", "retrain-failed#any-other-error"),
        ("ReplayError", "See docs/runbooks/replay.md", "replay"),
        ("DigestMismatchError", str(DigestMismatchError(uri="u", expected="e", found="f")),
         "retrain-failed#digestmismatcherror"),
    ],
)  # fmt: skip
def test_each_error_of_a_run_leads_to_its_section_of_the_runbooks(error, says, runbook):
    pages = Pages()
    where = WHERE.format("sentiment_retrain")
    pages.answers["GET", f"{where}/taskInstances?state=failed&limit=50"] = Reply(
        200, {"task_instances": [{"task_id": "verify", "map_index": -1}]}
    )
    log = {"content": [{"error_detail": [{"exc_type": error, "exc_value": says}]}]}
    pages.answers["GET", f"{where}/taskInstances/verify/logs/1?map_index=-1"] = Reply(200, log)

    page = run_of(pages, "sentiment_retrain", state="failed")

    box = page[page.index('<div class="note bad">') :].partition("</div>")[0]
    assert f'href="/retraining/runbooks/{runbook}"' in box


def test_the_advice_on_changed_bytes_breaks_nothing_more():
    said = str(DigestMismatchError(uri="s3://models/m", expected="e", found="f"))

    assert "remove" not in said
    assert "Restore it from a backup" in said
    assert "roll back" in said
