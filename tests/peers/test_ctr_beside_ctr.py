"""wherry-ctr beside Debian's ctr 1.6.20: the same calls on a fresh containerd of each one's own give the same output and exit code.

What a call gives is compared when what differs from run to run (times, process ids, random names) has been put aside. Calls for help
are compared by what they offer: the sentences are our own.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import subprocess

import pytest
from ctr_side import OURS, Side, run_ours, side
from real_containerd import IMAGE

pytestmark = [pytest.mark.peer, pytest.mark.root, pytest.mark.slow,
              pytest.mark.skipif(not (shutil.which("ctr") and shutil.which("containerd")), reason="needs containerd and ctr")]

DIGEST = "sha256:e80c2b8ffbc273363c76c8908a3cf0a9038ee1498e136d1ca3fa6465658411ee"  # of the busybox image's manifest
NOWHERE = "sha256:" + "0" * 64
HELLO = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

# Each part begins on a containerd that has the busybox image and nothing else. I: the image, D: its digest. «!» runs in a shell of the
# side, with its client as $CTR; «<text|» gives stdin.
PARTS = {
    "namespaces, leases, plugins": """
        ns ls | ns create a x=y z | ns create a | ns create | ns label a x= k=v | ns label | ns ls | ns ls -q | -n a/b ns ls | ns rm a nope
        plugins ls | plugins ls -q | plugins ls type==io.containerd.grpc.v1 | plugins ls type= | oci spec | -n foo oci spec
        leases create --id l1 a=b c | leases create --id l1 | leases ls | leases ls id==l1 | leases ls -q | leases rm l1 nope
    """,
    "images": """
        images ls | images ls -q | images ls name==nope | images ls bad= | images check | images check -q | images check nope
        images tag | images tag I | images tag I one two | images tag I one | images tag --force I one | images tag nope x
        images label one a=b c d= | images label one a= | images label nope a=b | images label --replace-all one q=r | images ls
        images rm one nope two | images rm --sync nope | images convert | images convert --oci I conv1 | images convert nope c
        images convert --uncompress --oci --all-platforms I conv2 | images ls | run --rm conv1 x echo hi
        !mkdir {folder}/m | images mount | images mount I | images mount I {folder}/m | !ls {folder}/m | snapshots ls
        images mount nope {folder}/m | images unmount | images unmount {folder}/m | images unmount --rm {folder}/m | snapshots ls
        images mount --rw I {folder}/m | !touch {folder}/m/x && echo written | images unmount --rm {folder}/m | leases ls -q
        install nope | !mkdir {folder}/i {folder}/i/bin | install --path {folder}/i I | install --path {folder}/i I | !ls {folder}/i/bin
    """,
    "archives": """
        images export | images export x | images export {folder}/x nope | images export {folder}/o.tar I
        !tar tvf {folder}/o.tar; tar xOf {folder}/o.tar index.json manifest.json oci-layout
        !$CTR images export - I | tar t | images import {folder}/o.tar | images import nope | images import --digests {folder}/o.tar
        images import --base-name foo/bar {folder}/o.tar | images import --index-name idx {folder}/o.tar | images ls
        images import --no-unpack {folder}/image.tar | images import --base-name foo/baz --digests {folder}/image.tar
        images import --skip-digest-for-named --base-name foo/bax --digests {folder}/image.tar | images ls -q
        images import --platform linux/arm64 {folder}/image.tar | images import {folder}/config.toml | images ls -q
    """,
    "content": f"""
        content ls | content ls -q | content ls size==1 | content get nope | content get | content get {NOWHERE} | content get D
        content label D a=b c | content label D a= c= | content label nope | <hello|content ingest r1 | <hello|content ingest r1
        <hello|content ingest --expected-size=5 --expected-digest={HELLO} r1 | <hello|content ingest --expected-size=6 r2
        <hello2|content ingest --expected-digest={HELLO} r3 | <hello|content ingest --expected-digest=nope r3 | <hello|content ingest
        content active | content active x | content rm nope {NOWHERE} | content prune references --dry | content ls
        content prune references | content ls -q | content edit nope | content edit --validate x nope | content edit {NOWHERE}
    """,
    "snapshots": """
        snapshots ls | snapshots tree | snapshots usage | snapshots usage -b | snapshots usage nope | snapshots prepare s1
        snapshots prepare s1 | snapshots prepare --mounts s2 | snapshots prepare -t /x s3 | snapshots commit c1 s1
        snapshots prepare s4 c1 | snapshots prepare --target /x s5 c1 | snapshots view -t /x v1 c1 | snapshots view --mounts v2 c1
        snapshots view v3 nope | snapshots tree | snapshots info nope | snapshots info s4 | snapshots info c1 | snapshots mounts /y s4
        snapshots mounts /y nope | snapshots m /y c1 | snapshots label s4 a=b | snapshots label s4 a= c=d | snapshots label nope a=b
        snapshots commit c1 s4 | snapshots commit c2 s4 | snapshots ls | snapshots --snapshotter native ls
        snapshots --snapshotter nope ls | snapshots rm c1 | snapshots rm v1 v2 nope | snapshots rm | snapshots diff | snapshots diff nope
        !$CTR snapshots diff c1 | tar tz | wc -l | snapshots unpack | snapshots unpack nope | snapshots unpack D
        snapshots unpack --snapshotter native D | snapshots --snapshotter native ls
    """,
    "containers": """
        c create | c create I | c create nope c0 | c create I c1 sleep 100 | c create I c1 sleep 100 | c info c1 | c create --rootfs /tmp c6 ls
        c create -t --cwd /tmp --env A=b --env PATH --label x=y --label z --annotation q=r --read-only I c2 | c info c2
        c create --mount type=bind,src=/tmp,dst=/host,options=rbind:ro --net-host --allow-new-privs --memory-limit 1000000 I c3 -- ls -l
        c info c3 | c create --device /dev/null --cap-add CAP_SYS_ADMIN --cap-drop CAP_CHOWN --cpu-quota 1000 I d4 | c info d4
        c create --privileged I c4 ls | c info c4 | c info c6 | c create --runtime x.y --runtime-config-path /a/b I c8 ls | c info c8
        c create --with-ns network:/proc/1/ns/net --with-ns cgroup:/x --cpu-period 500 --rootfs-propagation rslave --rdt-class foo I c5 ls
        c info c5 | c create --snapshotter native --snapshotter-label a=b I c9 ls | c info --spec c9 | c create --cap-add SYS_ADMIN I d1
        c create --mount foo I e3 | c create --with-ns foo I d1 | c create --with-ns foo:bar I d1 | c create --seccomp-profile x I d1
        c create --device /etc/passwd I e2 | c create I bad/name | c create --config /nope d1 | c create --config /nope d1 x
        c create --device /nope I e1 ls | c create --annotation x I d1 ls | c ls | c ls -q | c ls id~=c. | c info | c info nope
        c label c1 a=b c | c label c1 a= | c label c1 -- q=r | c label | c label nope a=b | c rm --keep-snapshot c1 | snapshots info c1
        c rm c2 nope c3 | c rm | c rm c4 c5 c6 c8 c9 d4 | c ls -q | c create I k | c checkpoint | c checkpoint k | c checkpoint k ck1
        images ls name==ck1 | c checkpoint --rw --image k ck2 | images ls -q | c checkpoint --task k ck3 | c restore | c restore k2 | c restore k2 ck2
    """,
    "run": """
        run | run I | run --rm -d I x | run --rm I r1 echo hi | run --rm I r1 sh -c "echo out; echo err >&2; exit 7" | run --rm I r1 nosuch
        c ls | run --rm --null-io I r1 echo hi | run --rm --log-uri file://{folder}/log1 I r1 echo hi | !cat {folder}/log1
        run -d --cgroup /foo --cpus 0.5 --cpu-shares 512 --runc-root /run/foo --runc-binary runc I r3 sleep 1000 | c info r3
        run --runc-systemd-cgroup I r5 | run --runtime io.containerd.runc.v1 --runc-binary foo I r5 | run --cpus 1 --cpu-quota 5 I r5
        run --rm --no-pivot I r6 ls / | run --rm --pid-file {folder}/pid I r7 true | !test -s {folder}/pid && echo pid
        run --rm --fifo-dir {folder}/ff I r8 echo hi | !ls {folder}/ff | run --rm --seccomp I r9 echo hi
        run -d --uidmap 0:100000:65536 --gidmap 0:200000:65536 I u1 sleep 1000 | c info u1 | t exec --exec-id a u1 stat -c %u:%g /bin/busybox
        run -d --uidmap 0:1:1 --gidmap 0:2:x I u2 | run -d --uidmap 0:1 --gidmap 0:2:1 I u3 | t rm -f u1 r3 | c rm u1 r3 | snapshots ls
    """,
    "tasks": """
        run -d I r2 sleep 1000 | t ls | t ls -q | t exec --exec-id e1 | t exec --exec-id e1 r2 | t exec --exec-id e1 r2 nosuch
        t exec --exec-id e1 r2 sh -c "echo out; echo err >&2; exit 9" | t exec --exec-id e1 --cwd /tmp r2 pwd
        t exec --exec-id e1 --user nobody r2 id | t exec --exec-id e1 --user 1:2 r2 id | t exec --exec-id e1 --user 7 r2 id
        t exec --exec-id e1 --user daemon:staff r2 id | t exec --exec-id e1 --user nope r2 id | t exec --exec-id e1 nope id
        t exec -d --exec-id e2 r2 sleep 1000 | t exec -d --exec-id e2 r2 sleep 1000 | t exec --log-uri file:///x --fifo-dir /y --exec-id e3 r2
        t rm --exec-id nope r2 | t pause r2 | t ls | t resume r2 | t pause nope | t kill | t kill -s 9 --exec-id x -a r2 | t kill -s NOPE r2
        t kill -s KILL --exec-id nope r2 | t rm r2 | t metrics --format foo r2 | t metrics nope | t rm -f r2 nope | t rm | c rm r2
        c create I s1 sh -c "exit 4" | t start s1 | t start nope | t start | c create I s2 sleep 1000 | t start -d s2 | t start -d s2
        c rm s2 | t attach nope | t rm -f s2 | t kill s2 | t checkpoint | t checkpoint s2 | c rm s1 s2 | shim state | shim --id nope state
    """,
}
_CHANGING = (
    (r"(?m)^(\S+) +(PID|\d+) +(STATUS|[A-Z]{6,}) *$", r"\1 PID \3"), (r"(\d+ \w+s?|Less than a second|About an? \w+)(?=\t)", "AGE"),
    (r"AGE\t+", "AGE\t"), (r"mount callback failed on \S+: ", ""), (r"extract-\S+ ", "extract- "), (r"-view-\w+", "-view-"),
    (r"import-\d{4}-\d\d-\d\d", "import-DAY"),
)


def calls(part: str) -> list[str]:
    """The calls of a part, in order; « | » and line ends stand between them, pipes of a shell excepted."""
    found: list[str] = []
    for line in PARTS[part].splitlines():
        for call in line.strip().split(" | "):
            if call.startswith(("tar t", "wc -l")):
                found[-1] += f" | {call}"
            elif call:
                found.append(call)
    return found


def plain(text: str) -> str:
    """Without what differs from run to run; labels in order."""
    for pattern, word in _CHANGING:
        text = re.sub(pattern, word, text)
    return "\n".join(_sorted(line) for line in text.splitlines())


def _sorted(line: str) -> str:
    head, tab, labels = line.rpartition("\t")
    words = labels.split(",")
    if len(words) > 1 and all("=" in word for word in words):
        return head + tab + ",".join(sorted(words))
    return line


def perform(one: Side, call: str) -> tuple[int, str, str]:
    """One call on a side."""
    call = re.sub(r"\bI\b", IMAGE, re.sub(r"\bD\b", DIGEST, call))
    if call.startswith("!"):
        done = subprocess.run(["sh", "-c", call[1:].replace("{folder}", str(one.folder))], capture_output=True, text=True,
                              env={**one.environment, "CTR": one.program}, timeout=60)
        return done.returncode, plain(one.plain(done.stdout)), ""
    data = b""
    if call.startswith("<"):
        text, _, call = call[1:].partition("|")
        data = text.encode()
    code, out, err = one.same(*shlex.split(call), data=data)
    return code, plain(out), plain(err)


@pytest.mark.parametrize("part", PARTS)
def test_the_same_calls_give_the_same(part):
    found = {}
    for program in ("ctr", OURS):
        with side(program) as one:
            found[program] = [(call, perform(one, call)) for call in calls(part)]
    differences = [(call, real, ours) for (call, real), (_, ours) in zip(found["ctr"], found[OURS], strict=True)
                   if real != ours]
    assert not differences, "\n".join(line for call, real, ours in differences for line in (
        call, *difflib.unified_diff(*("\n".join(map(str, one)).splitlines() for one in (real, ours)), "ctr", "ours", n=1, lineterm="")))


def invoked(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A call without a containerd."""
    if program == OURS:
        return run_ours(words, b"", dict(os.environ))
    return subprocess.run([program, *words], capture_output=True, text=True)


