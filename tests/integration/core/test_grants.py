"""Each role can do its part of the loop with its own credentials, and no more than that."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from pipelines.alerts.alert import Run
from pipelines.cli.app import app
from pipelines.core import config, grants
from pipelines.core.errors import ObjectMissingError, StoreRefusedError
from pipelines.core.grants import ROLES, Role
from pipelines.core.store import client as store_client
from pipelines.core.store import stores as stores_module
from pipelines.core.store.stores import Stores, open_stores
from pipelines.registry import housekeeping
from pipelines.simulation import film_site
from pipelines.steps import alerts, promote, rollback
from pipelines.steps import housekeeping as steps_housekeeping
from pipelines.steps import ingest as steps_ingest
from pipelines.steps import monitor as steps_monitor
from tests.support.made.builders import as_csv, some_rows
from tests.support.page_site import Pages
from tests.support.services import iam
from tests.support.services.alert_servers import web_server
from tests.support.services.grant_table import ALL, DELETE, LIST, MAY, READ, WRITE
from tests.support.services.s3_under_test import s3_client

pytestmark = [pytest.mark.attack, pytest.mark.usefixtures("one_clean_room_per_model")]
enforced = pytest.mark.needs("enforces_policies")

INGEST = Run(dag_id="reviews_ingest", run_id="night")
RETRAIN = Run(dag_id="sentiment_retrain", run_id="retrain")
MONITOR = Run(dag_id="sentiment_monitor", run_id="monitor")


def cli(*arguments: str, code: int = 0) -> str:
    reply = CliRunner().invoke(app, list(arguments))
    assert reply.exit_code == code, (arguments, reply.output, reply.stderr)
    return reply.stdout


def facts(*arguments: str, code: int = 0) -> Any:
    return json.loads(cli(*arguments, "--json", code=code))


def policies_of(stores: Stores) -> dict[Role, dict[str, Any]]:
    return grants.policies(
        reviews=stores.reviews.name, models=stores.models.name, names=config.load().model_names
    )


# ── The loop, part by part ───────────────────────────────────────────────────────────────────


@dataclass
class Loop:
    """Everything that people and machines do with the two buckets, in an order that works."""

    folder: Path
    deliveries: list[film_site.DroppedFile]
    version: str = ""
    held: str = ""
    decision_uri: str = ""
    acts_as: Callable[[Role], None] = lambda _role: None  # called before each part
    made: Stores = field(default_factory=open_stores)  # for what the loop did not make

    def deliver(self, number: int) -> None:
        """As upstream does: without a look at anything."""
        one = self.deliveries[number - 1]
        reviews = open_stores(role="upstream").reviews
        reviews.put(one.key, one.body)
        if number == 1:  # a row for the quarantine, and a file that is held
            rows = [
                row | ({"label": "so so"} if n == 0 else {}) for n, row in enumerate(some_rows(40))
            ]
            reviews.put(f"landing/web/{one.night}/dirty.csv", as_csv(rows))
        torn = b"no,such,columns\n%d,2,3\n" % number
        reviews.put_file(f"landing/web/{one.night}/torn.csv", io.BytesIO(torn))

    def ingest(self, number: int) -> None:
        night = self.deliveries[number - 1].night.isoformat()
        facts("ingest", "--night", night, code=3)
        uris = steps_ingest.find_deliveries(night)
        steps_ingest.summarize_night(night)
        with pytest.raises(Exception, match="are held"):
            steps_ingest.check_night(night, uris)
        alerts.alert_night(INGEST, night, uris)

    def replay(self) -> None:
        held = [line for line in facts("delivery", "list") if line["verdict"] == "HELD"]
        self.held = held[0]["delivery"]
        facts("delivery", "show", self.held)
        cli("delivery", "report", self.held, "--to", str(self.folder / "report.html"))
        facts("delivery", "revalidate", self.held, "--reason", "a look")
        facts("delivery", "discard", self.held, "--reason", "no use", "--yes")
        alerts.alert_replay(INGEST)

    def monitor(self, number: int) -> None:
        night = self.deliveries[number - 1].night.isoformat()
        steps_monitor.watch(night)
        uri = steps_monitor.decide_trigger(night, night, "tester")
        assert (uri is None) == (number == 1)
        alerts.alert_monitor(MONITOR)

    def retrain(self) -> None:
        retrained = facts("retrain")
        self.version = retrained["version"]
        registry = open_stores().models
        self.decision_uri = registry.uri(retrained_key(self.version))
        if retrained["needs_approval"]:
            alerts.alert_waiting(RETRAIN, self.decision_uri)
            cli("decision", "approve", self.version, "--reason", "a start")
        facts("retrain")  # nothing to do
        alerts.alert_retrain(RETRAIN)

    def roll_back(self) -> None:
        facts("champion", "rollback", "--reason", "a try", "--yes")
        facts("champion", "release", self.version, "--reason", "it was fine")
        facts("champion", "pin", facts("champion", "show")["version"], "--reason", "a try")
        planned = rollback.plan_rollback("previous", "a second try")
        promote.confirm(rollback.apply_rollback(planned, "tester"))
        alerts.alert_rollback(RETRAIN)

    def tidy_up(self) -> None:
        """Everything counts as old, and something lies wherever housekeeping deletes."""
        made, digest = self.made, "0" * 64
        for version in ("0" * 20, "1" * 20):  # the newest one is kept
            made.models.put(f"sentiment/versions/{version}/manifest.json", b"old")
        made.models.put(f"sentiment/plans/{'0' * 20}.json", b"old")
        made.models.put(f"sentiment/plans/{'1' * 20}.json", b"old")
        made.models.put(f"sentiment/rollups/log-{'0' * 16}/{digest}.rollup", b"old")
        delivery = next(iter(facts("delivery", "list")))["delivery"]
        for key in (
            f"features/fp0-n3-b40/{digest}.npz", f"rollups/ledger-{'0' * 16}/{digest}.rollup",
            f"snapshots/{digest}.json", f"reports/{delivery}/{'0' * 16}/report.html",
        ):  # fmt: skip
            made.reviews.put(key, b"old")
        self.acts_as("housekeeping")
        with mock.patch.object(housekeeping.Ages, "is_over", return_value=True):
            steps_housekeeping.count_deletable()
            tidied = steps_housekeeping.tidy_up("tester")
        assert tidied is not None
        steps_housekeeping.read_housekeeping(tidied)
        alerts.alert_housekeeping(Run(dag_id="sentiment_housekeeping", run_id="weekly"))

    def call_back(self) -> None:
        """As the dag-processor and the triggerer do."""
        for run in (INGEST, Run(dag_id="reviews_ingest", run_id="another")):
            alerts.alert_failed_run(run, "a test")
            alerts.alert_late(run, 60.0)

    def look(self) -> None:
        """As people do: in a shell and on the pages."""
        for command in ("show", "history"):
            cli("champion", command)
        cli("champion", "fsck", code=1)  # it finds the versions that `tidy_up` made up
        cli("champion", "at", "2100-01-01")
        for command in ("show", "card", "verify"):
            cli("decision", command, self.version)
        cli("alerts", "list")
        cli("metrics")
        pages = Pages(open_stores=open_stores)
        night = self.deliveries[0].night
        for path in ("/champion", "/decisions", "/monitoring", "/metrics", "/incidents",
                     f"/incidents/{self.held}",
                     f"/incidents/missing/{night}/radio", self._decision_page):  # fmt: skip
            assert pages.get(path).status_code == 200, path

    @property
    def _decision_page(self) -> str:
        return "/decisions/{}/{}".format(*self.decision_uri.split("/")[-4:-1:2])

    def score(self) -> None:
        """As a service that answers does."""
        texts = self.folder / "texts.jsonl"
        texts.write_text('{"text": "a great film"}\n')
        cli("champion", "pull", "--to", str(self.folder / "served"))
        cli("score", str(texts))

    def run(self) -> None:
        for night in (1, 2):
            self.acts_as("upstream")
            self.deliver(night)
            self.acts_as("ingest")
            self.ingest(night)
            if night == 1:
                self.replay()
            self.acts_as("monitor")
            self.monitor(night)
            self.acts_as("retrain")
            self.retrain()
        self.roll_back()
        self.tidy_up()
        self.acts_as("alerts")
        self.call_back()
        self.acts_as("pages")
        self.look()
        self.acts_as("scoring")
        self.score()


def retrained_key(version: str) -> str:
    models = open_stores().models
    keys = [info.key for info in models.list(f"{config.load().model.name}/versions/{version}/")]
    return max(key for key in keys if key.endswith("/decision.json"))


@pytest.fixture
def loop(
    stores: Stores,
    configure: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    nightly_deliveries: list[film_site.DroppedFile],
) -> Iterator[Loop]:
    """A loop with a silent source, a first model that needs a person, and alerts by webhook."""
    configure(
        sources={"radio": {"expected_every_days": 1}},
        gate={"ask_for_first_model": True},
        alerts={"webhook": {"is_enabled": True, "timeout_seconds": 30.0}},
    )
    with web_server() as posts:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", posts.url)
        yield Loop(tmp_path, nightly_deliveries, made=stores)


# ── What the code asks of a store, on any server ─────────────────────────────────────────────


@dataclass(frozen=True)
class Request:
    """``role`` is as whom the store was opened, ``part`` whose part of the loop it was."""

    role: Role | None
    part: Role
    action: str
    bucket: str
    key: str


@dataclass
class Recorder:
    """Notes each request to a store."""

    part: Role = "upstream"
    requests: set[Request] = field(default_factory=set)

    def acts_as(self, role: Role) -> None:
        self.part = role

    def watch(self, client: Any, role: Role | None) -> Any:
        def note(params: dict[str, Any], model: Any, **_: Any) -> None:
            action, key = iam.ACTIONS[model.name], params.get("Key", "")
            self.requests.add(Request(role, self.part, action, params["Bucket"], key))

        client.meta.events.register("provide-client-params.s3", note)
        return client


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder, make = Recorder(), store_client.make_client
    monkeypatch.setattr(
        stores_module,
        "make_client",
        lambda settings, role=None: recorder.watch(make(settings, role), role),
    )
    return recorder


@pytest.mark.long
def test_the_loop_asks_of_a_store_only_what_the_policies_allow_and_no_right_to_write_is_in_vain(
    loop, stores, recorder
):
    policies = policies_of(stores)
    loop.acts_as = recorder.acts_as

    loop.run()

    # As compose has it: a profile for each role, and that of the pages for all the rest.
    assert refused(policies, recorder.requests, lambda one: one.role or "pages") == set()
    # As others may have it: one credential for each worker.
    assert refused(policies, recorder.requests, lambda one: one.part) == set()
    assert {request.part for request in recorder.requests} == set(ROLES)
    unused = {(role, arn.partition("/")[2]) for role, arn in in_vain(policies, recorder.requests)}
    assert unused == AFTER_MANY_NIGHTS


# Two nights do not need these: tests/integration/intake/test_years.py writes roll-ups, and
# tests/integration/registry/test_housekeeping.py deletes what is old.
AFTER_MANY_NIGHTS = {
    ("ingest", "rollups/*"),
    ("retrain", "sentiment/rollups/*"),
    ("housekeeping", "snapshots/*"),
    ("housekeeping", "sentiment/plans/*"),
    ("housekeeping", "sentiment/versions/*"),
}


def refused(
    policies: dict[Role, dict[str, Any]], requests: set[Request], who: Callable[[Request], Role]
) -> set[Request]:
    return {
        request
        for request in requests
        if not iam.allows(policies[who(request)], request.action, request.bucket, request.key)
    }


def in_vain(policies: dict[Role, dict[str, Any]], requests: set[Request]) -> set[tuple[Role, str]]:
    """Where a role may write or delete, and never does."""
    return {
        (role, resource)
        for role, policy in policies.items()
        for statement in policy["Statement"]
        if statement["Sid"].startswith(("Write", "Delete"))
        for resource in statement["Resource"]
        if not any(
            request.part == role
            and request.action in statement["Action"]
            and iam.matches(resource, f"arn:aws:s3:::{request.bucket}/{request.key}")
            for request in requests
        )
    }


# ── What a store that enforces policies lets each role do ────────────────────────────────────


@pytest.fixture
def policies_in_force(stores: Stores, s3_server: str) -> Iterator[None]:
    """Each user has the policy of its role on the two buckets of this test."""
    with iam.given(s3_server, policies_of(stores)):
        yield


@pytest.fixture
def log_in(
    policies_in_force: None, s3_environment: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., None]:
    """``log_in("pages", profiles=...)``: boto3 then finds these and no others."""

    def log_in(default: Role, *, profiles: tuple[Role, ...] = ()) -> None:
        file = tmp_path / "credentials"
        named = {"default": default} | {grants.profile(role): role for role in profiles}
        file.write_text("".join(as_profile(name, role) for name, role in named.items()))
        s3_environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        s3_environment.delenv("AWS_ACCESS_KEY_ID", raising=False)
        s3_environment.delenv("AWS_SECRET_ACCESS_KEY", raising=False)

    return log_in


def as_profile(name: str, role: Role) -> str:
    key, secret = iam.USERS[role]
    return f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"


def client_of(endpoint: str, role: Role, service: str = "s3") -> Any:
    return s3_client(endpoint, keys=iam.USERS[role], service=service)


def is_allowed(request: Callable[[], Any]) -> bool:
    """Whether the store does it; whatever is neither a yes nor a 403 is an error of the test."""
    try:
        request()
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
            raise
        return False
    return True


@enforced
def test_the_loop_runs_with_a_user_of_its_own_for_each_role(loop, log_in):
    loop.acts_as = lambda role: log_in(
        "scoring" if role == "scoring" else "pages",
        profiles=("upstream", "ingest", "retrain", "housekeeping", "monitor", "alerts"),
    )

    loop.run()


@enforced
def test_each_part_of_the_loop_runs_with_the_credentials_of_its_role_alone(loop, log_in):
    loop.acts_as = log_in

    loop.run()


@enforced
@pytest.mark.parametrize("role", ROLES)
def test_the_store_lets_a_role_do_what_its_line_in_the_table_says_and_nothing_else(
    role, stores, s3_server, policies_in_force
):
    names = {"reviews": stores.reviews.name, "models": stores.models.name}
    objects = {one: (names[one.split("/")[0]], one.partition("/")[2]) for one in ALL}
    for bucket, key in objects.values():
        s3_client(s3_server).put_object(Bucket=bucket, Key=key, Body=b"as it was")
    user = client_of(s3_server, role)

    # In this order: on Ceph, who wrote an object may read it.
    tries = {
        READ: lambda bucket, key: user.get_object(Bucket=bucket, Key=key),
        WRITE: lambda bucket, key: user.put_object(Bucket=bucket, Key=key, Body=b"mine"),
        DELETE: lambda bucket, key: user.delete_object(Bucket=bucket, Key=key),
    }
    allowed = {
        action: {
            one
            for one, where in objects.items()
            if is_allowed(lambda: attempt(*where))  # noqa: B023
        }
        for action, attempt in tries.items()
    }
    allowed[LIST] = {
        name
        for name, bucket in names.items()
        if is_allowed(lambda: user.list_objects_v2(Bucket=bucket))  # noqa: B023
    }

    assert allowed == MAY[role]
    untouched = set(ALL) - MAY[role][WRITE] - MAY[role][DELETE]
    for bucket, key in (objects[one] for one in untouched):
        assert (
            s3_client(s3_server).get_object(Bucket=bucket, Key=key)["Body"].read() == b"as it was"
        )


@enforced
@pytest.mark.parametrize("role", ROLES)
def test_no_role_gets_further_by_another_door(role, stores, s3_server, policies_in_force):
    reviews, models = stores.reviews.name, stores.models.name
    kept = {"Bucket": models, "Key": "other/log/00000001.json"}
    s3_client(s3_server).put_object(**kept, Body=b"as it was")
    user = client_of(s3_server, role)
    mine, everything = (
        {"Bucket": reviews, "Key": "landing/web/mine.csv"},
        '{"Version": "2012-10-17"}',
    )

    doors = {
        "copy it out": lambda: user.copy_object(**mine, CopySource=kept),
        "copy over it": lambda: user.copy_object(
            **kept, CopySource=kept, MetadataDirective="REPLACE"
        ),
        "write it in parts": lambda: user.create_multipart_upload(**kept),
        "give it to all": lambda: user.put_object_acl(**kept, ACL="public-read"),
        "read who has it": lambda: user.get_object_acl(**kept),
        "give the bucket to all": lambda: user.put_bucket_acl(
            Bucket=models, ACL="public-read-write"
        ),
        "write a policy": lambda: user.put_bucket_policy(Bucket=models, Policy=everything),
        "drop the policy": lambda: user.delete_bucket_policy(Bucket=models),
        "let all expire": lambda: user.delete_bucket_lifecycle(Bucket=models),
        "keep versions": lambda: user.put_bucket_versioning(
            Bucket=models, VersioningConfiguration={"Status": "Suspended"}
        ),
        "list uploads": lambda: user.list_multipart_uploads(Bucket=models),
        "drop the bucket": lambda: user.delete_bucket(Bucket=models),
        "make a bucket": lambda: user.create_bucket(Bucket=f"{models}-of-{role}"),
    }
    opened = {name for name, door in doors.items() if is_allowed(door)}
    with contextlib.suppress(ClientError):  # or it answers 200 and an error for each key
        user.delete_objects(Bucket=models, Delete={"Objects": [{"Key": kept["Key"]}]})

    assert opened == set()
    assert s3_client(s3_server).get_object(**kept)["Body"].read() == b"as it was"


@enforced
def test_a_key_with_dots_is_a_name_below_landing_and_no_way_out_of_it(
    stores, s3_server, policies_in_force
):
    outcome = "deliveries/x/outcome.json"
    upstream = client_of(s3_server, "upstream")

    for key in (f"landing/../{outcome}", f"landing/%2e%2e/{outcome}", f"landing//../{outcome}"):
        is_allowed(lambda: upstream.put_object(Bucket=stores.reviews.name, Key=key, Body=b"{}"))  # noqa: B023

    names = [info.key for info in stores.reviews.list("")]
    assert all(name.startswith("landing/") for name in names)


@enforced
@pytest.mark.parametrize("role", ["ingest", "retrain", "monitor", "pages", "scoring"])
def test_what_is_absent_is_not_mistaken_for_what_is_refused(role, stores, log_in):
    stores.models.put("other/log/00000001.json", b"as it was")
    log_in(role)
    models = open_stores().models

    with pytest.raises(ObjectMissingError):
        models.get("sentiment/log/00000009.json")
    assert models.find("sentiment/champion.json") is None
    with pytest.raises(StoreRefusedError, match="refused"):
        models.get("other/log/00000001.json")
