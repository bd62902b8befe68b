"""The same swap volume in many places, for as long as a slow leg needs to show; what one would set up by hand, too."""
