"""Where input comes from: a folder for each format, which says how its lines or messages become rows."""
