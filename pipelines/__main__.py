"""Run the loop from a shell: python -m pipelines."""

from __future__ import annotations

from pipelines.cli.app import app

if __name__ == "__main__":
    app()
