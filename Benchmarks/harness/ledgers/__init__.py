"""Measuring the ledger itself: filling it, checking it, and reading it."""
