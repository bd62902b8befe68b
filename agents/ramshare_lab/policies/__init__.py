"""Surplus policies on recorded traces: replayed, scored, compared and drawn."""
