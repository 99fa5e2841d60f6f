"""What pages say of champions, decisions and runs, from records, and what forms send."""

import re
import time
from datetime import UTC, datetime

import pytest

from pipelines.core import links
from pipelines.core.keys import sibling
from pipelines.pages.markdown_page import html
from pipelines.pages.site import Reply, Viewer
from pipelines.pages.views import champion, decisions, forms, runs
from pipelines.pages.views.champion import Evidence
from pipelines.records.decisions import ApprovalRecord, GateRule
from pipelines.records.deliveries import MissingDelivery, Receipt
from tests.support.made.judgement_builders import a_decision_on, an_evaluation
from tests.support.made.registry_builders import a_log_entry, a_version, decided, promoted
from tests.support.page_site import DELIVERY, Pages, a_succession

NOW = datetime(2026, 2, 1, tzinfo=UTC)
OPERATOR = Viewer(name="olga", may_start=lambda _dag: True, may_read=lambda _dag: True)
READER = Viewer(name="vera", may_start=lambda _dag: False, may_read=lambda _dag: True)


def line_of(generation, version, kind="promotion", **changes):
    key = f"sentiment/versions/{version * 20}/gates/{generation - 1:08d}-{'d' * 16}/decision.json"
    values = {
        "version": version * 20, "reference": "a" * 20, "kind": kind, "decision_key": key,
        "at": f"2026-01-0{generation}T03:00:00+00:00",
    }  # fmt: skip
    return a_log_entry(generation, **(values | changes))


def page_on(*history, viewer=OPERATOR, page=1):
    evidence = Evidence(history=history, judged={}, manifest=None)
    return champion.succession(evidence, viewer, page)


# Champion


def test_the_succession_marks_who_is_champion_reference_and_withdrawn():
    shown = page_on(line_of(1, "a"), line_of(2, "b"), line_of(3, "a", "rollback", subject="b" * 20))

    assert [(line.generation, line.marks) for line in shown.lines] == [
        (3, ("champion", "reference")),
        (2, ("withdrawn",)),
        (1, ("reference",)),
    ]


def test_only_a_former_champion_that_was_not_withdrawn_can_be_put_back():
    shown = page_on(
        line_of(1, "a"), line_of(2, "b"), line_of(3, "a", "rollback", subject="b" * 20),
        line_of(4, "c"),
    )  # fmt: skip

    offered = {line.generation: line.rollback.link for line in shown.lines if line.rollback}
    assert offered == {1: f"/retraining/forms/sentiment_rollback?to={'a' * 20}"}


def test_a_pin_does_not_change_since_when_the_champion_answers():
    shown = page_on(line_of(1, "a"), line_of(2, "b"), line_of(3, "b", "pin", reason="a reason"))

    assert shown.present.version == "b" * 20
    assert shown.present.since == "2026-01-02 03:00:00 UTC"
    assert shown.present.generation == 2


def test_a_reader_without_the_right_is_told_so_instead_of_getting_a_button():
    shown = page_on(line_of(1, "a"), line_of(2, "b"), viewer=READER)

    assert [button.is_allowed for button in shown.buttons] == [False, False]
    pages = Pages(may_start=lambda _dag: False)
    a_succession(pages.registry, 2)
    text = pages.get("/champion").text
    assert 'class="button"' not in text
    assert "needs the right to start runs of sentiment_rollback" in text
    assert "/forms/" not in text


FIRST = f"Version {'a' * 20}, generation 1, since 2026-01-01 03:00:00 UTC."
SECOND = f"Version {'b' * 20}, generation 2, since 2026-01-02 03:00:00 UTC."


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("2026-01-02T02:59:59", FIRST),
        ("2026-01-02T03:00", SECOND),
        ("2026-01-02T04:00+01:00", SECOND),
        ("2025-12-31T00:00", "There was no champion yet."),
    ],
)  # fmt: skip
def test_who_answered_at_a_moment_in_utc_unless_it_names_a_zone(asked, sentence):
    assert champion.answering([line_of(1, "a"), line_of(2, "b")], asked, NOW).sentence == sentence


