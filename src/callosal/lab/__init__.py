"""The laboratory that proves the memory: tasks, models to compare, measures, studies and their reports.

It needs ``pip install "callosal[lab]"``; nothing outside imports it but the command line.
"""
