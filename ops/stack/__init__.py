"""The full stack without docker: `make stack`, `stack-night` and `stack-down`."""
