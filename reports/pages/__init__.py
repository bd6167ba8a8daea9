"""The finished report in its forms: HTML, Markdown, tables for other programs."""
