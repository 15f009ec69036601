"""Results to terminal, Markdown and HTML."""
