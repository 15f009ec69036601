"""Presentation of plans, runs and results: terminal, Markdown, HTML, JSON and tables."""
