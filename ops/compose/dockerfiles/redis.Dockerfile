# In the place of redis:*: Debian's version of it, as the user 999 too.
ARG BASE
FROM ${BASE}
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    redis-server && rm -rf /var/lib/apt/lists/* && mkdir /data && chown 999:999 /data
VOLUME /data
WORKDIR /data