def offered(program: str, *words: str) -> dict[str, object]:
    """What a help page offers: usage, commands, flags with their default and variable."""
    text = invoked(program, *words, "--help").stdout
    usage = re.search(r"USAGE:\n +\S+ ?(.*)\n", text)
    commands = re.search(r"COMMANDS:\n(.*?)\n\n", text + "\n\n", re.DOTALL)
    options = re.search(r"OPTIONS:\n(.*)", text, re.DOTALL)
    flags = {}
    for line in options.group(1).splitlines() if options else ():
        if line.strip():
            head, _, said = line.strip().partition("  ")
            flags[head] = (re.findall(r"\(default: .*?\)", said)[-1:], re.findall(r"\[\$\w+\]", said))
    return {"usage": usage and usage.group(1), "flags": flags,
            "commands": [line.strip().partition("  ")[0] for line in commands.group(1).splitlines()] if commands else []}


def groups() -> list[tuple[str, ...]]:
    """Every command and every group of ours, from the tree."""
    from wherry.ctr.index import TREE

    return [(), *((*(group.split(" ") if group else ()), names[0]) for group, names, _, _ in TREE)]


def test_help_offers_the_same_everywhere():
    assert len([one for one in groups() if one]) >= 76
    differing = {}
    for words in groups():
        real, ours = offered("ctr", *words), offered(OURS, *words)
        for key in real:
            if real[key] != ours[key]:
                differing[" ".join(words), key] = (real[key], ours[key])
    assert differing == {}


@pytest.mark.parametrize("words", [
    "nosuch", "--nosuch", "images nosuch", "images ls --nosuch", "images ls -q=x", "leases create -x 5x", "leases create --expires",
    "-a x --address y version", "images ls -q --quiet", "images ---x", "images ls -=", "content ingest --expected-size=abc x",
    "run --cpu-period=-1 a b", "run --cpus=x a b", "tasks exec r ls", "help nosuch", "images help nosuch", "snapshots --foo", "-a",
    "images ls foo -q -h", "run -h x", "snapshots usage -bh", "leases create -x 1h -x 5x", "--timeout=x version",
])
def test_bad_command_lines_end_in_the_same_way(words):
    real, ours = (invoked(program, *words.split()) for program in ("ctr", OURS))
    assert ours.returncode == real.returncode
    assert ours.stderr.replace("wherry-ctr:", "ctr:") == real.stderr
    assert ours.stdout.partition("\n")[0].replace("wherry-ctr", "ctr") == real.stdout.partition("\n")[0]
