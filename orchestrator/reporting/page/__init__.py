"""The page of report.html and `orchestrate listen`: plots, sortable tables, utterances to hear."""
