"""`hourfeed demo`: a simulated network, a batch and a server, all in a folder of their own."""

from datetime import UTC, datetime, timedelta

import click

from batch.settings import BatchSettings
from cli.batch import publish_once, summary
from cli.context import open_redis, read_settings
from cli.serve import check_port, serve
from cli.simulate import sentence, simulate_into_database
from demo.network import make_users
from demo.parameters import Parameters
from demo.simulate import Summary
from server.settings import ServerSettings
from slates.cluster import keys_of
from slates.generations import live_generation

_STALE = timedelta(hours=12)
_FRESH_ENOUGH = timedelta(hours=1)


@click.command("demo")
@click.option("--port", type=click.IntRange(1, 65_535), default=8000, show_default=True)
@click.option("--users", type=click.IntRange(10, 100_000), default=Parameters.users, show_default=True)
def command(port: int, users: int) -> None:
    """Fill a small simulated network, publish its feeds and serve them on 127.0.0.1 until Ctrl-C.

    Database and Redis are embedded ones in the state folder, under demo/: whatever DATABASE_URL and REDIS_URL name is
    left alone. What an earlier demo left is used again while it is fresh.
    """
    check_port("127.0.0.1", port)
    base = read_settings(BatchSettings)
    settings = base.model_copy(update={"database_url": None, "redis_url": None, "state": base.state / "demo"})
    with open_redis(settings) as redis:  # held until the server ends, so that all steps share it
        parameters = Parameters(users=users, end=datetime.now(UTC))
        network = _network(settings, parameters)
        somebody = str(make_users(parameters).user_id[users // 2])
        live = live_generation(redis, keys_of(redis, settings.prefix))
        now = datetime.now(UTC).replace(microsecond=0)
        if live is None or live.users != network.users or now - live.as_of > _FRESH_ENOUGH:
            click.echo(summary(publish_once(settings, now)))
        else:
            click.echo(f"generation {live.id} is still fresh, so no batch is run")
        click.echo(f"look into it: HOURFEED_STATE={settings.state} hourfeed status")
        place: dict[str, object] = {"redis_url": None, "state": settings.state, "prefix": settings.prefix, "open": True}
        place["database_url"] = f"sqlite:///{settings.state / 'hourfeed.db'}"
        serve(read_settings(ServerSettings, host="127.0.0.1", port=port).model_copy(update=place), somebody)


def _network(settings: BatchSettings, parameters: Parameters) -> Summary:
    network, place = simulate_into_database(settings, parameters, keep_end=True)
    if network.already_there and network.last and datetime.now(UTC) - network.last > _STALE:
        for name in ("hourfeed.db", "hourfeed.db-wal", "hourfeed.db-shm", "simulated.json", "oracle.npz"):
            (settings.state / name).unlink(missing_ok=True)
        network, place = simulate_into_database(settings, parameters, keep_end=True)
    click.echo(sentence(network, place))
    return network
