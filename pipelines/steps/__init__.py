"""One function per task, a URI in and a URI out: one module per DAG."""
