"""One HTML file about a sweep, which opens without a network: what was searched, what was found, and what it cost."""

from hoir_ray.report.page import build_report, write_report
from hoir_ray.report.watch import watch_report

__all__ = ["build_report", "watch_report", "write_report"]
