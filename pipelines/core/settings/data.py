"""Settings of what comes in: the stores, files, their words, validation, the split, sources."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from pipelines.core.date_forms import EPOCH, gives_a_day
from pipelines.core.settings.section import MOST_DAYS, Section, Share


class StoreSettings(Section):
    reviews_bucket: str = Field(min_length=3)
    models_bucket: str = Field(min_length=3)
    connect_timeout_seconds: float = Field(gt=0)
    read_timeout_seconds: float = Field(gt=0)
    max_attempts: int = Field(ge=1)
    deadline_seconds: float = Field(gt=0)
    min_bytes_per_second: int = Field(gt=0)
    max_listed_objects: int = Field(ge=1)


class IntakeSettings(Section):
    max_delivery_bytes: int = Field(gt=0)
    max_decoded_bytes: int = Field(gt=0)
    max_rows: int = Field(gt=0)
    max_row_chars: int = Field(gt=0)
    max_value_bytes: int = Field(gt=0)
    max_columns: int = Field(ge=6)
    partition_rows: int = Field(gt=0)
    max_deliveries: int = Field(ge=1, le=1024)  # Airflow maps over at most 1,024
    max_decoder_memory_bytes: int = Field(gt=0)
    max_decoder_cpu_seconds: int = Field(gt=0)
    max_decoder_wall_seconds: float = Field(gt=0)


Name = Annotated[str, Field(min_length=1)]
Names = tuple[Name, ...]


class ColumnSettings(Section):
    """What upstream calls each column: the first of these names that a file has."""

    review_id: Names
    text: Annotated[Names, Field(min_length=1)]
    label: Annotated[Names, Field(min_length=1)]
    written_on: Names
    movie_id: Names
    rating: Names
    date_formats: Names

    @model_validator(mode="after")
    def _names_once(self) -> ColumnSettings:
        names = [name for column, names in self if column != "date_formats" for name in names]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"{doubled} stand for more than one column")
        wrong = [form for form in self.date_formats if not gives_a_day(form)]
        if wrong:
            raise ValueError(
                f"date_formats {wrong} give no day: write year, month and day as Python's strptime "
                f'does, such as "%d.%m.%Y", or {EPOCH!r} for seconds since 1970'
            )
        return self


class LabelSettings(Section):
    """What upstream writes for each label."""

    positive: Annotated[Names, Field(min_length=1)]
    negative: Annotated[Names, Field(min_length=1)]
    neutral: Names
    positive_from_stars: float = Field(ge=0)
    negative_to_stars: float = Field(ge=0)

    @model_validator(mode="after")
    def _are_apart(self) -> LabelSettings:
        lists = (self.positive, self.negative, self.neutral)
        names = [name for part in lists for name in {text.strip().casefold() for text in part}]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"{doubled} stand for more than one label")
        if self.positive_from_stars and self.negative_to_stars >= self.positive_from_stars:
            raise ValueError("negative_to_stars must be less than positive_from_stars")
        return self


class ValidationSettings(Section):
    min_rows: int = Field(ge=1)
    max_quarantined_share: float = Share
    min_text_chars: int = Field(ge=1)
    max_text_chars: int = Field(ge=1)
    min_positive_share: float = Share
    max_positive_share: float = Share
    warn_positive_share_low: float = Share
    warn_positive_share_high: float = Share
    balance_min_rows: int = Field(ge=1)
    max_future_days: int = Field(ge=0, le=MOST_DAYS)
    late_window_days: int = Field(ge=0, le=MOST_DAYS)
    max_age_days: int = Field(ge=0, le=MOST_DAYS)
    max_known_share: float = Share
    duplicate_nights: int = Field(ge=0, le=MOST_DAYS)
    trailing_nights: int = Field(ge=0, le=MOST_DAYS)
    history_min_deliveries: int = Field(ge=1)
    warn_row_count_factor: float = Field(ge=1)
    max_row_count_factor: float = Field(ge=1)
    drift_min_rows: int = Field(ge=1)
    warn_positive_share_change: float = Share
    max_positive_share_change: float = Share
    warn_length_psi: float = Field(gt=0)
    max_length_psi: float = Field(gt=0)
    warn_vocabulary_psi: float = Field(gt=0)
    max_vocabulary_psi: float = Field(gt=0)
    warn_agreement_drop: float = Share
    max_agreement_drop: float = Share


class SplitSettings(Section):
    holdout_share: float = Field(gt=0, lt=1)
    selection_share: float = Field(gt=0, lt=1)
    salt: str = Field(min_length=1)


class SourceSettings(Section):
    """What is declared of one source; ``columns`` and ``labels`` replace single keys of theirs."""

    expected_every_days: int | None = Field(default=None, ge=1, le=MOST_DAYS)
    columns: dict[str, Names] = Field(default_factory=dict)
    labels: dict[str, Names | float] = Field(default_factory=dict)
