"""What answers and sections are built of: tables, figures, number formats and colors."""
