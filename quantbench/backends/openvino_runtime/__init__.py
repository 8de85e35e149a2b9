"""Backend `openvino`: IR files and ONNX files, quantized by NNCF and run by OpenVINO."""
