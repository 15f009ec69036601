"""How a document becomes text: for a terminal, as Markdown, and its plots."""
