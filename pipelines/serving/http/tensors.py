"""The tensors of the Open Inference Protocol: texts in, probabilities and labels out.

One input, ``text`` of type BYTES, and two outputs: ``probability`` (of positive; of each class, in
rows, for a model with more than two) and ``label``.
Tensors may be sent and asked for as JSON or as raw bytes (the extension ``binary_tensor_data``).

References
----------
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipelines.serving.http.bounds import RefusedError
from pipelines.serving.http.contract import labels_of, parse
from pipelines.serving.http.service import Asked, Reply

JSON_LENGTH_HEADER = "Inference-Header-Content-Length"
OUTPUTS = ("probability", "label")

Shape = list[int]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # the protocol may grow


class _Parameters(_Message):
    binary_data_size: int | None = Field(default=None, ge=0)
    binary_data: bool = False
    binary_data_output: bool = False


class InputTensor(_Message):
    name: str
    shape: Shape = Field(min_length=1, max_length=2)
    datatype: str
    data: list[str] | list[list[str]] | None = None
    parameters: _Parameters = _Parameters()


class OutputTensor(_Message):
    name: str
    parameters: _Parameters = _Parameters()


class InferRequest(_Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "inputs": [
                        {
                            "name": "text", "shape": [2], "datatype": "BYTES",
                            "data": ["A warm and funny film.", "Two dull hours."],
                        }
                    ]
                }
            ]
        }
    )  # fmt: skip

    id: str | None = None
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[OutputTensor] | None = Field(default=None, max_length=len(OUTPUTS))
    parameters: _Parameters = _Parameters()


def message_of(asked: Asked) -> tuple[InferRequest, bytes]:
    """The JSON of a request, and the raw bytes of its tensors after it."""
    body, length = asked.body, asked.request.headers.get(JSON_LENGTH_HEADER)
    if length is None:
        return parse(body, InferRequest), b""
    if not length.isascii() or not length.isdigit() or int(length[:9]) > len(body):
        raise RefusedError(400, f"{JSON_LENGTH_HEADER} must be the length of the JSON part")
    size = int(length[:9])
    return parse(body[:size], InferRequest), body[size:]


def texts_of(tensor: InputTensor, tail: bytes) -> list[str]:
    """The texts of the input.

    Raises
    ------
    RefusedError
        422 if they are not what the input says it holds.
    """
    if tensor.datatype != "BYTES":
        raise RefusedError(422, "the input must be of datatype BYTES")
    if tensor.data is None:
        if tensor.parameters.binary_data_size != len(tail):
            raise RefusedError(422, "the input has neither 'data' nor all of its binary data")
        texts = list(_elements(tail))
    else:
        texts = [text for row in tensor.data for text in ([row] if isinstance(row, str) else row)]
    if math.prod(tensor.shape) != len(texts) or min(tensor.shape) < 0:
        raise RefusedError(422, f"the input has {len(texts)} texts, which is not its shape")
    return texts


def _elements(data: bytes) -> Iterator[str]:
    """Texts of a raw tensor of BYTES: each with its length before it, 4 bytes, little-endian."""
    place = 0
    while place < len(data):
        end = place + 4
        if end > len(data) or (end := end + struct.unpack_from("<I", data, place)[0]) > len(data):
            raise RefusedError(422, "the binary data of the input ends within a text")
        try:
            yield data[place + 4 : end].decode()
        except UnicodeDecodeError:
            raise RefusedError(422, "a text of the input is not UTF-8") from None
        place = end


def reply_to(asked: Asked, message: InferRequest, probabilities: NDArray[np.float64]) -> Reply:
    """The answer with the outputs that were asked for, or both."""
    outputs = message.outputs or [OutputTensor(name=name) for name in OUTPUTS]
    tensors: list[dict[str, Any]] = []
    tails: list[bytes] = []
    for output in outputs:
        datatype, shape, values = _output(output.name, probabilities, asked.served.class_names)
        tensor: dict[str, Any] = {"name": output.name, "shape": shape, "datatype": datatype}
        if message.parameters.binary_data_output or output.parameters.binary_data:
            tails.append(_raw(datatype, values))
            tensors.append(tensor | {"parameters": {"binary_data_size": len(tails[-1])}})
        else:
            tensors.append(tensor | {"data": values})
    answer = {
        "model_name": asked.served.model_name,
        "model_version": asked.served.version,
        "id": message.id or asked.request_id,
        "parameters": {"generation": asked.served.generation} | _classes(asked, probabilities),
        "outputs": tensors,
    }
    content, texts = json.dumps(answer).encode(), len(probabilities)
    if not tails:
        return Reply(content, texts)
    headers = {JSON_LENGTH_HEADER: str(len(content))}
    return Reply(content + b"".join(tails), texts, "application/octet-stream", headers)


def _classes(asked: Asked, probabilities: NDArray[np.float64]) -> dict[str, str]:
    """The order of the classes in a row; a parameter can be no list."""
    return {"classes": ",".join(asked.served.class_names)} if probabilities.ndim == 2 else {}


def _output(
    name: str, probabilities: NDArray[np.float64], class_names: tuple[str, ...]
) -> tuple[str, Shape, list[Any]]:
    """Datatype, shape and values of a tensor, row after row."""
    if name == "probability":
        return "FP64", list(probabilities.shape), probabilities.ravel().tolist()
    if name == "label":
        return "BYTES", [len(probabilities)], labels_of(probabilities, class_names)
    raise RefusedError(422, f"there is no output of this name; there are {' and '.join(OUTPUTS)}")


def _raw(datatype: str, values: list[Any]) -> bytes:
    if datatype == "FP64":
        return np.asarray(values, "<f8").tobytes()
    return b"".join(struct.pack("<I", len(value)) + value.encode() for value in values)
