"""The role OnCall of Airflow's FAB: it reads everything, and sees to what waits or has failed.

    python -m plugins.on_call

makes the role, or adds to it what a new release or a further model brings. FAB asks for the right
to edit a DAG where somebody starts a run, answers a question or repeats a task, and for the same
right where somebody pauses the DAG. `LoopFabAuthManager` keeps the two apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
from airflow.providers.fab.auth_manager.security_manager.override import (
    FabAirflowSecurityManagerOverride,
)
from airflow.providers.fab.www.security import permissions as fab

from pipelines.core import config
from pipelines.core.links import INGEST, REPLAY
from pipelines.core.settings.settings import FIRST, KINDS, Settings

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
    from airflow.api_fastapi.auth.managers.models.resource_details import (
        DagAccessEntity,
        DagDetails,
    )

ROLE = "OnCall"

Permission = tuple[str, str]  # an action and what it is done to, as FAB names them

_STARTS = ("rollback", "release")  # of each model; and the replay
_EVERYWHERE: tuple[Permission, ...] = (
    *FabAirflowSecurityManagerOverride.VIEWER_PERMISSIONS,
    (fab.ACTION_CAN_ACCESS_MENU, fab.RESOURCE_HITL_DETAIL),  # Required Actions
    # They count for DAGs that the role may edit, which are ours.
    (fab.ACTION_CAN_EDIT, fab.RESOURCE_HITL_DETAIL),
    (fab.ACTION_CAN_EDIT, fab.RESOURCE_DAG_RUN),
    (fab.ACTION_CAN_EDIT, fab.RESOURCE_TASK_INSTANCE),
)


class LoopFabAuthManager(FabAuthManager):
    """FAB's auth manager, in which pausing a DAG takes the right to edit all DAGs.

    Airflow looks for "FabAuthManager" in the name, and only then writes down FAB's rights of a DAG.
    """

    def is_authorized_dag(
        self,
        *,
        method: ResourceMethod,
        user: Any,
        access_entity: DagAccessEntity | None = None,
        details: DagDetails | None = None,
    ) -> bool:
        is_the_dag_itself = method == "PUT" and access_entity is None
        return super().is_authorized_dag(
            method=method,
            user=user,
            access_entity=access_entity,
            details=None if is_the_dag_itself else details,
        )


def permissions_of(settings: Settings) -> list[Permission]:
    """What the role may do, with the DAGs of all models."""
    models = [settings.of(name).dags for name in settings.model_names]
    edited = [INGEST, REPLAY, f"{FIRST}_housekeeping"]
    edited += [f"{dags}_{kind}" for dags in models for kind in KINDS]
    started = [REPLAY, *(f"{dags}_{kind}" for dags in models for kind in _STARTS)]
    return [
        *_EVERYWHERE,
        *((fab.ACTION_CAN_EDIT, fab.resource_name(dag, fab.RESOURCE_DAG)) for dag in edited),
        *((fab.ACTION_CAN_CREATE, fab.resource_name(dag, fab.RESOURCE_DAG_RUN)) for dag in started),
    ]


def main() -> None:
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    wanted = permissions_of(config.load())
    with get_application_builder() as builder:
        builder.sm.bulk_sync_roles([{"role": ROLE, "perms": wanted}])


if __name__ == "__main__":
    main()
