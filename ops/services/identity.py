"""What makes a stack the one it is: the mark of its processes, ports, login and secrets."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ops.services.processes import StackError, free_port

USUAL_UI_PORT, USUAL_S3_PORT, USUAL_SERVICE_PORT = 8080, 9000, 8090
USUAL_DATABASE_PORT, USUAL_BROKER_PORT = 5432, 6379


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True)
class Identity:
    """New for a stack that is thrown away, kept in a file for one that goes on.

    Attributes
    ----------
    marker : str
        In the environment of each process of the stack.
    password : str
        Of Airflow's user ``admin``; empty: the user's own name.
    s3_key : str
        Who names it may use the buckets; a real S3 server asks for ``s3_secret``, too.
    """

    marker: str = field(default_factory=lambda: secrets.token_hex(16))
    ui_port: int = 0
    s3_port: int = 0
    password: str = ""
    service_port: int = 0
    database_port: int = 0
    broker_port: int = 0
    s3_key: str = field(default_factory=lambda: secrets.token_hex(16))
    s3_secret: str = field(default_factory=lambda: secrets.token_hex(20))
    database_password: str = field(default_factory=lambda: secrets.token_hex(16))
    broker_password: str = field(default_factory=lambda: secrets.token_hex(16))
    jwt_secret: str = field(default_factory=lambda: secrets.token_hex(64))
    api_secret: str = field(default_factory=lambda: secrets.token_hex(32))
    fernet_key: str = field(default_factory=_fernet_key)

    def with_free_ports(self) -> Identity:
        """The same with ports that nobody listens on: its own, the usual ones, or others."""
        return replace(
            self,
            ui_port=free_port(self.ui_port or USUAL_UI_PORT),
            s3_port=free_port(self.s3_port or USUAL_S3_PORT),
            service_port=free_port(self.service_port or USUAL_SERVICE_PORT),
            database_port=free_port(self.database_port or USUAL_DATABASE_PORT),
            broker_port=free_port(self.broker_port or USUAL_BROKER_PORT),
        )


def kept_identity(path: Path) -> Identity:
    """The identity in a file that only its owner can read, made the first time.

    Raises
    ------
    StackError
        If the file is not one.
    """
    try:
        return Identity(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        made = Identity(password=secrets.token_urlsafe(12))
    except (ValueError, TypeError) as error:
        raise StackError(
            f"{path} does not hold the secrets of this loop ({type(error).__name__}). Put it back "
            "from a copy, or delete it: Airflow then has another login, and its stored connections "
            "cannot be read"
        ) from error
    keep(made, path)
    return made


def keep(identity: Identity, path: Path) -> None:
    """Write it so that the file is whole or the one of before."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600, exist_ok=False)
    part.write_text(json.dumps(asdict(identity), indent=2) + "\n", encoding="utf-8")
    part.replace(path)
