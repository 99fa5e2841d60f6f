"""``python -m ops.demo``."""

from ops.demo.run import app

app()