def test_what_is_no_moment_is_said_on_the_page():
    answer = Pages().get("/champion?at=yesterday%3Cscript%3E")

    assert answer.status_code == 400
    assert "is not a time" in answer.text
    assert "yesterday<script>" not in answer.text


def test_a_thousand_generations_are_shown_fifty_at_a_time():
    pages = Pages()
    a_succession(pages.registry, 1000)

    first, last = pages.get("/champion").text, pages.get("/champion?page=20").text

    assert "page 1 of 20, 1,000 generations" in first
    assert first.count('<th scope="row"') == last.count('<th scope="row"') == 50
    assert "Older" in first
    assert "Newer</a>" not in first
    assert "generations 941 to 1000" in first
    assert pages.get("/champion?page=21").status_code == 404


def test_a_gap_is_shown_where_a_decision_cannot_be_read():
    pages = Pages()
    a_succession(pages.registry, 1)

    answer = pages.get("/champion")

    assert answer.status_code == 200
    assert "The decision cannot be read. See: python -m pipelines champion fsck" in answer.text


def test_the_champion_is_shown_with_its_verdict_and_how_many_reviews_judged_it():
    pages = Pages()
    entry = promoted(pages.registry, "one")

    text = pages.get("/champion").text

    assert entry.version in text
    assert "<strong>PROMOTE</strong>: Because." in text
    assert "accuracy 91.00%, log loss 0.2200, 5,000 reviews" in text


# Decisions


def a_rule(name, group, *, is_passed=True, **changes):
    values = {
        "rule": name, "group": group, "is_passed": is_passed, "observed": 0.25, "limit": 0.5,
        "sentence": f"About {name}.",
    }  # fmt: skip
    return GateRule(**(values | changes))


def test_rules_are_grouped_by_what_they_ask_and_failures_come_first():
    rules = (
        a_rule("faster", "gain", is_passed=False),
        a_rule("good", "floor"),
        a_rule("bad", "floor", is_passed=False, low=-0.125, high=1234.5, detectable=None),
    )

    shown = decisions.grouped(rules)

    assert [(group.title, [rule.rule for rule in group.rules]) for group in shown] == [
        ("Is it good enough in itself?", ["bad", "good"]),
        ("Is it better?", ["faster"]),
    ]
    bad, faster = shown[0].rules[0], shown[1].rules[0]
    assert (bad.answer, bad.tone, bad.bounds, bad.detectable) == (
        "FAIL",
        "bad",
        "-0.125 to 1,234",
        "-",
    )
    assert (faster.answer, faster.tone) == ("no", "dim")  # fmt: skip


KEY = f"sentiment/versions/{'b' * 20}/gates/00000003-{'a' * 16}/decision.json"


@pytest.mark.parametrize(
    ("decision", "said", "entry", "followed"),
    [
        ({}, None, {"decision_key": KEY}, "It became champion: generation 4."),
        ({}, None, None, "It may be promoted but was not, for example in a dry run."),
        ({"verdict": "REJECT", "approval": "impossible"}, None, None, "The champion stayed."),
        ({"approval": "needed"}, "reject", None, "A person rejected it."),
        ({"approval": "needed"}, None, None,
         "It waits for a person, under Browse, Required Actions."),
        ({"approval": "needed"}, None, {}, "It has no effect: the champion changed meanwhile."),
        ({}, None, {"kind": "pin", "decision_key": KEY},
         "It has no effect: the champion changed meanwhile."),
    ],
)  # fmt: skip
def test_what_followed_a_decision_is_said(decision, said, entry, followed):
    made = a_decision_on(an_evaluation(), **decision)
    approval = said and ApprovalRecord(
        model_name="sentiment", version=made.version, policy="a" * 64, decision_sha256="d" * 64,
        champion_generation=3, answer=said, actor="olga", reason="because",
    )  # fmt: skip
    next_entry = None if entry is None else a_log_entry(4, **entry)

    assert decisions.followed(made, KEY, approval or None, next_entry) == followed


