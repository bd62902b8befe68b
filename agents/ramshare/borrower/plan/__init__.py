"""What to do with a volume next: from LVM's report to a picture, from the picture to one step. Pure."""
