"""A boto3 client for the store that the settings name."""

from __future__ import annotations

import functools
import os
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import ConfigError
from pipelines.core.grants import Role, profile
from pipelines.core.settings.data import StoreSettings
from pipelines.core.store import answers
from pipelines.core.store.deadline import hurry

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

DEFAULT_REGION = "us-east-1"

_LISTED_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z")


def make_client(settings: StoreSettings, role: Role | None) -> Any:
    import boto3
    import botocore.session
    from botocore import handlers
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
        core.register_component("response_parser_factory", _parsers())
        own = profile(role) if role and profile(role) in core.available_profiles else None
        session = boto3.session.Session(botocore_session=core, profile_name=own)
        region = session.region_name or os.environ.get("AWS_REGION") or DEFAULT_REGION
        client = session.client(
            "s3", region_name=region, config=Config(s3=_addressing(core), **options)
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"cannot set up the S3 client: {error}") from error
    client.meta.events.register("before-parse.s3", answers.inspect)
    # It parses each listing once more, to see errors with status 200: `store.answers` sees them.
    client.meta.events.unregister("before-parse.s3.*", handlers._handle_200_error)
    hurry(client)
    return client


@functools.cache
def _service_descriptions() -> Any:
    """What botocore reads to learn the S3 API: a tenth of a second, once per process."""
    from botocore.loaders import create_loader

    return create_loader()


@functools.cache
def _parsers() -> Any:
    """The parsers of botocore, which read the lines of a listing by `listed` where they can."""
    from botocore.parsers import ResponseParserFactory, RestXMLParser

    class Parser(RestXMLParser):  # type: ignore[misc]
        def _handle_list(self, shape: Any, node: Any) -> Any:
            if shape.name != "ObjectList":
                return super()._handle_list(shape, node)
            lines = node if isinstance(node, list) else [node]
            return [listed(line) or self._parse_shape(shape.member, line) for line in lines]

    class Factory(ResponseParserFactory):  # type: ignore[misc]
        def create_parser(self, protocol_name: str) -> Any:
            return Parser() if protocol_name == "rest-xml" else super().create_parser(protocol_name)

    return Factory()


def listed(line: Element) -> dict[str, Any] | None:
    """What is used of a line of a listing; None where it is not written in the usual way.

    botocore then reads the line, with the same result, if it can. Its reader of all shapes and of
    moments in any format would take nine tenths of the cost of a listing.
    """
    found = {part.tag.rpartition("}")[2]: part.text for part in line}
    key, size, tag, moment = (found.get(name) for name in ("Key", "Size", "ETag", "LastModified"))
    if not (key and size and tag and moment and len(found) == len(line)):
        return None
    if not (_LISTED_MOMENT.fullmatch(moment) and size.isdecimal()):
        return None
    try:
        stored_at = datetime.fromisoformat(moment)
    except ValueError:  # a day that no month has
        return None
    return {"Key": key, "Size": int(size), "ETag": tag, "LastModified": stored_at}


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
