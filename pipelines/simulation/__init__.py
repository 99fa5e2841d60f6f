"""A film site to try the loop with: reviews, damage, nightly deliveries."""
