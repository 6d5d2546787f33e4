"""Puts this folder on the path, as running run.py does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
