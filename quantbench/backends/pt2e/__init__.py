"""Backend `pt2e`: torch.export, torchao's PT2E quantization, and the program compiled by inductor."""
