"""What commands print: tables, answers, progress bars, screens."""