def test_a_broken_decision_is_a_gap_among_the_others():
    pages = Pages()
    good, _ = decided(pages.registry, a_version(pages.registry, "good"))
    bad, _ = decided(pages.registry, a_version(pages.registry, "bad"))
    pages.models.objects[bad] = pages.models.objects[bad].replace(b"Because.", b"Perhaps.")

    answer = pages.get("/decisions")

    assert answer.status_code == 200
    assert answer.text.count('<th scope="row"') == 2
    assert "Because." in answer.text
    assert "Perhaps." not in answer.text
    assert "It cannot be trusted" in answer.text
    assert pages.get(links.decision_link(bad).removeprefix(links.ROOT)).status_code == 409
    assert pages.get(links.decision_link(good).removeprefix(links.ROOT)).status_code == 200


def test_an_evaluation_that_was_changed_is_not_shown():
    pages = Pages()
    key, _decision = decided(pages.registry, a_version(pages.registry, "one"))
    evaluation = sibling(key, "evaluation.json")
    stored = pages.models.objects[evaluation]
    pages.models.objects[evaluation] = stored.replace(b"0.91", b"0.99")

    answer = pages.get(links.decision_link(key).removeprefix(links.ROOT))

    assert answer.status_code == 409
    assert "was changed after" in answer.text


def test_html_and_links_in_markdown_stay_text():
    page = html("<script>x</script> [a](javascript:alert(1)) ![b](http://evil.example/x.png)\n")

    assert "<script>" not in page
    assert "<img" not in page
    assert "evil.example" not in page
    assert "<a " not in page
    assert "javascript:alert(1)" in page


def test_numbers_in_a_markdown_table_are_set_right_without_a_style_of_their_own():
    page = html("| name | n |\n| --- | ---: |\n| a | 1 |\n")

    assert '<th scope="col" class="number">n</th>' in page
    assert '<td class="number">1</td>' in page
    assert "style=" not in page


# Runs


def a_receipt(verdict="ACCEPTED", *, accepted=8, quarantined=2, held=0, **changes):
    values = {
        "landing_key": "landing/web/2026-01-05/a.csv", "version_tag": "t", "night": "2026-01-05",
        "delivery": DELIVERY, "verdict": verdict, "why": "So.",
        "delivered_rows": accepted + quarantined + held,
        "accepted_rows": accepted, "quarantined_rows": quarantined, "held_rows": held,
    }  # fmt: skip
    return Receipt(**(values | changes))


def a_run_of(pages, dag_id, **results):
    """Airflow's answers on a run whose tasks returned these."""
    where = f"/dags/{dag_id}/dagRuns/run"
    state = {"state": "success", "start_date": "2026-01-06T02:00:01.123Z"}
    pages.answers["GET", where] = Reply(200, state)
    for task, value in results.items():
        entry = f"{where}/taskInstances/{task}/xcomEntries/return_value"
        pages.answers["GET", entry] = Reply(200, {"value": value})
    return pages.get(f"/runs/{dag_id}/run")


def test_the_report_of_a_night_adds_up_and_says_what_was_not_affected():
    pages = Pages()
    held = a_receipt("HELD", accepted=0, quarantined=0, held=5, landing_key="landing/b.csv",
                     delivery="f" * 64)  # fmt: skip
    for receipt in (a_receipt(), held):
        pages.reviews.put_record(receipt)
    overdue = MissingDelivery(night="2026-01-05", source="app", expected_every_days=1,
                              last_delivered_for=None)  # fmt: skip
    pages.reviews.put_record(overdue)

    answer = a_run_of(pages, "reviews_ingest", summarize_night={"night": "2026-01-05"})

    lines = [runs.delivered(one, {}, {}) for one in (a_receipt(), held)]
    total = runs.totals(lines)
    assert total.delivered == total.accepted + total.quarantined + total.held == 15
    assert "2 files processed, 8 rows count. 1 file held" in answer.text
    assert "Not affected: 1 file of this night, with 8 rows that count." in answer.text
    assert f"/retraining/incidents/{'f' * 64}" in answer.text
    assert "is overdue" in answer.text
    assert 'href="/retraining/runbooks/missing-delivery"' in answer.text
    assert "docs/runbooks" not in answer.text
    assert '<time datetime="2026-01-06T02:00:01Z">2026-01-06 02:00:01 UTC</time>' in answer.text


