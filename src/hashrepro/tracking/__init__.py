"""MLflow, in one place: the record that people compare runs in. Nothing reads from it but what is asked to.

- A store that cannot be reached stops a stage with a clear error before the work begins, never after.
- One that fails while a network trains does not stop it: its steps wait (`delivery.Steps`).
- A stage that cannot deliver what it leaves ends well all the same, for its outputs are whole and DVC keeps them;
  ``hashrepro runs adopt`` logs from runs/ what the store lacks, and ``hashrepro runs check`` finds it.
"""

from hashrepro.tracking.store import Tracking, store_uri

__all__ = ["Tracking", "store_uri"]
