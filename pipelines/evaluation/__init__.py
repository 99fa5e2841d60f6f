"""Score challenger, champion and reference on the same rows; check the file in a clean process."""
