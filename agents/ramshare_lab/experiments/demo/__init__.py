"""The main job, end to end: lent, measured, and brought home."""
