"""What a corpus holds, as plain lists."""

from __future__ import annotations

from pipelines.features.corpus import Corpus


def plain(corpus: Corpus) -> tuple[list[int], ...]:
    arrays = (corpus.vocabulary, corpus.columns, corpus.lengths, corpus.rare.in_order())
    return tuple(array.tolist() for array in arrays)
