"""The retraining loop's logic: plain Python, importable without Airflow."""