@pytest.mark.parametrize("others", [0, 1])
def test_a_receipt_that_cannot_be_read_is_named_and_nothing_is_added_up(others):
    pages = Pages()
    torn = "receipts/2026-01-05/torn.json"
    pages.reviews.put(torn, b"{")
    for _ in range(others):
        pages.reviews.put_record(a_receipt())

    text = a_run_of(pages, "reviews_ingest", summarize_night={"night": "2026-01-05"}).text

    assert 'class="note bad"' in text
    assert torn in text
    assert "the records of 1 of them cannot be read" in text
    assert text.count("landing/web/2026-01-05/a.csv") == others
    assert "Nothing was delivered" not in text
    assert "rows count" not in text
    assert "<tfoot>" not in text


@pytest.mark.parametrize(
    "torn", [f"deliveries/{DELIVERY}/outcome.json", "missing/2026-01-05/app.json"]
)
def test_other_torn_records_of_a_night_are_named_beside_its_sums(torn):
    pages = Pages()
    pages.reviews.put_record(a_receipt())
    pages.reviews.put(torn, b"{")

    text = a_run_of(pages, "reviews_ingest", summarize_night={"night": "2026-01-05"}).text

    assert torn in text
    assert "<tfoot>" in text


def test_a_night_that_is_not_summed_up_yet_says_so():
    assert "not finished yet" in a_run_of(Pages(), "reviews_ingest").text


def test_a_night_whose_name_is_not_text_says_nothing_of_the_store():
    answer = a_run_of(Pages(), "reviews_ingest", summarize_night={"night": ["2026-01-05"]})

    assert answer.status_code == 200
    assert "not finished yet" in answer.text


def test_the_report_of_a_retraining_leads_to_its_decision_and_says_who_is_champion():
    pages = Pages()
    entry = promoted(pages.registry, "one")

    answer = a_run_of(
        pages, "sentiment_retrain", decide=f"s3://memory/{entry.decision_key}",
        promote="s3://memory/sentiment/log/00000001.json", has_work=True,
    )  # fmt: skip

    assert "Its version became champion." in answer.text
    assert links.decision_link(entry.decision_key) in answer.text


def test_the_report_of_a_retraining_shows_no_decision_that_was_changed():
    pages = Pages()
    key, _ = decided(pages.registry, a_version(pages.registry, "one"))
    pages.models.objects[key] = pages.models.objects[key].replace(b"Because.", b"Perhaps.")

    answer = a_run_of(pages, "sentiment_retrain", decide=f"s3://memory/{key}", has_work=True)

    assert answer.status_code == 200
    assert "Some records of this run cannot be read" in answer.text
    assert "Perhaps." not in answer.text


@pytest.mark.parametrize(
    ("dag_id", "results", "sentence"),
    [
        ("sentiment_retrain", {"has_work": False}, "Skipped: this version was decided on before"),
        ("sentiment_retrain", {}, "It ended without a decision."),
        ("sentiment_retrain", {"decide": "s3://elsewhere/decision.json"}, "without a decision."),
        ("sentiment_retrain", {"decide": "s3://memory/a/decision.json"}, "without a decision."),
        ("sentiment_rollback", {"apply_rollback": "s3://memory/../x"}, "It ended without a plan."),
        ("sentiment_rollback", {"plan_rollback": "s3://memory/../x"}, "It ended without a plan."),
        ("sentiment_release", {}, "It ended without a plan."),
        ("sentiment_release", {"plan_release": "a" * 20}, "A dry run: version"),
        ("reviews_replay", {}, "It ended without a plan."),
        ("somebody_elses_dag", {}, "This DAG is not part of the retraining loop"),
    ],
)
def test_every_other_run_has_a_sentence(dag_id, results, sentence):
    answer = a_run_of(Pages(), dag_id, **results)

    assert answer.status_code == 200
    assert sentence in answer.text


