# In the place of MinIO: Ceph's gateway, with the arguments, the health check and the client mc of its image
# as far as docker-compose.yaml uses them.
ARG BASE
FROM ${BASE}
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    ceph-mon ceph-osd radosgw python3 python3-httpx python3-boto3 && rm -rf /var/lib/apt/lists/*
COPY ops/__init__.py /opt/loop/ops/
COPY ops/services/ /opt/loop/ops/services/
COPY ops/compose/__init__.py ops/compose/gateway.py ops/compose/client.py /opt/loop/ops/compose/
COPY pipelines/__init__.py /opt/loop/pipelines/
COPY pipelines/core/ /opt/loop/pipelines/core/
ENV PYTHONPATH=/opt/loop
# The health check asks for a page that only MinIO has.
RUN printf '#!/bin/sh\nexec /usr/bin/curl --fail --silent --output /dev/null http://127.0.0.1:9000/\n' >/usr/local/bin/curl \
 && printf '#!/bin/sh\nexec python3 -m ops.compose.client "$@"\n' >/usr/local/bin/mc \
 && chmod 0755 /usr/local/bin/curl /usr/local/bin/mc && mkdir /data
VOLUME /data
ENTRYPOINT ["python3", "-m", "ops.compose.gateway"]
