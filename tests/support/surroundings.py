"""What must not decide a test: the caller's environment, chance, and what was loaded before.

``LOOP_TEST_SEED=123`` runs tests in an order and with examples of that seed. Otherwise both are
always the same. ``HYPOTHESIS_PROFILE`` may name another profile of Hypothesis.
"""

from __future__ import annotations

import os
import random
from collections.abc import MutableMapping
from typing import Any

import hypothesis
import hypothesis.core
import hypothesis.internal.conjecture.providers as hypothesis_providers

from tests.support.services.s3_under_test import GIVEN_SERVER

SEED = os.environ.get("LOOP_TEST_SEED", "")
PREFIXES = ("AWS_", "LOOP_", "AIRFLOW", "_AIRFLOW")
KEPT_PREFIX = "LOOP_TEST_"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
TERMINALS = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE",
             "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "GITHUB_ACTIONS")  # fmt: skip
NAMES = frozenset((*PROXIES, *TERMINALS, "XDG_DATA_HOME", "ONCE"))


def is_the_callers(name: str) -> bool:
    """Whether a variable of the environment could decide a test that does not set it."""
    if name == "AWS_CA_BUNDLE" and GIVEN_SERVER:
        return False  # that server's certificate
    return name.upper() in NAMES or (name.startswith(PREFIXES) and not name.startswith(KEPT_PREFIX))


def forget_the_caller(environment: MutableMapping[str, str]) -> None:
    """Take away what people set for themselves: stores, keys, proxies, colours, widths."""
    for name in filter(is_the_callers, list(environment)):
        del environment[name]


def settle_examples() -> None:
    """Have Hypothesis try the same examples in every run, or those of the seed.

    Without a database of earlier failures, without deadlines, and without the constants that it
    finds in the modules that happen to be loaded: those differ by order and by process.
    """
    always: dict[str, Any] = {"database": None, "deadline": None, "print_blob": True}
    hypothesis.settings.register_profile("steady", derandomize=True, **always)
    hypothesis.settings.register_profile("random", **always)
    profile = os.environ.get("HYPOTHESIS_PROFILE") or ("random" if SEED else "steady")
    hypothesis.settings.load_profile(profile)
    hypothesis.core.global_force_seed = int(SEED) if SEED else None
    hypothesis_providers._get_local_constants = hypothesis_providers.Constants


def shuffle(tests: list[Any], seed: int) -> None:
    """Another order of the modules, and of the tests in each; the same for the same seed."""
    chance = random.Random(seed)
    modules = sorted({test.path for test in tests})
    chance.shuffle(modules)
    chance.shuffle(tests)
    tests.sort(key=lambda test: modules.index(test.path))
