"""How things are printed: units, columns, views, progress."""
