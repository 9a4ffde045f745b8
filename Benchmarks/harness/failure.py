"""The one error that ends a benchmark with a message and exit status 1."""


class Failure(Exception):
    """What went wrong, as a sentence for whoever runs the benchmark."""
