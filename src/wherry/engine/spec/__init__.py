"""From what Docker's users ask for to an OCI config: pure functions, and the checks that come before.

At create, `check_create(…)` refuses by name what makes no sense or is not done, before anything is changed, and gives the
warnings; `adapt(host, …)` fills in the defaults that dockerd writes into hostconfig.json. At start, `look_up(host)` and
`find_user(…)` read what the machine and the image say about devices and users; `oci_config(…)`, pure, gives the runtime-spec's
config.

    check.py      create's checks                defaults.py   what is filled in at create
    config.py     the whole document             facts.py      what the machine can do
    process.py    arguments, environment, limits mounts.py     mounts and their order
    resources.py  linux.resources                devices.py    nodes and rules; reads /dev
    security.py   --security-opt                 capabilities.py, namespaces.py, user.py, seccomp*.py
"""
