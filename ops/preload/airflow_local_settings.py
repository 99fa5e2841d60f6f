"""Libraries that the scheduler of `ops.services.stack` imports as it starts, by a hook of Airflow.

Its task processes are forked from it, so none of them spends seconds on the same imports. Nothing
of the project is imported here: tasks must run the code that is on the disk when they start.
"""

from importlib import import_module

LIBRARIES = (
    "boto3",
    "ftfy",
    "great_expectations",
    "pandas",
    "pyarrow.csv",
    "pyarrow.parquet",
    "scipy.stats",
    "skops.io",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
)

__all__ = ()  # Airflow would take every name as a setting of its own

for library in LIBRARIES:
    import_module(library)

# The first client of a process imports more, and compiles patterns. No request is made with it.
import_module("boto3.session").Session().client(
    "s3",
    region_name="us-east-1",
    aws_access_key_id="none",
    aws_secret_access_key="none",  # noqa: S106
)
