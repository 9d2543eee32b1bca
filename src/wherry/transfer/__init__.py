"""Images on their way between registries, archives and a content store of containerd's kind.

Whose store that is does not matter here: ctr's is behind a socket, wherryd's own are its rooms (`content.Content`,
`unpacking.Snapshots`).

    hosts.py        which hosts are asked for a registry's name
    fetching.py     a registry → content          pushing.py      content → a registry
    importing.py    an archive → content          exporting.py    content → an archive
    unpacking.py    content → snapshots
    manifests.py    from an image's name to its parts; holding.py has the labels that keep them, names.py the names in archives
"""
