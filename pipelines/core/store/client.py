"""A boto3 client for the store that the settings name."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from datetime import datetime
from typing import Any

from pipelines.core.errors import ConfigError
from pipelines.core.grants import Role, profile
from pipelines.core.settings.data import StoreSettings
from pipelines.core.store import answers
from pipelines.core.store.deadline import hurry

DEFAULT_REGION = "us-east-1"

_LISTED_MEMBERS = {"Key", "Size", "ETag", "LastModified"}

_LISTED_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z")


def make_client(settings: StoreSettings, role: Role | None) -> Any:
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    options: dict[str, Any] = {
        "connect_timeout": settings.connect_timeout_seconds,
        "read_timeout": settings.read_timeout_seconds,
        "retries": {"mode": "standard", "total_max_attempts": 1},  # `Bucket` tries again itself
        "user_agent_extra": "retraining-loop",
    }
    try:
        core = botocore.session.Session()
        core.register_component("data_loader", _service_descriptions())
        core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
        own = profile(role) if role and profile(role) in core.available_profiles else None
        session = boto3.session.Session(botocore_session=core, profile_name=own)
        region = session.region_name or os.environ.get("AWS_REGION") or DEFAULT_REGION
        client = session.client(
            "s3", region_name=region, config=Config(s3=_addressing(core), **options)
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"cannot set up the S3 client: {error}") from error
    client.meta.events.register("before-parse.s3", answers.inspect)
    hurry(client)
    return client


def _moment(value: Any) -> datetime:
    """As botocore reads a moment, but thirty times as fast where a listing writes one.

    A listing has a moment per line, and botocore's reader would take four fifths of its cost.
    """
    if isinstance(value, str) and _LISTED_MOMENT.fullmatch(value):
        with contextlib.suppress(ValueError):  # of a day that no month has
            return datetime.fromisoformat(value)
    from botocore.utils import parse_timestamp

    moment: datetime = parse_timestamp(value)
    return moment


@functools.cache
def _service_descriptions() -> Any:
    """What botocore reads to learn the S3 API: a tenth of a second, once per process.

    Of a line of a listing, it reads only what is used: the other half of its cost.
    """
    from botocore.loaders import create_loader

    loader = create_loader()
    line = loader.load_service_model("s3", "service-2")["shapes"]["Object"]["members"]
    for name in line.keys() - _LISTED_MEMBERS:
        del line[name]
    return loader


def _addressing(core: Any) -> dict[str, str] | None:
    """How requests name the bucket: as the profile says; else in the path for an own endpoint,
    because ``bucket.localhost`` resolves nowhere.
    """
    if (core.get_config_variable("s3") or {}).get("addressing_style"):
        return None
    return {"addressing_style": "path" if _has_own_endpoint(core) else "auto"}


def _has_own_endpoint(core: Any) -> bool:
    profile = core.get_scoped_config()
    services = core.full_config.get("services", {}).get(profile.get("services"), {})
    return bool(
        os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or profile.get("endpoint_url")
        or (services.get("s3") or {}).get("endpoint_url")
    )
