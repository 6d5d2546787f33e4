"""A method ready to be stepped, without a loop and without images on disk."""

from small_run import images, make

__all__ = ["images", "make"]
