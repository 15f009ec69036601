"""report.html and `orchestrate listen`: one page with plots, tables to sort and utterances to hear."""
