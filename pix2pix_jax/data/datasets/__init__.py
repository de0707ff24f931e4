"""What prepares the published data sets: archives in, pairs out."""
