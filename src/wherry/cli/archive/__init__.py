"""Tar archives of local files, for `cp` and `build`: written as a stream, and unpacked with no way out of the folder."""
