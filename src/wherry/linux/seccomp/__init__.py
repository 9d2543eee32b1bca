"""System call filters: `linux.seccomp` of the runtime-spec as classic BPF, and into the kernel.

program = compile(section)                  # pure; with cache="FOLDER" kept on disk by hash
load(program)                               # -> the listener's descriptor where the profile notifies, else None
"""