@pytest.mark.parametrize("status", [401, 403])
def test_a_run_that_airflow_does_not_show_to_this_reader_is_not_told_by_us(status):
    pages = Pages()
    pages.answers["GET", "/dags/reviews_ingest/dagRuns/run"] = Reply(status, None)

    assert pages.get("/runs/reviews_ingest/run").status_code == status


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_airflow_that_does_not_answer_is_not_a_page_that_is_not_there(status):
    pages = Pages()
    pages.answers["GET", "/dags/reviews_ingest/dagRuns/run"] = Reply(status, None)

    answer = pages.get("/runs/reviews_ingest/run")

    assert answer.status_code == status
    assert "Airflow does not answer" in answer.text
    assert "This page does not exist" not in answer.text


# Forms

DETAILS = {
    "dag_id": "reviews_replay",
    "is_paused": True,
    "doc_md": "### Look again\n\nMore.",
    "params": {
        "delivery": {"value": None, "description": "Its sha256.",
                     "schema": {"type": "string", "title": "Delivery"}},
        "action": {"value": "revalidate", "description": "What.",
                   "schema": {"type": "string", "enum": ["revalidate", "release"]}},
        "rows": {"value": None, "description": "Which.", "schema": {"type": ["null", "array"]}},
        "seed": {"value": None, "description": "N.", "schema": {"type": ["null", "integer"]}},
        "reason": {"value": None, "description": "Kept.",
                   "schema": {"type": "string", "minLength": 5, "maxLength": 500}},
        "dry_run": {"value": True, "description": "Only show.", "schema": {"type": "boolean"}},
    },
}  # fmt: skip
START = ("POST", "/dags/reviews_replay/dagRuns")


def form_pages(**changes):
    pages = Pages(**changes)
    pages.answers["GET", "/dags/reviews_replay/details"] = Reply(200, DETAILS)
    pages.answers[START] = Reply(200, {"dag_run_id": "manual__1"})
    return pages


def a_seal(key="secret", reader="vera", dag_id="reviews_replay", *, hours=1):
    return forms.seal(key, reader, dag_id, int(time.time()) + hours * 3600)


def send(pages, headers=None, **fields):
    sealed = {"_seal": a_seal()}
    return pages.client.post("/forms/reviews_replay", data=sealed | fields, headers=headers or {})


def test_a_link_opens_the_form_filled_in_and_the_rest_has_the_dags_defaults():
    filled = {"delivery": DELIVERY, "rows": [0, 7], "action": "release"}
    link = links.form_link("reviews_replay", filled)

    shown = form_pages().get(link.removeprefix(links.ROOT)).text

    assert f'value="{DELIVERY}"' in shown
    assert 'value="[0,7]"' in shown
    assert '<option value="release" selected>' in shown
    assert 'name="dry_run" value="true" checked' in shown
    assert "This DAG is paused" in shown


def test_a_link_switches_no_dry_run_off_and_gives_no_reason():
    shown = form_pages().get("/forms/reviews_replay?dry_run=false&reason=all+fine&action=release")

    assert 'name="dry_run" value="true" checked' in shown.text
    assert "all fine" not in shown.text
    assert '<option value="release" selected>' in shown.text


def test_a_form_sends_what_the_dag_takes_and_leads_to_the_run():
    pages = form_pages()

    answer = send(pages, delivery=DELIVERY, action="release", rows="[0, 7]", seed="",
                  reason=" It was mended. ")  # fmt: skip

    (sent,) = [body for method, _, body in pages.asked if method == "POST"]
    assert sent == {
        "conf": {"delivery": DELIVERY, "action": "release", "rows": [0, 7], "seed": None,
                 "reason": "It was mended.", "dry_run": False},
        "logical_date": None,
    }  # fmt: skip
    assert answer.status_code == 303
    assert answer.headers["location"] == "/retraining/runs/reviews_replay/manual__1"


