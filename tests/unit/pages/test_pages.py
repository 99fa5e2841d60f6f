"""Every page: who gets it, what the browser is told, how faults end, and that texts stay texts."""

import base64
import hashlib
import html
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from pipelines import pages
from pipelines.core import links
from pipelines.core.errors import (
    BucketMissingError,
    StoreRefusedError,
    StoreUnavailableError,
    UnsafeStoreError,
)
from pipelines.core.keys import report_key
from pipelines.core.record import sha256_of
from pipelines.pages.markdown_page import own_page
from pipelines.pages.site import Reply
from tests.support.made.made_validations import a_delivery, a_validation
from tests.support.made.registry_builders import a_version, decided, promoted
from tests.support.page_site import BASIS, DELIVERY, Outline, Pages, a_succession, links_of

PROJECT = Path(__file__).resolve().parents[3]
VERSION = "a" * 20
SAMPLES = {
    "{version}": VERSION,
    "{folder}": f"00000000-{'d' * 16}",
    "{dag_id}": "sentiment_rollback",
    "{run_id}": "manual__2026-01-05T00:00:00+00:00",
    "{delivery}": DELIVERY,
    "{basis}": BASIS,
    "{night}": "2026-01-05",
    "{source}": "web",
    "{name}": "held-delivery",
}
HOSTILE = "<script>alert(1)</script>{{7*7}}<img src=x onerror=alert(1)>\u202e\x07=cmd()"


def sample(route):
    """The path of a route with something valid for each of its parts."""
    return re.sub(r"\{\w+\}", lambda found: SAMPLES[found[0]], route.path)


def all_routes(app):
    return [(method, sample(route)) for route in app.routes for method in route.methods]


# Who gets in


def test_there_is_nothing_but_pages():
    assert all(isinstance(route, APIRoute) for route in Pages().app.routes)


@pytest.mark.parametrize("status", [401, 403])
def test_every_route_refuses_those_who_may_not_read(status):
    pages = Pages(refusal=status)
    routes = all_routes(pages.app)

    answers = {route: pages.client.request(*route).status_code for route in routes}

    assert len(routes) >= 8
    assert set(answers.values()) == {status}, answers


TOLD_OF = {
    links.RETRAIN: {"champion", "decisions", "compare", "models"},
    links.INGEST: {"incidents", "reports", "runbooks", "sources"},
    SAMPLES["{dag_id}"]: {"runs", "forms"},
    links.REPLAY: set(),
    links.RELEASE: set(),
    links.MONITOR: {"monitoring", "metrics"},
}


@pytest.mark.parametrize("dag_id", links.DAGS)
def test_a_route_asks_for_the_right_to_read_the_dag_that_it_tells_of(dag_id):
    pages = Pages(refusal=403, refuses=lambda asked: asked == dag_id)

    answers = {path: pages.client.request(method, path) for method, path in all_routes(pages.app)}

    refused = {path for path, answer in answers.items() if answer.status_code == 403}
    assert refused == {path for path in answers if path.split("/")[1] in TOLD_OF[dag_id]}


def login_links(page):
    found = re.findall(r'<a data-airflow href="([^"]*)">Log in</a>', page.text)
    return [urlsplit(html.unescape(link)) for link in found]


@pytest.mark.parametrize(
    "path",
    [
        "/champion",
        "/decisions?page=2&name=a%26b",
        "/runs/reviews_ingest/at%2B00%3A00",
        "/champion?next=https://elsewhere.example/",
        "/champion?%0d%0a=%ff",
    ],
)
def test_who_is_not_logged_in_gets_a_link_to_the_login_and_back_to_this_page_only(path):
    (link,) = login_links(Pages(refusal=401).get(f"http://testserver{path}"))

    assert (link.scheme, link.netloc, link.path) == ("", "", "/api/v2/auth/login")
    assert parse_qs(link.query) == {"next": [f"/retraining{path}"]}


def test_behind_a_path_of_airflows_own_the_login_leads_back_to_that_path():
    outer = FastAPI(root_path="/airflow")
    outer.mount(links.ROOT, Pages(refusal=401).app)

    (link,) = login_links(TestClient(outer).get("/airflow/retraining/champion"))

    assert link.path == "/airflow/api/v2/auth/login"
    assert parse_qs(link.query) == {"next": ["/airflow/retraining/champion"]}


