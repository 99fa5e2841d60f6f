"""Texts as numbers: fingerprints, corpora, signatures, and their caches."""
