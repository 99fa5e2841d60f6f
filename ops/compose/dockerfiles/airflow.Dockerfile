# In the place of apache/airflow:slim-*: its user, folders, environment of Python and start, without Airflow,
# which ops/Dockerfile installs from the lock.
ARG BASE
FROM ${BASE}
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    python3 python3-venv dumb-init libgomp1 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 50000 --gid 0 --create-home --home-dir /home/airflow airflow \
 && mkdir -p /opt/airflow/logs && chown -R airflow:0 /opt/airflow && chmod -R g+w /opt/airflow
COPY ops/compose/dockerfiles/airflow-entrypoint.sh /entrypoint
RUN chmod 0755 /entrypoint
USER airflow
# The image has a recent pip, too; Debian's refuses a lock in which one library asks for an extra of another.
RUN python3 -m venv /home/airflow/.local && /home/airflow/.local/bin/pip install --quiet --upgrade pip
ENV AIRFLOW_HOME=/opt/airflow VIRTUAL_ENV=/home/airflow/.local PATH=/home/airflow/.local/bin:/usr/local/bin:/usr/bin:/bin \
    DUMB_INIT_SETSID=1 PYTHONUNBUFFERED=true GUNICORN_CMD_ARGS="--worker-tmp-dir /dev/shm"
WORKDIR /opt/airflow
ENTRYPOINT ["/usr/bin/dumb-init", "--", "/entrypoint"]
CMD []
