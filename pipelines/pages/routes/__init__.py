"""Which address shows which page: HTTP, permissions, forms."""
