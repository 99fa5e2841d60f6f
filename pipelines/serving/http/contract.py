"""What goes over the wire at ``/v1``: requests, answers, and their examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.core.escaping import plain
from pipelines.core.settings.section import faults
from pipelines.models.answers import predicted
from pipelines.serving.http.bounds import RefusedError

VERSION_HEADER, GENERATION_HEADER = "X-Model-Version", "X-Model-Generation"
MIN_GENERATION_HEADER, REQUEST_ID_HEADER = "X-Model-Min-Generation", "X-Request-Id"
MOST_ID_CHARS = 200  # of a caller's name for a text, which waits in memory to be logged

AnyMessage = TypeVar("AnyMessage", bound=BaseModel)


class Message(BaseModel):
    """What comes and goes as JSON: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScoreRequest(Message):
    """One text or many."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "A warm and funny film."},
                {"texts": ["A warm and funny film.", "Two dull hours."], "ids": ["r-1", "r-2"]},
            ]
        }
    )

    text: str | None = None
    texts: list[str] | None = None
    ids: list[Annotated[str, Field(max_length=MOST_ID_CHARS)]] | None = Field(
        None, description="The caller's name for each text, kept in the prediction log."
    )

    @model_validator(mode="after")
    def _has_one_of_both(self) -> ScoreRequest:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give either 'text' or 'texts'")
        if self.ids is not None and len(self.ids) != len(self.all_texts):
            raise ValueError("give as many 'ids' as texts, or none")
        return self

    @property
    def all_texts(self) -> list[str]:
        return [self.text] if self.text is not None else self.texts or []


class Prediction(Message):
    label: str = Field(
        description="positive or negative; or another class of the model", examples=["positive"]
    )
    probability: float = Field(
        description="of the second class, positive, in [0, 1]; of the label if there are more",
        examples=[0.981],
    )
    probabilities: dict[str, float] | None = Field(
        None, description="of each class, if there are more than two; they add up to 1"
    )


class Answered(Message):
    """Which champion answered, in every answer."""

    model: str = Field(examples=["sentiment"])
    version: str = Field(examples=["3f1c9a0b5d7e2468ace0"])
    generation: int = Field(description="Its place in the champion log.", examples=[12])
    request_id: str = Field(examples=["5b0c0d7c2f1f4d0f9a6f0a4f1f6f2c11-2a"])


class ScoreAnswer(Answered):
    predictions: list[Prediction]


class Failure(Message):
    error: str = Field(description="One sentence.", examples=["text 1 is empty"])


def parse(body: bytes, kind: type[AnyMessage]) -> AnyMessage:
    """The message in a body of strict JSON.

    Raises
    ------
    RefusedError
        400 if it is not JSON in UTF-8, 422 if it is not such a message.
    """
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        why = faults(error).replace("the whole: ", "").replace("Value error, ", "")
        is_json = error.errors(include_input=False)[0]["type"] != "json_invalid"
        raise RefusedError(422 if is_json else 400, plain(why, most=300)) from None


def labels_of(probabilities: NDArray[np.float64], class_names: Sequence[str]) -> list[str]:
    """The likeliest class of each text."""
    return [class_names[number] for number in predicted(probabilities).tolist()]


def predictions_of(
    probabilities: NDArray[np.float64], class_names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """What a `Prediction` holds, for each text."""
    labels = labels_of(probabilities, class_names)
    if probabilities.ndim == 1:
        for label, value in zip(labels, probabilities.tolist(), strict=True):
            yield {"label": label, "probability": value}
        return
    for label, values in zip(labels, probabilities.tolist(), strict=True):
        by_class = dict(zip(class_names, values, strict=True))
        yield {"label": label, "probability": by_class[label], "probabilities": by_class}


def described(kind: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI says of a body that `parse` reads."""
    schema = kind.model_json_schema()
    schema = _inlined(schema, schema.pop("$defs", {}))
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    """A schema with each reference replaced by what it leads to; none leads back to itself."""
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        node = definitions[name] | {key: node[key] for key in node.keys() - {"$ref"}}
    return {key: _inlined(value, definitions) for key, value in node.items()}