def test_a_refusal_says_what_to_do():
    assert "Log in" in Pages(refusal=401).get("/champion").text
    assert not login_links(Pages(refusal=403).get("/champion"))
    assert "The roles User, Op and Admin have both" in Pages(refusal=403).get("/champion").text


# What the browser is told


@pytest.mark.parametrize(
    ("path", "status"),
    [("/champion", 200), ("/champion?page=0", 400), ("/champion?page=9", 404), ("/nowhere", 404)],
)
def test_every_answer_forbids_scripts_frames_and_caches(path, status):
    answer = Pages().get(path)

    policy = answer.headers["content-security-policy"]
    assert answer.status_code == status
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "form-action 'self'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("tag", ["style", "script"])
def test_only_our_own_style_and_script_are_allowed_by_their_hash(tag):
    answer = Pages().get("/champion")

    (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert f"{tag}-src 'sha256-{digest}'" in answer.headers["content-security-policy"]


def test_no_page_asks_for_anything_elsewhere():
    pages = Pages()
    entries = [promoted(pages.registry, "one")]
    folder = entries[0].decision_key.split("/")[-2]

    for path in ("/champion", "/decisions", f"/decisions/{entries[0].version}/{folder}"):
        html = pages.get(path).text
        assert re.findall(r"""(?:src|href|action)=["'](?!/|#)[^"']*""", html) == []
        assert "url(" not in html
        assert " style=" not in html


# Faults


@pytest.mark.parametrize(
    ("error", "status", "todo"),
    [
        (StoreUnavailableError("no answer from http://minio:9000"), 503, "reload this page"),
        (StoreRefusedError("credentials are missing"), 502, "AWS_* variables"),
        (BucketMissingError("bucket 'models' does not exist"), 503, "python -m pipelines init"),
    ],
)
def test_a_store_that_does_not_answer_is_said_with_what_to_do(error, status, todo):
    def fail():
        raise error

    answer = Pages(open_stores=fail).get("/champion")

    assert answer.status_code == status
    assert todo in answer.text


@pytest.mark.parametrize(
    "kind", [StoreUnavailableError, StoreRefusedError, UnsafeStoreError, BucketMissingError]
)
def test_no_page_says_where_the_store_is(kind, caplog):
    def fail():
        raise kind("the store at http://minio.internal:9000 refused it (AccessDenied)")

    answer = Pages(open_stores=fail).get("/champion")

    assert "minio.internal" not in answer.text
    assert "See the log of the api-server for details." in answer.text
    assert "minio.internal:9000 refused it (AccessDenied)" in caplog.text


def test_a_mistake_in_a_page_shows_no_stack_trace():
    def fail():
        raise KeyError("secret detail")

    answer = Pages(open_stores=fail).get("/champion")

    assert answer.status_code == 500
    assert "The loop is not affected" in answer.text
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text


def test_a_changed_log_entry_is_not_shown():
    pages = Pages()
    a_succession(pages.registry, 2)
    key = pages.registry.log.key(2)
    pages.models.objects[key] = (
        pages.models.objects[key]
        .replace(b'"0.9"', b"")
        .replace(b'"holdout_accuracy":0.9', b'"holdout_accuracy":0.99')
    )

    answer = pages.get("/champion")

    assert answer.status_code == 200
    assert "The champion log cannot be trusted" in answer.text
    assert "champion fsck" in answer.text
    assert "99.00%" not in answer.text


def damaged(data):
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damaged, "was changed after it was recorded"),
        (lambda data: data[:-1], "not 39"),
        (None, "does not exist"),
    ],
)
def test_a_champion_whose_file_is_damaged_is_said_so_with_the_way_to_the_runbook(damage, says):
    pages = Pages()
    promoted(pages.registry, "one")
    assert "cannot be loaded" not in pages.get("/champion").text

    (key,) = [key for key in pages.models.objects if key.endswith(".skops")]
    if damage is None:
        del pages.models.objects[key]
    else:
        pages.models.objects[key] = damage(pages.models.objects[key])
    note = pages.get("/champion").text.partition('role="alert"')[2].partition("</p>")[0]

    assert "The champion cannot be loaded any more" in note
    assert says in note
    assert 'href="/retraining/runbooks/retrain-failed#digestmismatcherror"' in note


def test_a_champion_whose_manifest_is_gone_is_said_so():
    pages = Pages()
    entry = promoted(pages.registry, "one")
    del pages.models.objects[pages.registry.versions.key(entry.version)]

    assert "because its manifest is missing" in pages.get("/champion").text


