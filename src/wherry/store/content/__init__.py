"""Content by digest: the blobs' files, what each namespace knows of them, and the writes that lead to them."""
