"""From what Docker's users ask for to an OCI config: pure functions, and the checks that come before.

warnings = check_create(config, host, networking, facts)    # spec/check.py: refuses by name, changes nothing
config_json = oci_config(container, host, image, places)    # spec/config.py: the runtime-spec's config as a dict
"""
