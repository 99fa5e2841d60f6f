"""Write ``.env`` for docker compose: ``.env.example`` with fresh random secrets filled in.

Needs nothing but Python's standard library, and refuses to overwrite: a database or a store that
was made with the old secrets could not be opened any more.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
EXAMPLE, TARGET = PROJECT / ".env.example", PROJECT / ".env"


def fernet_key() -> str:
    """32 random bytes in URL-safe base64, as Fernet wants them."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


SECRETS: Mapping[str, Callable[[], str]] = {
    "AIRFLOW_ADMIN_PASSWORD": lambda: secrets.token_hex(12),
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_hex(64),
    "AIRFLOW_API_SECRET": lambda: secrets.token_hex(32),
    "AIRFLOW_FERNET_KEY": fernet_key,
    "POSTGRES_PASSWORD": lambda: secrets.token_hex(24),
    "REDIS_PASSWORD": lambda: secrets.token_hex(24),
    "GRAFANA_PASSWORD": lambda: secrets.token_hex(12),
    "LOOP_SIGNING_KEY": lambda: secrets.token_hex(32),
    "S3_SECRET_KEY": lambda: secrets.token_hex(24),
    "S3_UPSTREAM_SECRET": lambda: secrets.token_hex(20),
    "S3_INGEST_SECRET": lambda: secrets.token_hex(20),
    "S3_RETRAIN_SECRET": lambda: secrets.token_hex(20),
    "S3_HOUSEKEEPING_SECRET": lambda: secrets.token_hex(20),
    "S3_MONITOR_SECRET": lambda: secrets.token_hex(20),
    "S3_ALERTS_SECRET": lambda: secrets.token_hex(20),
    "S3_PAGES_SECRET": lambda: secrets.token_hex(20),
    "S3_SCORING_SECRET": lambda: secrets.token_hex(20),
    "S3_LOGS_SECRET": lambda: secrets.token_hex(20),
}


def fill(example: str) -> str:
    """The example with every empty value replaced by a fresh secret.

    Raises
    ------
    KeyError
        If a name without value is no known secret.
    """
    lines = []
    for line in example.splitlines():
        name, _, value = line.partition("=")
        is_secret = not line.startswith("#") and "=" in line and not value.strip()
        lines.append(f"{name}={SECRETS[name]()}" if is_secret else line)
    return "\n".join(lines) + "\n"


def write(target: Path, text: str) -> None:
    """Create the file, readable by its owner only.

    Raises
    ------
    FileExistsError
        If it exists.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def main(target: Path = TARGET) -> int:
    """Write the file and say so; returns the exit code."""
    try:
        write(target, fill(EXAMPLE.read_text(encoding="utf-8")))
    except FileExistsError:
        sys.stderr.write(
            f"error: {target} exists and is left as it is. Its secrets belong to the volumes that "
            "were made with them. To start over, remove the volumes first "
            "(docker compose down --volumes), then the file.\n"
        )
        return 1
    sys.stdout.write(
        f"wrote {target}; it holds secrets, keep it to yourself. "
        "Airflow's user and password are AIRFLOW_ADMIN_USER and AIRFLOW_ADMIN_PASSWORD in it.\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
