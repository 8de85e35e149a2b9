"""Backend `executorch`: torch.export, torchao's PT2E quantization, and XNNPACK's part of ExecuTorch's runtime."""
