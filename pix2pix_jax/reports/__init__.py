"""What a person looks at: pages, curves, grids of images, the console."""
