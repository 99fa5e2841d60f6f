"""What can be trained, written, read and asked."""
