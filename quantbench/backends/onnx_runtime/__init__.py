"""ONNX Runtime: `.onnx` files loaded, quantized and looked into; torch models written as such."""
