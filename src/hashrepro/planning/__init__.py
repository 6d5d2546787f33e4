"""What a suite will cost before it has run: hours, disk, downloads, and what is missing."""
