"""The one way to talk to S3: what is asked, what proves to be an answer, what is signed."""
