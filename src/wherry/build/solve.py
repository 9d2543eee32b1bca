"""A build from its first step to the image: each step is looked up in the cache, else done and committed.

    parse ─▶ stages ─▶ for each step: expand ─▶ what would its container be? ─▶ cached child of the image so far? ─▶ take it
                                                                              └▶ do it, register its layer ─▶ new image
A step's image is the child of the one before, made with the step's own container configuration: that is the whole cache,
the same that dockerd's classic builder reads and writes.
"""

from __future__ import annotations

import os
import posixpath
import time

from wherry.build import copying
from wherry.build.errors import DockerfileError, StepFailed
from wherry.build.host import RunRequest
from wherry.build.ignore import Ignore, read_patterns
from wherry.build.instructions import Copy, From, Instruction, Pairs, Run, Single, instruction
from wherry.build.parser import parse
from wherry.build.printed import Printed
from wherry.build.settings import apply_setting
from wherry.build.state import Arguments, Stage, same_step
from wherry.build.tree import Owner, Tree, make_target_folder
from wherry.build.words import expand
from wherry.build.worktree import WorkTree, registered, unpack_archive
from wherry.errors import Cancelled, InvalidArgument, NotFound, WherryError
from wherry.oci.digest import chain_id
from wherry.oci.platform import host_platform, parse_platform
from wherry.oci.reference import parse_reference
from wherry.record import Record
from wherry.store.timestamps import format_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from wherry.build.host import BuildOptions, Host
    from wherry.oci.image import ImageConfig
    from wherry.store.images import ImageStore
    from wherry.store.layers import LayerStore, Lease
    from wherry.store.mounts import ContainerLayers

MAX_DOCKERFILE = 2 << 20
IGNORE_FILE = ".dockerignore"


class BuildStores(Record):
    """Where images and layers are, and where the trees of steps are made."""

    images: ImageStore
    layers: LayerStore
    mounts: ContainerLayers


