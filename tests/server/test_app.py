import os
import subprocess
import sys

PROGRAM = """
import socket, sys
def refuse(*args): raise AssertionError("connected")
socket.socket.connect = socket.socket.connect_ex = refuse
import server.app
server.app.create_app()
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
HEAVY = {
    "batch",
    "demo",
    "pandas",
    "numpy",
    "scipy",
    "sklearn",
    "lightgbm",
    "numba",
    "pyarrow",
    "sqlalchemy",
    "psycopg2",
}


def test_a_fresh_server_connects_to_nothing_and_loads_nothing_heavy() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ}, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert {"server", "slates", "flask", "redis"} <= set(loaded)
    assert HEAVY.isdisjoint(loaded)
