"""The pages that operators read: records in, HTML out. They know neither Airflow nor its login."""
