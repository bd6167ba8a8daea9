"""Building blocks of answers and sections: tables, figures, number formats and colors."""
