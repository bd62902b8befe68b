"""What a monitor costs its guest."""
