"""Snapshots as containerd means them: stacks of file trees that are prepared, committed under a name, viewed, removed.

snapshotter.py  what can be done with them; model.py the values; records.py what is known of each
overlayfs.py    a snapshot is an overlay's upper folder, native.py a copy: two layouts behind one interface (layout.py)
mounting.py     mounts as values, mounted where nobody sees them
apply.py        a layer into a snapshot; compare.py a layer out of two
"""
