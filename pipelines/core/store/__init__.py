"""The only way to talk to S3: requests, checks of the answers, and signatures."""
