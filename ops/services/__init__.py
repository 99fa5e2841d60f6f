"""Start what the loop needs on this machine: Airflow, an S3 server, a database; and end it all."""
