"""Content on disk in Docker's layout: layers, images, references, tar-split."""
