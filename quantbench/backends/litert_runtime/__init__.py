"""Backend `litert`: `.tflite` files, run by LiteRT."""