class Build:
    """One build. Synchronous: it runs in a thread of its own, and `cancelled` is asked between steps."""

    def __init__(self, stores: BuildStores, host: Host, options: BuildOptions, say: Callable[[str], None],
                 cancelled: Callable[[], bool]) -> None:
        self._stores = stores
        self._host = host
        self._options = options
        self._say_always = say
        self._cancelled = cancelled
        self._escape = "\\"
        self._stages: list[Stage] = []
        self._arguments = Arguments(options.arguments, _builtin_arguments(options))
        self._cache_holds = not options.no_cache
        self._containers: list[str] = []

    def run(self, context: Tree) -> str:
        """Builds what the Dockerfile of the context says; the image's id.

        Raises DockerfileError, StepFailed (both name the line), Cancelled. Containers and trees of the build are gone
        afterwards, except a failed step's container where the options keep it; images of finished steps stay, as cache.
        """
        failed = True
        try:
            steps = self._steps(context)
            for number, step in enumerate(steps, 1):
                self._say(f"Step {number}/{len(steps)} : {step.text}\n")
                self._step(step, context)
            failed = False
        except Cancelled:
            failed = False  # nobody will look at the container of a step that was cancelled
            raise
        finally:
            self._release(everything=self._options.force_remove or not failed)
        stage = self._stages[-1] if self._stages else None
        if stage is None or not stage.image_id:
            raise DockerfileError("No image was generated. Is your Dockerfile empty?")
        if unused := self._arguments.unused():
            self._say(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n")
        self._say(f"Successfully built {stage.image_id.removeprefix('sha256:')[:12]}\n")
        return stage.image_id

    def _say(self, text: str) -> None:
        if not self._options.quiet:
            self._say_always(text)

    def _steps(self, context: Tree) -> tuple[Instruction, ...]:
        """All instructions up to the end of the target stage, checked before the first one is done."""
        name = self._options.dockerfile
        try:
            text = context.read(name, MAX_DOCKERFILE).decode("utf-8", "replace")
        except NotFound as failure:
            raise NotFound(f"Cannot locate specified Dockerfile: {name}") from failure
        _take_ignored(context, name)
        if not text.strip():
            raise InvalidArgument(f"the Dockerfile ({name}) cannot be empty")
        parsed = parse(text)
        self._escape = parsed.escape
        steps = [instruction(node) for node in parsed.nodes]
        for step in steps:
            if isinstance(step, From):
                break
            if not (isinstance(step, Pairs) and step.kind == "ARG"):
                raise DockerfileError("no build stage in current context", step.line)
        return (*self._until_target(steps), *self._labels(steps[-1].line))

    def _labels(self, line: int) -> Iterator[Instruction]:
        """--label: steps of their own behind the last one."""
        for name, value in sorted(self._options.labels.items()):
            yield Pairs(line=line, text=f"LABEL {name}={value}", kind="LABEL", pairs=((name, value),), literal=True)

    def _until_target(self, steps: list[Instruction]) -> tuple[Instruction, ...]:
        target = self._options.target.lower()
        if not target:
            return tuple(steps)
        begins = [position for position, step in enumerate(steps) if isinstance(step, From)]
        for number, position in enumerate(begins):
            step = steps[position]
            if isinstance(step, From) and target in (step.name, str(number)):
                return tuple(steps[:begins[number + 1]] if number + 1 < len(begins) else steps)
        raise NotFound(f"failed to reach build target {self._options.target} in Dockerfile")

    def _step(self, step: Instruction, context: Tree) -> None:
        if self._cancelled():
            raise Cancelled("Build cancelled")
        try:
            self._dispatch(step, context)
        except (StepFailed, DockerfileError, Cancelled):
            raise
        except WherryError as failure:
            raise StepFailed(failure.message, step.line, cause=failure) from failure
        stage = self._stages[-1] if self._stages else None
        if stage is not None:
            self._say(f" ---> {stage.image_id.removeprefix('sha256:')[:12]}\n")

    def _dispatch(self, step: Instruction, context: Tree) -> None:
        if isinstance(step, From):
            self._from(step, context)
        elif isinstance(step, Pairs) and step.kind == "ARG" and not self._stages:
            for name, value in step.pairs:
                default = None if value is None else expand(value, self._arguments.for_from(), self._escape)
                self._arguments.declare_global(name, default)
        elif isinstance(step, Run):
            self._run(step)
        elif isinstance(step, Copy):
            self._copy(step, context)
        else:
            stage = self._stages[-1]
            comment = apply_setting(step, stage, self._arguments, self._escape)
            command = (*stage.shell, f"#(nop) {comment}") if comment.startswith("WORKDIR ") else self._nop(stage, comment)
            self._commit(stage, command, lambda lease: self._folder_layer(step, stage, lease))

    # FROM

    def _from(self, step: From, context: Tree) -> None:
        variables = self._arguments.for_from()
        name = expand(step.image, variables, self._escape)
        if not name:
            raise InvalidArgument(f"base name ({step.image}) should not be blank")
        platform = self._options.platform
        if step.platform:
            platform = parse_platform(expand(step.platform, variables, self._escape))
        stage = Stage(step.name, platform or host_platform())
        triggers: tuple[str, ...] = ()
        earlier = next((one for one in self._stages if one.name and one.name == name.lower()), None)
        if earlier is not None:
            triggers = stage.begin_from(self._stores.images.get(earlier.image_id)) if earlier.image_id else ()
        elif name != "scratch":
            parse_reference(name)
            triggers = stage.begin_from(self._host.image(name, platform, pull=self._options.pull))
        stage.set_default_path()
        self._stages.append(stage)
        self._arguments.new_stage()
        if triggers:
            plural = "s" if len(triggers) > 1 else ""
            self._say(f"# Executing {len(triggers)} build trigger{plural}\n")
        for trigger in triggers:
            for node in parse(trigger).nodes:
                self._dispatch(instruction(node).replace(line=step.line), context)

    # RUN

    def _run(self, step: Run) -> None:
        stage = self._stages[-1]
        if not stage.image_id:
            raise InvalidArgument("RUN needs an image: a stage from scratch has no programs yet; COPY or ADD something first")
        command = (*stage.shell, _script(step)) if step.shell else step.words
        declared = self._arguments.declared()
        environment = stage.environment()
        extra = [f"{name}={value}" for name, value in declared.items() if name not in environment]
        proxies = [f"{name}={value}" for name, value in self._arguments.proxies().items()]
        saved = (f"|{len(extra)}", *extra, *command) if extra or proxies else command
        self._commit(stage, saved, lambda lease: self._run_layer(step, stage, command, [*extra, *proxies], lease))

    def _run_layer(self, step: Run, stage: Stage, command: tuple[str, ...], extra: list[str], lease: Lease) -> str:
        """Runs the command in a container and registers what it changed; the diff id."""
        container = self._host.create(self._request(stage, command, extra))
        self._containers.append(container)
        self._say(f" ---> Running in {container[:12]}\n")
        code = self._host.run(container, Printed(self._say))
        if code:
            words = " ".join(command)
            raise StepFailed(f"The command '{words}' returned a non-zero code: {code}", step.line, code=code)
        with self._stores.mounts.open_diff(container) as stream:
            diff_id = registered(lease, stream, chain_id(stage.diff_ids))
        if self._options.remove:
            self._say(f"Removing intermediate container {container[:12]}\n")
            self._containers.remove(container)
            self._host.release(container)
        return diff_id

    def _request(self, stage: Stage, command: tuple[str, ...], extra: list[str]) -> RunRequest:
        config = {**stage.config, "Cmd": list(command), "Entrypoint": [""], "Env": [*(stage.config.get("Env") or ()), *extra],
                  "Healthcheck": {"Test": ["NONE"]}, "AttachStdout": True, "AttachStderr": True, "Image": stage.image_id}
        return RunRequest(image_id=stage.image_id, config=config, host=self._options.host)

    # COPY and ADD

    def _copy(self, step: Copy, context: Tree) -> None:
        stage = self._stages[-1]
        variables = {**self._arguments.declared(), **stage.environment()}
        words = tuple(word if word.startswith("<<") else expand(word, variables, self._escape) for word in step.words)
        step = step.replace(owner=expand(step.owner, variables, self._escape), mode=expand(step.mode, variables, self._escape))
        if step.source:
            chain = self._source_chain(expand(step.source, variables, self._escape))
            with WorkTree(self._stores.mounts, chain) as work, Tree(work.path) as tree:
                self._copy_from(step, words, tree, stage, variables)
        else:
            self._copy_from(step, words, context, stage, variables)

    def _copy_from(self, step: Copy, words: tuple[str, ...], tree: Tree, stage: Stage, variables: Mapping[str, str]) -> None:
        plan = copying.plan(step, words, tree, stage.working_dir, variables, self._escape)
        options = "".join(f"--{name}={value} " for name, value in (("chown", step.owner), ("chmod", step.mode)) if value)
        comment = f"{step.kind} {options}{plan.content} in {words[-1]}"

        def layer(lease: Lease) -> str:
            with WorkTree(self._stores.mounts, chain_id(stage.diff_ids)) as work:
                copying.apply(step, plan, tree, work.path, unpack_archive)
                return work.register(lease)

        self._commit(stage, (*stage.shell, f"#(nop) {comment} "), layer)

    def _source_chain(self, name: str) -> str:
        """The chain of layers that --from means: an earlier stage by name or number, else an image."""
        for number, stage in enumerate(self._stages[:-1]):
            if name.lower() == stage.name or name == str(number):
                if not stage.image_id:
                    raise InvalidArgument(f"invalid from flag value {name}: the stage is empty")
                return chain_id(stage.diff_ids)
        if name.isdigit():
            why = "refers to current build block" if int(name) == len(self._stages) - 1 else "index out of bounds"
            raise InvalidArgument(f"invalid from flag value {name}: {why}")
        return self._host.image(name, self._options.platform, pull=False).config.chain_id

    # WORKDIR makes its folder

    def _folder_layer(self, step: Instruction, stage: Stage, lease: Lease) -> str:
        """The layer with a WORKDIR's folder; "" for steps without one, and where the folder is there already."""
        if not (isinstance(step, Single) and step.kind == "WORKDIR" and stage.working_dir != "/"):
            return ""
        with WorkTree(self._stores.mounts, chain_id(stage.diff_ids)) as work, Tree(work.path) as tree:
            if tree.kind(stage.working_dir) is not None:
                return ""
            os.close(make_target_folder(tree, stage.working_dir, Owner()))
            return work.register(lease)

    # The one way to a new image

    @staticmethod
    def _nop(stage: Stage, comment: str) -> tuple[str, ...]:
        """The command that a step without a command is known by."""
        return (*stage.shell, "#(nop) ", comment)

    def _commit(self, stage: Stage, command: tuple[str, ...], layer: Callable[[Lease], str]) -> None:
        """Takes the step's image from the cache, or does the step and makes it."""
        wanted = {**stage.config, "Cmd": list(command)}
        if self._cache_holds and (found := self._cached(stage, wanted)):
            image_id, config = found
            self._say(" ---> Using cache\n")
            stage.advance(image_id, config)
            return
        self._cache_holds = False
        created = format_time(time.time_ns())
        with self._stores.layers.lease() as lease:
            config = stage.image_config(created, command, layer(lease))
            image_id = self._stores.images.create(config.to_json(), parent=stage.image_id)
        stage.advance(image_id, config)

    def _cached(self, stage: Stage, wanted: Mapping[str, Any]) -> tuple[str, ImageConfig] | None:
        """The newest image that the same step made from the same image."""
        if stage.image_id:
            candidates = [self._stores.images.get(one) for one in self._stores.images.children(stage.image_id)]
        else:
            candidates = [one for one in self._stores.images.list() if not one.parent]
        matching = [one for one in candidates if same_step(one.config, wanted)
                    and one.config.platform.architecture == stage.platform.architecture]
        if not matching:
            return None
        newest = max(matching, key=lambda one: one.config.created)
        return newest.id, newest.config

    def _release(self, *, everything: bool) -> None:
        while self._containers and everything:
            self._host.release(self._containers.pop())


def _take_ignored(context: Tree, dockerfile: str) -> None:
    """Takes the Dockerfile and .dockerignore out of the context where .dockerignore says so: clients send them in any case."""
    try:
        ignore = Ignore(read_patterns(context.read(IGNORE_FILE, MAX_DOCKERFILE).decode("utf-8", "surrogateescape")))
    except NotFound:
        return
    for name in (IGNORE_FILE, posixpath.normpath(dockerfile)):
        if ignore.leaves_out(name):
            context.unlink(name)


def _script(step: Run) -> str:
    """What a shell form hands to its shell: the line itself; its here-document where it is nothing but that; both otherwise."""
    line = step.words[0]
    if not step.heredocs:
        return line
    only = step.heredocs[0]
    if len(step.heredocs) == 1 and line.replace("'", "").replace('"', "") in (f"<<{only.name}", f"<<-{only.name}"):
        return only.content
    return "\n".join([line, *(f"{one.content}{one.name}" for one in step.heredocs)])


def _builtin_arguments(options: BuildOptions) -> dict[str, str]:
    """The arguments that every build has: where it runs and what it builds for."""
    found: dict[str, str] = {}
    for prefix, platform in (("BUILD", host_platform()), ("TARGET", options.platform or host_platform())):
        found |= {f"{prefix}PLATFORM": str(platform), f"{prefix}OS": platform.os, f"{prefix}ARCH": platform.architecture,
                  f"{prefix}VARIANT": platform.variant}
    return found
