"""What `bench_serving` compares with: an empty handler, and a plain service with joblib.

python -m benchmarks.compared.services empty --port 9001
python -m benchmarks.compared.services plain --port 9002 --model model.joblib
"""

from __future__ import annotations

import argparse
from pathlib import Path

import joblib
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Texts(BaseModel):
    text: str | None = None
    texts: list[str] | None = None


def empty() -> FastAPI:
    """Reads the same body, and does nothing with it."""
    app = FastAPI()

    @app.post("/v1/score")
    async def score(asked: Texts) -> dict[str, bool]:
        return {"is_text": asked.text is not None}

    return app


def plain(model_file: Path) -> FastAPI:
    """What most people write: load a pipeline at the start, score in a handler."""
    app, model = FastAPI(), joblib.load(model_file)

    @app.post("/v1/score")
    def score(asked: Texts) -> dict[str, list[float]]:
        texts = [asked.text] if asked.text is not None else asked.texts or []
        return {"probabilities": model.predict_proba(texts)[:, 1].tolist()}

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=("empty", "plain"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", type=Path)
    chosen = parser.parse_args()
    app = empty() if chosen.which == "empty" else plain(chosen.model)
    uvicorn.run(app, host="127.0.0.1", port=chosen.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
