"""Texts as numbers: fingerprints, corpora, signatures, and a cache of fingerprints."""
