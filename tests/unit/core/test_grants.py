"""What each role may do by its policy, judged without a server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.core.errors import ConfigError
from pipelines.core.grants import ROLES, as_file, policies, profile, task_logs_policy
from pipelines.core.keys import prediction_key
from pipelines.core.store.stores import open_stores
from tests.support.services.grant_table import ALL, DELETE, LIST, MAY, PREDICTIONS, READ, WRITE
from tests.support.services.iam import allows
from tests.support.settings_file import write_settings

pytestmark = pytest.mark.attack

MOST_CHARACTERS_OF_AN_INLINE_USER_POLICY = 2_048  # at AWS, without white space


def made():
    return policies(reviews="reviews", models="models", names=["sentiment"])


def write_policies(folder: Path, *arguments: str):
    return CliRunner().invoke(app, ["init", "--policies", str(folder), *arguments])


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_its_line_in_the_table_says_and_nothing_else(role):
    policy = made()[role]

    allowed = {
        action: {key for key in ALL if allows(policy, action, *key.split("/", 1))}
        for action in (READ, WRITE, DELETE)
    }
    allowed[LIST] = {bucket for bucket in ("reviews", "models") if allows(policy, LIST, bucket)}

    assert allowed == MAY[role]


def test_every_role_is_in_the_table_and_has_a_policy():
    assert set(MAY) == set(made()) == set(ROLES)


def test_no_policy_allows_all_actions_or_names_more_than_our_two_buckets():
    for policy in made().values():
        for statement in policy["Statement"]:
            assert statement["Effect"] == "Allow"
            assert all(re.fullmatch(r"s3:[A-Z][A-Za-z]+", one) for one in statement["Action"])
            for resource in statement["Resource"]:
                # the bucket is written out, and so is the first folder of the key
                assert re.fullmatch(r"arn:aws:s3:::(reviews|models)(/[a-z]+/.+)?", resource)


def test_a_policy_is_small_enough_for_every_way_to_attach_it_at_aws():
    for role, policy in made().items():
        size = len(json.dumps(policy, separators=(",", ":")))

        assert size <= MOST_CHARACTERS_OF_AN_INLINE_USER_POLICY, role


def test_the_policies_name_the_configured_buckets_and_model(tmp_path, monkeypatch):
    mine = write_settings(
        tmp_path / "mine.toml",
        {
            "store": {"reviews_bucket": "my-reviews", "models_bucket": "my-models"},
            "model": {"name": "tone"},
        },
    )
    monkeypatch.setenv("LOOP_CONFIG", str(mine))

    reply = write_policies(tmp_path / "policies", "--json")

    files = json.loads(reply.stdout)
    written = {role: json.loads(Path(file).read_text()) for role, file in files.items()}
    assert written == policies(reviews="my-reviews", models="my-models", names=["tone"])
    assert allows(written["upstream"], WRITE, "my-reviews", "landing/web/2026-01-05/r.csv")
    assert not allows(written["scoring"], READ, "my-models", "sentiment/log/00000001.json")


def test_the_policies_cover_every_model_and_no_other(tmp_path, monkeypatch):
    both = write_settings(tmp_path / "both.toml", {"models": {"stars": {"seed": 7}}})
    monkeypatch.setenv("LOOP_CONFIG", str(both))

    files = json.loads(write_policies(tmp_path / "policies", "--json").stdout)

    for role in ROLES:
        policy = json.loads(Path(files[role]).read_text())
        for action in (READ, WRITE, DELETE):
            for one in ALL:
                bucket, key = one.split("/", 1)
                may = allows(made()[role], action, bucket, key)
                assert allows(policy, action, bucket, key) == may, (role, action, one)
                other = key.replace("sentiment/", "stars/", 1)
                assert allows(policy, action, bucket, other) == may, (role, action, other)
        assert not allows(policy, READ, "models", "star/log/00000001.json")


def test_the_policies_of_nine_models_fit_a_managed_policy_of_aws():
    names = ["sentiment", *(f"model-{number:02}" for number in range(8))]

    many = policies(reviews="reviews", models="models", names=names, keeps_predictions=True)

    assert max(len(json.dumps(each, separators=(",", ":"))) for each in many.values()) <= 6144


def test_only_where_answers_are_kept_a_service_may_write_and_the_monitor_read_them(
    tmp_path, monkeypatch
):
    keeps = write_settings(
        tmp_path / "keeps.toml", {"serving": {"prediction_log": {"is_enabled": True}}}
    )
    monkeypatch.setenv("LOOP_CONFIG", str(keeps))

    files = json.loads(write_policies(tmp_path / "policies", "--json").stdout)

    written = {role: json.loads(Path(file).read_text()) for role, file in files.items()}
    key = prediction_key("2026-01-05", "e" * 64)
    assert allows(written["scoring"], WRITE, "reviews", key)
    changed = {
        (role, action, one)
        for role in ROLES
        for action in (READ, WRITE, DELETE)
        for one in ALL
        if allows(written[role], action, *one.split("/", 1))
        != allows(made()[role], action, *one.split("/", 1))
    }
    assert changed == {("scoring", WRITE, PREDICTIONS), ("monitor", READ, PREDICTIONS)}
    assert not allows(written["scoring"], LIST, "reviews")
    for role, policy in written.items():
        names = [statement["Sid"] for statement in policy["Statement"]]
        assert len(names) == len(set(names))
        assert policy == made()[role] or role in {"scoring", "monitor"}


def test_writing_policies_needs_no_store_and_no_credentials_and_can_be_repeated(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)

    codes = [write_policies(tmp_path / "new" / "policies").exit_code for _ in range(2)]

    assert codes == [0, 0]
    assert {file.name for file in (tmp_path / "new" / "policies").iterdir()} == {
        f"{role}.json" for role in ROLES
    }
    assert (tmp_path / "new" / "policies" / "pages.json").read_text() == as_file(made()["pages"])


def test_whoever_keeps_the_logs_of_tasks_reads_and_writes_their_bucket_and_nothing_else(tmp_path):
    files = json.loads(
        write_policies(tmp_path / "policies", "--task-logs", "task-logs", "--json").stdout
    )

    policy = json.loads(Path(files["logs"]).read_text())
    key = "dag_id=reviews_ingest/run_id=scheduled__2026-01-05T02:00:00+00:00/attempt=1.log"
    assert set(files) == {*ROLES, "logs"}
    actions = (READ, WRITE, DELETE)
    assert [one for one in actions if allows(policy, one, "task-logs", key)] == [READ, WRITE]
    assert allows(policy, LIST, "task-logs")
    assert not [
        one for one in ALL for action in actions if allows(policy, action, *one.split("/", 1))
    ]
    assert not [bucket for bucket in ("reviews", "models") if allows(policy, LIST, bucket)]
    others = (json.loads(Path(files[role]).read_text()) for role in ROLES)
    assert not [one for one in others if allows(one, READ, "task-logs", key)]


@pytest.mark.parametrize(
    ("bucket", "why"),
    [("*", "no policy can be made for a bucket"), ("reviews", "need a bucket of their own")],
)
def test_a_bucket_of_task_logs_that_is_none_of_its_own_is_refused(bucket, why):
    with pytest.raises(ConfigError, match=why):
        task_logs_policy(bucket, others=("reviews", "models"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"reviews": "*"}, "no policy can be made for a bucket"),
        ({"models": "models/*"}, "no policy can be made for a bucket"),
        ({"models": "reviews"}, "policies are made for two"),
        ({"names": ["sentiment", "probes"]}, "may delete what lies there"),
    ],
)
def test_names_that_would_make_a_policy_say_more_than_is_meant_are_refused(changes, why):
    names = {"reviews": "reviews", "models": "models", "names": ["sentiment"]} | changes

    with pytest.raises(ConfigError, match=why):
        policies(**names)


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    file = tmp_path / "file"
    file.touch()

    reply = write_policies(file)

    assert reply.exit_code == 1
    assert "cannot write to" in " ".join(reply.stderr.split())


# As whom a store is opened


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    """Write boto3's file of credentials with these profiles; one credential is in the variables."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-one-of-all")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)

    def write(*names: str) -> None:
        sections = (
            f"[{name}]\naws_access_key_id = key-of-{name}\naws_secret_access_key = secret\n"
            for name in names
        )
        (tmp_path / "credentials").write_text("".join(sections))

    return write


def key_of(role):
    stores = open_stores(role=role)
    assert stores.reviews._client is stores.models._client
    return stores.reviews._client._request_signer._credentials.access_key


def test_a_role_acts_by_the_profile_of_its_name_and_everything_else_as_ever(profiles):
    profiles(profile("ingest"), profile("retrain"))

    assert key_of("ingest") == "key-of-loop-ingest"
    assert key_of("retrain") == "key-of-loop-retrain"
    assert key_of(None) == "the-one-of-all"


def test_without_a_profile_of_its_name_a_role_acts_with_the_one_credential(profiles):
    profiles("ingest", "default")  # somebody's own profiles, whatever they are called

    assert {key_of(role) for role in ROLES} == {"the-one-of-all"}
