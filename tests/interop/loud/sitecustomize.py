"""Python imports this at its start, being first on its path: no logger is quiet after that.

Whatever level a logger or one above it has, it is asked for its debug lines.
"""

import logging

logging.Logger.isEnabledFor = lambda self, level: True  # type: ignore[method-assign]
