"""docker-compose.yaml on an engine of its own: `make test-compose`."""
