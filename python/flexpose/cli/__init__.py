"""The command `flexpose`: a file a command; each parses, calls one function and prints what it gives.

Nothing here loads torch before a command that needs it runs.
"""

from __future__ import annotations

from ._app import app, main

__all__ = ["app", "main"]
