# What ./quickstart and ./test share: Debian packages and the virtual environment, each said before it is done.
# Sourced by sh, from the root of the checkout.

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

need_root() {
    [ "$(id -u)" = 0 ] || die "needs root (namespaces, mounts, cgroups): sudo $0"
    [ "$(uname -s)" = Linux ] || die "needs Linux"
}

# The interpreter: Debian's own where it is new enough, because a program that starts in milliseconds wants its short start-up.
find_python() {
    for python in /usr/bin/python3 python3; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
    done
    die "needs Python 3.11 or newer"
}

# Installs the Debian packages that are missing. Services that they bring are not started, and not enabled if they are new here.
install_packages() {
    missing=
    for package in "$@"; do
        case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in *" installed") ;; *) missing="$missing $package" ;; esac
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || die "needs these programs, and there is no apt-get to install them:$missing"
    say "installing from Debian:$missing"
    policy=/usr/sbin/policy-rc.d
    ours=
    if [ ! -e "$policy" ]; then # dpkg asks it before it starts a service
        printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy" && ours=yes
    fi
    log=$(mktemp)
    status=0
    # shellcheck disable=SC2086 # a list of words
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } > "$log" 2>&1 < /dev/null || status=$?
    [ -z "$ours" ] || rm -f "$policy"
    if [ "$status" != 0 ]; then tail -n 20 "$log" >&2; rm -f "$log"; die "apt-get could not install:$missing"; fi
    rm -f "$log"
    if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then
        for package in $missing; do
            case $package in
                docker.io) systemctl disable -q docker.service docker.socket || true ;;
                containerd) systemctl disable -q containerd.service || true ;;
                docker-registry) systemctl disable -q docker-registry.service || true ;;
            esac
        done
    fi
}

# make_venv EXTRAS: wherry and its libraries in .venv, editable; done again only when pyproject.toml, the programs or the `.proto`
# files (of which the installation makes modules) changed.
make_venv() {
    find_python
    "$python" -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
    stamp=.venv/.wherry-$1
    wanted=$(find pyproject.toml scripts/messages.py bin src/wherry/proto -type f ! -name '*_pb2.py*' ! -name '*.pyc' | LC_ALL=C sort | xargs cat | cksum)
    [ -x .venv/bin/wherry ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    say "installing wherry and its libraries into .venv"
    [ -x .venv/bin/python3 ] || "$python" -m venv .venv || die "could not make the virtual environment .venv"
    log=$(mktemp)
    if ! .venv/bin/python3 -m pip install --disable-pip-version-check -q -e ".$1" > "$log" 2>&1 < /dev/null; then
        tail -n 20 "$log" >&2; rm -f "$log"
        die "pip could not install wherry; is a package index reachable?"
    fi
    rm -f "$log"
    printf '%s' "$wanted" > "$stamp"
}