@pytest.mark.parametrize(
    ("reply", "fields", "said"),
    [
        (Reply(400, {"detail": "reason is too short <b>"}), {}, "reason is too short &lt;b&gt;"),
        (Reply(409, None), {}, "it gave no reason"),
        (Reply(422, {"detail": [{"msg": "no such field"}]}), {}, "no such field"),
        (None, {"rows": "first two"}, "rows: &#39;first two&#39; is not a list such as"),
        (None, {"seed": "seven"}, "seed: &#39;seven&#39; is not a number."),
        (None, {"seed": "[7]"}, "seed: &#39;[7]&#39; is not a number."),
        (None, {"seed": "NaN"}, "seed: &#39;NaN&#39; is not a number."),
        (None, {"seed": "1e999"}, "seed: &#39;1e999&#39; is not a number."),
        (None, {"rows": "[" * 20_000}, "[[[&#39; is not a list such as"),
        (None, {"rows": "[[1]]"}, "rows: &#39;[[1]]&#39; is not a list such as"),
        (None, {"rows": "[-Infinity]"}, "[-Infinity]&#39; is not a list such as"),
        (None, {"rows": '["\\ud800"]'}, "is not a list such as"),
    ],
)
def test_what_is_wrong_is_said_beside_what_was_typed(reply, fields, said):
    pages = form_pages()
    if reply:
        pages.answers[START] = reply

    answer = send(pages, **({"delivery": DELIVERY, "reason": "typed before"} | fields))

    assert answer.status_code == 400
    assert said in answer.text
    assert "typed before" in answer.text
    assert 'value="true" checked' not in answer.text  # it was switched off, and stays off


def test_a_reader_without_the_right_sees_no_form_and_can_send_none():
    pages = form_pages(may_start=lambda _dag: False)

    assert "<form" not in pages.get("/forms/reviews_replay").text
    assert send(pages, delivery=DELIVERY).status_code == 403
    assert [method for method, _, _ in pages.asked if method == "POST"] == []


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({}, {"_seal": ""}),
        ({}, {"_seal": "é" * 64}),
        ({}, {"_seal": "9" * 5_000 + "." + "0" * 64}),
        ({}, {"_seal": a_seal(reader="olga")}),
        ({}, {"_seal": a_seal(dag_id="sentiment_rollback")}),
        ({}, {"_seal": a_seal(key="guessed")}),
        ({}, {"_seal": a_seal(hours=-1)}),
        ({}, {"_seal": "9" * 12 + "." + a_seal(hours=-1).partition(".")[2]}),
        ({"sec-fetch-site": "cross-site"}, {}),
        ({"sec-fetch-site": "same-site"}, {}),
    ],
)
def test_what_another_site_or_another_reader_made_is_not_sent(headers, fields):
    pages = form_pages()

    answer = send(pages, headers, **({"delivery": DELIVERY} | fields))

    assert answer.status_code == 403
    assert [method for method, _, _ in pages.asked if method == "POST"] == []


def test_a_form_as_it_was_shown_can_be_sent_for_hours_and_not_for_ever():
    pages = form_pages()
    (shown,) = re.findall(r'name="_seal" value="([^"]+)"', pages.get("/forms/reviews_replay").text)
    until = int(shown.partition(".")[0])
    asked = (shown, "secret", "vera", "reviews_replay")

    assert send(pages, _seal=shown, delivery=DELIVERY).status_code == 303
    assert forms.is_sealed(*asked, now=until)
    assert not forms.is_sealed(*asked, now=until + 1)


def test_airflow_has_the_last_word_on_who_may_start_a_run():
    pages = form_pages()
    pages.answers[START] = Reply(403, {"detail": "Forbidden"})

    assert send(pages, delivery=DELIVERY).status_code == 403


def test_a_form_of_any_size_is_not_read_to_its_end():
    answer = send(form_pages(), reason="x" * (forms.MOST_BYTES + 1))

    assert answer.status_code == 413
    assert "65,536 bytes" in answer.text


def test_only_the_dags_of_the_loop_have_a_form():
    pages = form_pages()

    assert pages.get("/forms/somebody_elses_dag").status_code == 404
    assert pages.asked == []


def test_the_card_of_a_version_whose_snapshot_is_gone_is_not_found_in_words():
    pages = Pages()
    key, _ = decided(pages.registry, a_version(pages.registry, "one"))

    answer = pages.get(links.card_link(key).removeprefix(links.ROOT))

    assert answer.status_code == 404
    assert "This model card of version" in answer.text
