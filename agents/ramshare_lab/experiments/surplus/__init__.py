"""What lending costs real guests with balloons."""