def test_a_view_of_the_champion_reads_its_file_only_after_a_change(monkeypatch):
    pages, read = Pages(), []
    promoted(pages.registry, "one")
    stream = pages.models.stream
    monkeypatch.setattr(pages.models, "stream", lambda key: read.append(key) or stream(key))

    for _ in range(3):
        pages.get("/champion")
    assert len(read) == 1

    pages.models.objects[read[0]] = damaged(pages.models.objects[read[0]])
    for _ in range(3):
        pages.get("/champion")
    assert len(read) == 2


@pytest.mark.parametrize(
    "path",
    [
        f"/decisions/{VERSION}/00000000-{'d' * 16}",
        f"/decisions/{VERSION}/00000000-{'d' * 16}/card",
        f"/reports/{DELIVERY}/{BASIS}",
        "/runs/reviews_ingest/manual__1",
        "/forms/somebody_elses_dag",
        "/decisions/..%2f..%2fetc/passwd",
        "/decisions/%3Cscript%3E/x",
        f"/reports/{DELIVERY}/..%2f{BASIS}",
        "/runs/reviews_ingest/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/runs/reviews_ingest/%00",
        "/forms/%F0%9F%92%A3",
        "/docs",
        "/openapi.json",
    ],
)
def test_what_is_not_there_is_a_page_that_says_so(path):
    answer = Pages().get(path)

    assert answer.status_code == 404
    assert "Follow a link" in answer.text
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/runs/%2e%2e/run", "/runs/%2e/run", "/runs/reviews_ingest/%2e%2e", "/runs/%2e%2e/%2e%2e"],
)
def test_a_path_of_dots_is_never_asked_of_airflow(path):
    pages = Pages()

    assert pages.get(path).status_code == 404
    assert pages.asked == []


# Texts stay texts


def test_whatever_people_wrote_stays_text():
    pages = Pages()
    (entry,) = a_succession(pages.registry, 1, actor=HOSTILE, reason=HOSTILE)

    html = pages.get("/champion").text

    assert entry.reason == HOSTILE
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "{{7*7}}" in html
    assert "\u202e" not in html
    assert "\\u202e\\x07=cmd()" in html


def test_a_verdicts_words_stay_text():
    pages = Pages()
    key, _ = decided(pages.registry, a_version(pages.registry, "one"), why=HOSTILE)
    version, folder = key.split("/")[2], key.split("/")[4]

    for path in ("/decisions", f"/decisions/{version}/{folder}"):
        html = pages.get(path).text
        assert "<script>alert" not in html
        assert "<img" not in html
        assert "\\u202e" in html


def test_a_validation_report_is_shown_and_can_do_nothing():
    pages = Pages()
    validation = a_validation(why="<script>evil()</script>")
    pages.reviews.put_record(validation)
    pages.reviews.put_record(a_delivery())
    pages.reviews.put(report_key(validation.object_key), b"<script>planted()</script>")

    answer = pages.get(links.report_link(validation.object_key).removeprefix(links.ROOT))

    policy = answer.headers["content-security-policy"]
    assert "&lt;script&gt;evil()" in answer.text
    assert "<script" not in answer.text
    assert "planted" not in answer.text
    assert policy.startswith("sandbox; default-src 'none'")
    assert "script-src" not in policy
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.attack
def test_a_validation_report_that_was_changed_is_not_shown():
    pages = Pages()
    validation = a_validation(page_sha256=sha256_of(b"<p>Held.</p>"))
    pages.reviews.put_record(validation)
    pages.reviews.put_record(a_delivery())
    pages.reviews.put(report_key(validation.object_key), b"<p>All is well, release it.</p>")

    answer = pages.get(links.report_link(validation.object_key).removeprefix(links.ROOT))

    assert "release it" not in answer.text
    assert "1 of 40 rows is odd" in answer.text


# For everybody


