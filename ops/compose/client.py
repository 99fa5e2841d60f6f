r"""What stands in for MinIO's client in a container: users and policies on Ceph's gateway.

It knows the three commands that docker-compose.yaml uses, and takes address and root user from
``MC_HOST_store`` as ``mc`` does:

    printf '%s\n' NAME SECRET | mc admin user add store
    mc admin policy create store NAME FILE
    mc admin policy attach store NAME --user NAME
"""

from __future__ import annotations

import os
import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_ADDRESS = "MC_HOST_store"  # so is it written: the store is the name that `mc` knows it by
_CONFLICT = 409


class Client:
    """The root user of a gateway."""

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        self._endpoint = f"{parts.scheme}://{parts.hostname}:{parts.port}"
        self._keys = {
            "aws_access_key_id": parts.username,
            "aws_secret_access_key": parts.password,
        }

    def add_user(self, name: str, secret: str) -> None:
        """Make a user who may do nothing; one who is there gets the secret."""
        user = {"uid": name, "access-key": name, "secret-key": secret}
        try:
            self._ask("PUT", {**user, "display-name": name, "max-buckets": "-1"})
        except urllib.error.HTTPError as error:
            if error.code != _CONFLICT:
                raise
            self._ask("POST", user)

    def attach(self, user: str, policy: str) -> None:
        """Let a user do what a policy says; replaces what it said before."""
        import boto3

        iam: Any = boto3.client(
            "iam", endpoint_url=self._endpoint, region_name="us-east-1", **self._keys
        )
        iam.put_user_policy(UserName=user, PolicyName="loop", PolicyDocument=policy)

    def _ask(self, method: str, query: dict[str, str]) -> None:
        """The gateway's own interface for users. A refusal is a `urllib.error.HTTPError`."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        keys = Credentials(*self._keys.values())
        url = f"{self._endpoint}/admin/user?{urllib.parse.urlencode(query)}"
        signed = AWSRequest(method=method, url=url)
        S3SigV4Auth(keys, "s3", "us-east-1").add_auth(signed)
        headers = dict(signed.headers.items())
        request = urllib.request.Request(url, method=method, headers=headers)  # noqa: S310
        urllib.request.urlopen(request, timeout=60).close()  # noqa: S310


def run(arguments: Sequence[str]) -> None:
    """Do what `mc` would do. Raises `SystemExit` for what it does not know."""
    client, kept = Client(os.environ[_ADDRESS]), Path(os.environ["MC_CONFIG_DIR"])
    match list(arguments):
        case ["admin", "user", "add", "store"]:
            client.add_user(*sys.stdin.read().split())
        case ["admin", "policy", "create", "store", name, file]:
            kept.mkdir(exist_ok=True)
            shutil.copyfile(file, kept / name)
        case ["admin", "policy", "attach", "store", name, "--user", user]:
            client.attach(user, (kept / name).read_text(encoding="utf-8"))
        case _:
            raise SystemExit(f"mc {' '.join(arguments)}: this stand-in does not know that")


if __name__ == "__main__":
    run(sys.argv[1:])
