"""Real children, on asyncio's own loop and on uvloop: what they are given, what they say, and that nothing stays."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path

import psutil
import pytest
import uvloop

from mogplex_mcp.local.child import MAX_LINE, MAX_STDERR, Child, kill_orphan, kill_processes_in

LIMIT = 20.0
STARTED: list[Child] = []
"""So that a test which fails leaves nothing running."""
Loop = Callable[[Coroutine[None, None, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Loop:
    def bounded(work: Coroutine[None, None, None]) -> None:
        async def main() -> None:
            try:
                await asyncio.wait_for(work, LIMIT)
            finally:
                while STARTED:
                    await STARTED.pop().terminate(0)

        (uvloop.run if request.param == "uvloop" else asyncio.run)(main())

    return bounded


def python(source: str) -> list[str]:
    return [sys.executable, "-I", "-c", source]


async def start(source: str, cwd: Path, prompt: str = "") -> Child:
    STARTED.append(await Child.start(python(source), cwd=cwd, prompt=prompt))
    return STARTED[-1]


async def output(child: Child) -> list[str]:
    return [line async for line in child.lines()]


async def first(lines: AsyncIterator[str]) -> str:
    return await anext(lines)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)


async def timed(work: Awaitable[object]) -> float:
    began = time.monotonic()
    await work
    return time.monotonic() - began


GRANDCHILD = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-I', '-c', {code!r}]{options}); "
STUBBORN = (
    "import signal, time, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


def test_the_prompt_arrives_whole_on_stdin_and_in_no_argument(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        # Larger than any pipe, and read only after a while: it must be sent in pieces and closed behind the last one.
        prompt = "Räume auf. " * 100_000
        child = await start(
            "import sys, time, pathlib; time.sleep(0.2); text = sys.stdin.buffer.read();"
            "print(len(text), 'Räume'.encode() in text, 'Räume' in pathlib.Path('/proc/self/cmdline').read_text())"
            if sys.platform == "linux"
            else "import sys; text = sys.stdin.buffer.read(); print(len(text), 'Räume'.encode() in text, False)",
            tmp_path,
            prompt,
        )
        assert "Räume" not in " ".join(psutil.Process(child.pid).cmdline()).replace("'Räume'", "")
        lines = await output(child)
        assert lines[0].split()[:2] == [str(len(prompt.encode())), "True"]
        assert await child.wait() == 0

    run(work())


def test_a_child_that_never_reads_its_stdin_holds_nothing_up(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        child = await start("print('done')", tmp_path, "x" * 1_000_000)
        assert await output(child) == ["done"]
        assert await child.wait() == 0

    run(work())


def test_the_environment_has_the_path_but_nothing_of_ours(
    run: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "MOGPLEX_API_KEY",
        "MOGPLEX_HOME",
        "VIRTUAL_ENV",
        "PYTHONHOME",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "CLAUDECODE",
    ):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "the person's own")

    async def work() -> None:
        program = "import json, os; print(json.dumps(dict(os.environ)))"
        child = await Child.start(
            [sys.executable, "-E", "-S", "-c", program], cwd=tmp_path, prompt="", env={"GIT_AUTHOR_NAME": "Mogplex"}
        )
        (line,) = await output(child)
        await child.wait()
        seen = json.loads(line)
        assert not [name for name in seen if name.startswith("MOGPLEX_")]
        assert not {"VIRTUAL_ENV", "PYTHONHOME", "GIT_DIR", "GIT_INDEX_FILE", "CLAUDECODE"} & seen.keys()
        assert seen["PATH"] == os.environ["PATH"]
        assert seen["ANTHROPIC_API_KEY"] == "the person's own"
        assert seen["GIT_AUTHOR_NAME"] == "Mogplex"

    run(work())


def test_a_child_has_a_session_of_its_own(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        child = await start("import os; print(os.getpid(), os.getpgrp(), os.getsid(0))", tmp_path)
        assert await output(child) == [f"{child.pid} {child.pid} {child.pid}"]
        assert child.pgid == child.pid
        await child.wait()

    run(work())


def test_lines_come_as_they_are_written_and_the_last_needs_no_end(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        child = await start(
            "import sys; print('one', flush=True); sys.stdin.read(); print('two\\r\\n\\nlast', end='')", tmp_path
        )
        assert await output(child) == ["one", "two", "", "last"]
        assert await child.wait() == 0

    run(work())


def test_bytes_that_are_no_utf8_and_nul_are_passed_on(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        child = await start(r"import sys; sys.stdout.buffer.write(b'a\xff\xfeb\n\x00c\n')", tmp_path)
        assert await output(child) == ["a\ufffd\ufffdb", "\0c"]
        await child.wait()

    run(work())


def test_an_endless_line_is_cut_and_the_next_one_is_whole(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        child = await start("print('x' * 5_000_000); print('next')", tmp_path)
        assert [len(line) for line in await output(child)] == [MAX_LINE, 4]
        assert await child.wait() == 0

    run(work())


def test_a_child_that_says_much_waits_for_its_reader(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        program = (
            "import sys, pathlib\nfor n in range(400):\n"
            "    print(str(n) + 'y' * 100_000, flush=True); pathlib.Path('said').write_text(str(n))"
        )
        child = await start(program, tmp_path)
        lines = child.lines()
        await first(lines)
        said = tmp_path / "said"
        await eventually(said.exists)
        # It stops long before its end, because nobody reads.
        while True:
            before = said.read_text()
            await asyncio.sleep(0.3)
            if said.read_text() == before != "":
                break
        assert int(said.read_text()) < 200
        assert [int(line.rstrip("y")) for line in [line async for line in lines]] == list(range(1, 400))
        assert await child.wait() == 0

    run(work())


def test_stderr_is_read_all_the_time_and_its_tail_kept(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        child = await start("import sys; sys.stderr.write('e' * 3_000_000 + 'the end'); sys.exit(7)", tmp_path)
        assert await output(child) == []
        assert await child.wait() == 7
        assert len(child.stderr_tail()) == MAX_STDERR
        assert child.stderr_tail().endswith("ethe end")

    run(work())


def test_a_program_that_is_not_there_is_an_os_error(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        with pytest.raises(FileNotFoundError):
            await Child.start(["no-such-program-anywhere"], cwd=tmp_path, prompt="")

    run(work())


def test_terminate_lets_a_child_end_in_its_own_way(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        child = await start(
            # os.write: a handler that interrupts print() may not print.
            "import os, signal, sys, time\n"
            "def bye(*_): os.write(1, b'bye\\n'); sys.exit(143)\n"
            "signal.signal(signal.SIGTERM, bye); print('up', flush=True); time.sleep(600)",
            tmp_path,
        )
        lines = child.lines()
        assert await first(lines) == "up"
        assert await timed(child.terminate(10)) < 5
        assert [line async for line in lines] == ["bye"]
        assert await child.wait() == 143
        assert await timed(child.terminate(10)) < 1, "once more is nothing"

    run(work())


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        child = await start(STUBBORN, tmp_path)
        assert await first(child.lines()) == "up"
        assert 0.5 <= await timed(child.terminate(0.5)) < 5
        assert await child.wait() == -signal.SIGKILL
        assert not alive(child.pid)

    run(work())


@pytest.mark.parametrize("options", ["", ", start_new_session=True"], ids=["in_the_group", "in_a_session_of_its_own"])
def test_terminate_takes_a_stubborn_grandchild_along(run: Loop, tmp_path: Path, options: str) -> None:
    async def work() -> None:
        program = GRANDCHILD.format(code=STUBBORN, options=options)
        child = await start(program + "import time; print(p.pid, flush=True); time.sleep(600)", tmp_path)
        lines = child.lines()
        pid = int(next(line for line in (await first(lines), await first(lines)) if line != "up"))
        assert alive(pid)
        assert await timed(child.terminate(0.3)) < 5
        assert not alive(pid)

    run(work())


def test_two_terminates_at_once_both_return(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        child = await start(STUBBORN, tmp_path)
        await first(child.lines())
        seconds = await timed(asyncio.gather(child.terminate(60), child.terminate(0.2)))
        assert seconds < 5, "the impatient one decides"

    run(work())


def test_a_server_left_behind_in_the_group_ends_with_the_child(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        program = GRANDCHILD.format(code=STUBBORN, options="")
        child = await start(program + "print(p.pid, flush=True)", tmp_path)
        lines = await output(child)
        assert await child.wait() == 0
        (pid,) = (int(line) for line in lines if line != "up")
        assert not alive(pid)

    run(work())


def test_a_server_that_left_the_group_and_holds_stdout_does_not_hold_the_run(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        program = GRANDCHILD.format(code=STUBBORN, options=", start_new_session=True")
        child = await start(program + "print(p.pid, flush=True)", tmp_path)
        assert await timed(output(child)) < 10
        assert await child.wait() == 0
        assert kill_processes_in(tmp_path) == 1, "what got away is found by where it works"

    run(work())


def test_an_orphan_is_killed_with_its_group_by_number_and_start_time(tmp_path: Path) -> None:
    program = GRANDCHILD.format(code=STUBBORN, options="")
    child = subprocess.Popen(
        python(program + "import time; print(p.pid, flush=True); time.sleep(600)"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    with child:
        assert child.stdout is not None
        said = [child.stdout.readline().strip(), child.stdout.readline().strip()]
        grandchild = int(next(line for line in said if line != "up"))
        created = psutil.Process(child.pid).create_time()
        kill_orphan(child.pid, created - 60)
        assert alive(child.pid), "another process of that number is somebody else's"
        kill_orphan(child.pid, created)
        assert not alive(child.pid)
        assert not alive(grandchild)


def test_an_orphans_group_is_killed_when_its_leader_has_gone(tmp_path: Path) -> None:
    program = GRANDCHILD.format(code=STUBBORN, options="")
    child = subprocess.Popen(
        python(program + "print(p.pid, flush=True)"), stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    with child:
        created = psutil.Process(child.pid).create_time()
        assert child.stdout is not None
        said = [child.stdout.readline().strip(), child.stdout.readline().strip()]
        grandchild = int(next(line for line in said if line != "up"))
        child.wait()
        kill_orphan(child.pid, created)
        assert not alive(grandchild)


def test_killing_an_orphan_never_kills_this_process() -> None:
    me = psutil.Process()
    kill_orphan(me.pid, me.create_time())
    kill_orphan(os.getpgrp(), psutil.Process(os.getpgrp()).create_time() if psutil.pid_exists(os.getpgrp()) else 0.0)
    kill_orphan(1, psutil.Process(1).create_time())
    kill_orphan(0, 0.0)
    assert alive(me.pid)


def test_only_processes_inside_the_directory_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, beside = tmp_path / "run" / "deep", tmp_path / "run-2"
    inside.mkdir(parents=True)
    beside.mkdir()
    monkeypatch.chdir(tmp_path / "run")  # This process is inside too, and is spared.
    with (
        subprocess.Popen(python(STUBBORN), cwd=inside, stdout=subprocess.PIPE) as one,
        subprocess.Popen(python(STUBBORN), cwd=beside, stdout=subprocess.PIPE) as other,
    ):
        for process in (one, other):
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
        assert kill_processes_in(tmp_path / "run") == 1
        assert one.wait(LIMIT) == -signal.SIGKILL
        assert other.poll() is None
        other.kill()


def test_a_child_whose_pipe_partner_is_gone_leaves_no_descriptor_behind(run: Loop, tmp_path: Path) -> None:
    async def work() -> None:
        def open_files() -> int:
            return psutil.Process().num_fds()

        child = await start("print('warm')", tmp_path)
        await output(child)
        await child.wait()
        before = open_files()
        for _ in range(5):
            child = await start("pass", tmp_path, "x" * 100_000)
            await output(child)
            await child.wait()
        await eventually(lambda: open_files() <= before)

    run(work())


def test_what_a_terminal_would_ask_finds_none(run: Loop, tmp_path: Path) -> None:
    """A CLI that asks on the terminal must fail at once instead of waiting for somebody."""

    async def work() -> None:
        child = await start(
            "import os\ntry:\n    os.open('/dev/tty', os.O_RDWR); print('terminal')\nexcept OSError: print('none')",
            tmp_path,
        )
        assert await output(child) == ["none"]
        await child.wait()

    run(work())
