"""The engine of every report: records, claims, tables, plots and the page, without torch."""
