"""Programs of torch.export: from modules, and quantized by torchao, for every backend that lowers them further."""
