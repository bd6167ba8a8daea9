"""The finished report as HTML, Markdown and tables for other programs."""
