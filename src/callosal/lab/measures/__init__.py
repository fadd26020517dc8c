"""Specialization, retention and intervals: what is reported is measured here."""
