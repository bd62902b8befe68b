"""A cluster that reacts by itself: nobody types anything."""
