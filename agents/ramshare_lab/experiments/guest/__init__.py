"""A real guest whose swap disk moves under it and that notices nothing."""
