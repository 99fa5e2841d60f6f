"""What every section of the configuration is: frozen, and without unknown names."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

Share = Field(ge=0.0, le=1.0)
MOST_DAYS = 36_500  # a century: any date minus this is still a valid date


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
