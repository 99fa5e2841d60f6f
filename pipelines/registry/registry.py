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

from pipelines.core.store.bucket import Bucket
from pipelines.records.succession import LogEntry
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
            If the log was cut back: it ends before a generation that a decision was made against,
            that the hint announces, or that the caller has seen.
        """
        decided = self.decisions.decided_against()  # read first: the log may grow meanwhile
        champion = self.log.champion()
        newest = champion.generation if champion else 0
        for generation, key in decided:
            if generation > newest:
                self.decisions.decision(key)  # its key alone proves nothing
                raise self.log.cut(f"a decision was made against generation {generation}", newest)
        if at_least > newest:
            raise self.log.cut(f"generation {at_least} was seen before", newest)
        return newest

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
