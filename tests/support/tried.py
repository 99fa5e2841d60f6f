"""How much an attack tried: counted by its test, printed at the end of the run."""

from __future__ import annotations

import pytest

FILES_TRIED = pytest.StashKey[int]()
