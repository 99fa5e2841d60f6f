"""Commands on signing keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import AsJson, print_facts, reports_errors
from pipelines.core import config
from pipelines.core.store.keyring import Keyring, write_new_key

keys_app = typer.Typer(help="Make, show and export signing keys.", no_args_is_help=True)


@keys_app.command("new")
@reports_errors
def keys_new(
    file: Annotated[Path, typer.Argument(help="Where to write the private key; must not exist.")],
    as_json: AsJson = False,
) -> None:
    """Make a signing key. Keep the file secret; add the public key to trust.trusted_keys."""
    print_facts({"file": str(file), "public_key": write_new_key(file)}, as_json=as_json)


@keys_app.command("show")
@reports_errors
def keys_show(as_json: AsJson = False) -> None:
    """Show the public keys that are trusted here."""
    print_facts(
        {"trusted_keys": sorted(Keyring(config.load().trust.trusted_keys).trusted_keys())},
        as_json=as_json,
    )


@keys_app.command("export")
@reports_errors
def keys_export(
    file: Annotated[Path, typer.Argument(help="File to write; an existing one is replaced.")],
    as_json: AsJson = False,
) -> None:
    """Write the trusted public keys for LOOP_TRUSTED_KEYS_FILE of processes that only read."""
    exported = sorted(Keyring(config.load().trust.trusted_keys).export(file))
    print_facts({"file": str(file), "trusted_keys": exported}, as_json=as_json)