@pytest.mark.parametrize("path", ["/champion", "/decisions", "/forms/sentiment_rollback"])
def test_a_page_can_be_used_without_a_mouse_and_without_eyes(path):
    pages = Pages()
    a_succession(pages.registry, 3)
    params = {"to": {"value": "previous", "schema": {"type": "string"}, "description": "Which."}}
    details = Reply(200, {"dag_id": "sentiment_rollback", "params": params})
    pages.answers["GET", "/dags/sentiment_rollback/details"] = details

    outline = Outline(pages.get(path).text)

    labelled = {label["for"] for label in outline.all("label")}
    fields = [one for tag in ("input", "select", "textarea") for one in outline.all(tag)]
    assert outline.all("html")[0]["lang"] == "en"
    assert len(outline.all("h1")) == len(outline.all("main")) == 1
    assert outline.all("a")[0] == {"class": "skip", "href": "#main"}
    assert {field["id"] for field in fields if field.get("type") != "hidden"} <= labelled
    assert all(one.get("scope") for one in outline.all("th"))
    assert all(svg["role"] == "img" and svg["aria-labelledby"] for svg in outline.all("svg"))


def test_a_prefix_that_airflow_is_served_under_is_before_every_link():
    pages = Pages()
    a_succession(pages.registry, 2)
    client = TestClient(pages.app, root_path="/airflow/retraining")

    html = client.get("/airflow/retraining/champion").text

    assert links_of(html)
    assert all(link.startswith("/airflow/") for link in links_of(html))


def test_a_text_goes_into_a_form_link_as_it_is_and_anything_else_as_json():
    link = links.form_link("reviews_replay", {"delivery": "a b&c", "rows": [0, 7], "dry_run": True,
                                              "reason": None})  # fmt: skip

    assert link == (
        "/retraining/forms/reviews_replay?delivery=a+b%26c&rows=%5B0%2C7%5D&dry_run=true"
    )


def test_an_actor_that_is_a_run_leads_to_it():
    run = "manual__2026-01-05T00:00:00+00:00"
    link = "/dags/sentiment_retrain/runs/manual__2026-01-05T00%3A00%3A00%2B00%3A00"

    assert links.actor(f"airflow sentiment_retrain {run}") == ("sentiment_retrain", link)
    assert links.actor(f"vera on airflow sentiment_retrain {run}") == (
        "vera, sentiment_retrain", link,
    )  # fmt: skip


@pytest.mark.parametrize(
    "recorded", ["airflow somebody_elses run", "airflow sentiment_retrain", "alice@laptop", ""]
)
def test_an_actor_that_is_no_run_of_ours_is_shown_as_recorded(recorded):
    assert links.actor(recorded) == (recorded, None)


def test_the_service_that_shows_the_pages_can_read_the_store_and_check_signatures():
    services = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())["services"]
    server, init = services["api-server"], services["init"]

    has = set(server["environment"])
    assert {"AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= has
    assert "LOOP_SIGNING_KEY" not in has
    assert server["environment"]["LOOP_TRUSTED_KEYS_FILE"] == "/opt/airflow/trusted/keys"
    assert "python -m pipelines keys export /opt/airflow/trusted/keys" in init["command"][0]
    assert "trusted-keys:/opt/airflow/trusted" in init["volumes"]
    assert "trusted-keys:/opt/airflow/trusted:ro" in server["volumes"]


TEMPLATES = Path(pages.__file__).parent / "templates"  # of a wheel, where that is tested
SCROLLS = re.compile(
    r"{%-? *call +scroll\([^%]*%}|{%-? *endcall *-?%}|<div\b[^>]*>|</div>|<table\b", re.IGNORECASE
)


def unscrolled(template):
    """How many tables of a template are in no element of class scroll."""
    around, found = [], 0
    for tag in SCROLLS.findall(template):
        if tag.lower() == "<table":
            found += not any("scroll" in one for one in around)
        elif tag.lower() == "</div>" or "endcall" in tag:
            around.pop()
        else:
            around.append(tag if re.search(r'call +scroll|class="scroll"', tag) else "")
    assert around == []
    return found


def test_every_table_is_where_hidden_columns_can_be_scrolled_to():
    templates = {path.name: path.read_text() for path in sorted(TEMPLATES.rglob("*.jinja"))}

    cut = {name: count for name, text in templates.items() if (count := unscrolled(text))}

    assert sum("<table" in text for text in templates.values()) >= 10
    assert cut == {}
    assert unscrolled('<div class="scroll"></div><table></table>') == 1


def test_a_table_of_a_runbook_can_be_scrolled_too():
    page = own_page("| a | b |\n|---|---|\n| 1 | 2 |\n", lambda _: None, str)

    assert "<table>" in page
    assert unscrolled(page) == 0
