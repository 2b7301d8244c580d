"""The page that holds every result of a preset."""
