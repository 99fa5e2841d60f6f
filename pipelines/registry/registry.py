"""Versions and the champion's succession, built on create-if-absent alone.

    <name>/plans/<version>.json                              what will be trained
    <name>/versions/<version>/model-<digest>.skops           named by its bytes
    <name>/versions/<version>/manifest.json                  written last: else it does not exist
    <name>/versions/<version>/gates/<generation>-<policy>/   evaluation and decision against one
                                                             champion under one gate policy, and
                                                             the model card
    <name>/log/<generation>.json                             decides who is and was champion
    <name>/champion.json                                     a hint for readers

The log only grows. Two runs that promote at once create the same next entry; one of them wins, and
the other one must decide again against the new champion.
"""

from __future__ import annotations

from pipelines.core import keys
from pipelines.core.parallel import in_parallel
from pipelines.core.store.bucket import Bucket
from pipelines.records.succession import LogEntry, RollbackPlan
from pipelines.registry.champion_log import ChampionLog
from pipelines.registry.decisions import Decisions
from pipelines.registry.versions import Versions


class Registry:
    """All versions of one model, the decisions on them, and which one is champion."""

    def __init__(self, models: Bucket, name: str) -> None:
        self.models = models
        self.name = name
        self.versions = Versions(models, name)
        self.log = ChampionLog(models, name)
        self.decisions = Decisions(models, name, self.versions)

    def check_nothing_cut(self, at_least: int = 0) -> int:
        """The newest generation, after checking for every proof of a later one.

        Parameters
        ----------
        at_least : int
            A generation that the caller knows to have been promoted.

        Raises
        ------
        TrustError
            If the log was cut back or written anew: it ends before a generation that a record of a
            gate or a rollback plan names, that the hint announces, or that the caller has seen.
        """
        named = self.decisions.generations_named()  # read first: the log may grow meanwhile
        plans = self.rollback_plans()
        champion = self.log.champion()
        newest = champion.generation if champion else 0
        for generation, key, kind in named:
            if generation > newest:
                self.models.get_record(key, kind)  # its key alone proves nothing
                raise self.log.cut(f"{key} was made against generation {generation}", newest)
        for plan in plans:
            self._check_plan(plan, newest)
        if at_least > newest:
            raise self.log.cut(f"generation {at_least} was seen before", newest)
        return newest

    def rollback_plans(self) -> list[RollbackPlan]:
        infos = self.models.list(keys.rollbacks_folder(self.name))
        listed = [info.key for info in infos if keys.is_rollback_plan(info.key)]
        return list(in_parallel(lambda key: self.models.get_record(key, RollbackPlan), listed))

    def _check_plan(self, plan: RollbackPlan, newest: int) -> None:
        generation, version = plan.champion_generation, plan.champion_version
        if generation > newest or self.log.entry(generation).version != version:
            raise self.log.cut(
                f"{plan.object_key} names version {version} as generation {generation}", newest
            )

    def append(self, entry: LogEntry) -> LogEntry:
        """Write the next line of the log, after checking that its end was not cut off.

        Raises
        ------
        ChampionMovedError
            If somebody else wrote that line.
        UnsafeStoreError
            If the store does not honour create-if-absent.
        """
        self.models.prove_create_if_absent()
        self.check_nothing_cut()
        return self.log.append(entry)
