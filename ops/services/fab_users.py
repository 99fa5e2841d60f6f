"""Create Airflow's users and their roles, where its FAB auth manager keeps them.

    AIRFLOW_USERS='{"ada": ["Op", "her password"]}' python -m ops.services.fab_users

One process for all of them: `airflow users create` starts a whole Airflow for each. A user who
exists is left as they are. Passwords come in a variable, so that no process list shows them.
"""

from __future__ import annotations

import json
import os

USERS_VARIABLE = "AIRFLOW_USERS"


def main() -> None:
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    wanted: dict[str, tuple[str, str]] = json.loads(os.environ[USERS_VARIABLE])
    with get_application_builder() as builder:
        security = builder.sm
        for name, (role_name, password) in wanted.items():
            if security.find_user(name):
                continue
            role = security.find_role(role_name)
            if role is None:
                raise SystemExit(f"there is no role {role_name!r}")
            if not security.add_user(name, name, "", f"{name}@example.org", role, password):
                raise SystemExit(f"user {name!r} could not be created")


if __name__ == "__main__":
    main()
