"""Serve a fitted context over HTTP with onnxruntime alone, no torch. After
`openpfn export onnx nano --out nano.onnx --steps`:

python recipes/onnx_server.py nano.onnx rows.csv 8000
curl -d '[[5.1, 3.5, 1.4, 0.2]]' localhost:8000

`rows.csv` holds numbers, an empty cell where one is missing; its last column is the class, from 0.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime


def state_of(fit, table):
    """The state after the rows of `table`, by the names of its tensors."""
    context = {"x_context": table[None, :, :-1], "y_context": table[None, :, -1]}
    context["categorical"] = np.zeros((1, table.shape[1] - 1), dtype=bool)
    return dict(zip([o.name for o in fit.get_outputs()], fit.run(None, context), strict=True))


class Answers(BaseHTTPRequestHandler):
    predict: Any = None
    state: ClassVar[dict] = {}

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        rows = np.array(json.loads(body), dtype=np.float32, ndmin=2)
        logits = self.predict.run(None, {"x_query": rows[None], **self.state})[0][0]
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(chances.tolist()).encode())


def server(model, rows, port):
    """A server of the files beside `model` that knows the context in the CSV file `rows`."""
    fit, predict = (
        onnxruntime.InferenceSession(Path(model).with_stem(f"{Path(model).stem}-{step}"))
        for step in ("fit", "predict")
    )
    table = np.genfromtxt(rows, delimiter=",", skip_header=1, dtype=np.float32)
    known = {"predict": predict, "state": state_of(fit, table)}
    return HTTPServer(("localhost", int(port)), type("Known", (Answers,), known))


if __name__ == "__main__":
    server(*sys.argv[1:]).serve_forever()
