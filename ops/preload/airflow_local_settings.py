"""Libraries that the scheduler of `ops.services.stack` imports as it starts, by a hook of Airflow.

Its task processes are forked from it, so none of them spends seconds on the same imports. Nothing
of the project is imported here: tasks must run the code that is on the disk when they start.
"""

from importlib import import_module

LIBRARIES = (
    "boto3",
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
