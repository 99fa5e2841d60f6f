#!/bin/sh
# As the entrypoint of apache/airflow: what is no program of its own is a command of airflow.
set -eu
umask 0002
case "${1:-}" in
  bash | python | airflow) exec "$@" ;;
  *) exec airflow "$@" ;;
esac
