"""What a rehearsal leaves: a row for each of its jobs, and what was measured on the way."""
