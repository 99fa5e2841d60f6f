"""Damage a new champion's file right after its promotion, as a failing disk would."""

from __future__ import annotations

import threading

from pipelines.registry.registry import Registry

_EVERY_SECONDS = 0.2


class Sabotage:
    """Waits in a thread for the next promotion, and changes one bit of the model file.

    Attributes
    ----------
    damaged : str
        The key of the file; empty while nothing was promoted.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._before = registry.log.newest_generation()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.damaged = ""

    def __enter__(self) -> Sabotage:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(_EVERY_SECONDS):
            newest = self._registry.log.newest_generation()
            if newest > self._before:
                self._damage(newest)
                return

    def _damage(self, generation: int) -> None:
        models = self._registry.models
        entry = self._registry.log.entry(generation)
        key = self._registry.versions.champion_manifest(entry).model_key
        data = bytearray(models.get(key))
        data[len(data) // 2] ^= 1
        models.put(key, bytes(data))
        self.damaged = key
