"""hashrepro: learning-to-hash papers for image retrieval, rebuilt from raw data to the paper's table."""

__version__ = "0.1.0"
