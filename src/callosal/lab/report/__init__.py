"""Rebuilds every table, figure and page from recorded runs; never imports torch."""

from callosal.lab.report.build import build_report, show_report

__all__ = ["build_report", "show_report"]
