"""One page that shows what runs did: tables with spreads, curves, pictures and charts, without any network."""

from .config import ReportConfig
from .loop import report

__all__ = ["ReportConfig", "report"]
