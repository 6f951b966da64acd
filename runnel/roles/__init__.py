"""The actors of a worker, one a file, each with its messages at its top. worker.py and processor.py spawn them."""
