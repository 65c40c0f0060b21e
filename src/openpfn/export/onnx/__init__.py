"""Networks as ONNX files: `write` writes them, `graphs` says what they compute, `checking` runs
them in onnxruntime."""
