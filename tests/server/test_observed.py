import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from extras import needs
from fakeredis import FakeRedis, FakeServer
from flask.testing import FlaskClient
from published import Generation, put_posts

from server.app import create_app
from server.logs import REQUEST_ID, JsonFormatter
from server.metrics import FOLDER, Metrics
from server.settings import ServerSettings
from server.traces import trace_requests
from slates.keys import Keys
from slates.last_run import LastRun

QUERY = "/post/recommendations/?id=7&time=2021-12-20T12&limit=2"
GATE = {
    "chosen": "lightgbm",
    "trained": 0.61,
    "baseline": "popular_24h",
    "of_baseline": 0.5,
    "difference": 0.11,
    "interval_95": 0.02,
}


@pytest.fixture
def client(server: FakeServer) -> FlaskClient:
    redis = FakeRedis(server=server)
    as_of = datetime.now(UTC) - timedelta(hours=1)
    manifest = {"as_of": as_of, "seconds": {"read": 1.5, "train": 20.0}, "gate": GATE, "alike": 0.25}
    manifest |= {"guards": {"whole": 1.0, "overlap": 0.8, "left": {"users": 1.0, "posts": 0.7}, "broken": ["rows"]}}
    Generation(users={"7": {12: "1 2 3"}}, popular={12: "5 6"}, manifest=manifest).publish(redis)
    put_posts(redis, "12356")
    return create_app(ServerSettings(), redis).test_client()


def metrics_of(client: FlaskClient) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


def test_answers_are_counted_by_route_and_status_and_feeds_by_rung(client: FlaskClient) -> None:
    for path in (QUERY, QUERY, QUERY + "&limit=3", "/post/recommendations/?id=99&time=2021-12-20T12", "/no/such/path"):
        client.get(path)
    found = metrics_of(client)
    route = 'route="/post/recommendations/"'
    assert found[f'hourfeed_requests_total{{{route},status="200"}}'] == 3
    assert found[f'hourfeed_requests_total{{{route},status="422"}}'] == 1
    assert found['hourfeed_requests_total{route="none",status="404"}'] == 1
    assert found[f"hourfeed_request_seconds_count{{{route}}}"] == 4
    assert found[f'hourfeed_request_seconds_bucket{{le="+Inf",{route}}}'] == 4
    assert found['hourfeed_feeds_total{rung="exact"}'] == 2
    assert found['hourfeed_feeds_total{rung="popular"}'] == 1
    assert found["hourfeed_workers"] == 1


def test_events_that_wait_for_the_database_are_told_unless_redis_is_away(server: FakeServer) -> None:
    client = create_app(ServerSettings(), FakeRedis(server=server)).test_client()
    assert metrics_of(client)["hourfeed_events_waiting"] == 0
    for _ in range(3):
        FakeRedis(server=server).xadd("hourfeed:events", {"user": "7"})
    assert metrics_of(client)["hourfeed_events_waiting"] == 3
    server.connected = False
    assert "hourfeed_events_waiting" not in metrics_of(client)


def test_the_live_manifest_is_told_as_it_is_now(client: FlaskClient) -> None:
    found = metrics_of(client)
    about = "hourfeed_generation_"
    assert found[f"{about}live"] == 1
    assert 3600 <= found[f"{about}age_seconds"] < 3700
    assert found[f"{about}hours_left"] < 0  # the buckets are of 2021
    assert found[f'{about}stage_seconds{{stage="train"}}'] == 20
    assert found[f'{about}hitrate{{of="trained"}}'] == 0.61
    assert found[f'{about}hitrate{{of="baseline"}}'] == 0.5
    assert found[f"{about}hitrate_difference_interval"] == 0.02
    assert found[f"{about}alike_ratio"] == 0.25
    assert found[f"{about}users"] == 1
    assert found[f'{about}guard{{guard="overlap"}}'] == 0.8
    assert found[f'{about}guard{{guard="rows"}}'] == 0.7
    assert found[f"{about}guards_broken"] == 1
    assert found[f"{about}objective_seconds"] == 26 * 3600
    assert found["hourfeed_generations_blocked"] == 0


def test_newer_generations_that_are_blocked_are_counted(client: FlaskClient, server: FakeServer) -> None:
    redis = FakeRedis(server=server)
    for name, seq, state in (("g0", 0, "blocked"), ("g2", 2, "blocked"), ("g3", 3, "writing")):
        Generation(name, manifest={"seq": seq, "state": state}).publish(redis, live=False)
    assert metrics_of(client)["hourfeed_generations_blocked"] == 1


def test_how_the_latest_run_came_out_is_told_once_there_was_one(client: FlaskClient, server: FakeServer) -> None:
    assert not any(name.startswith("hourfeed_last_run") for name in metrics_of(client))
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    run = LastRun("full", "failed", "worker-1", 7, at, at, at + timedelta(seconds=90), "train", "no memory", failures=3)
    FakeRedis(server=server).hset(Keys().last_run, items=[part for pair in run.to_hash().items() for part in pair])
    found = metrics_of(client)
    assert found["hourfeed_last_run_failures"] == 3
    assert found["hourfeed_last_run_begun_timestamp_seconds"] == at.timestamp()
    assert found["hourfeed_last_run_ended_timestamp_seconds"] == at.timestamp() + 90
    assert found['hourfeed_last_run_info{outcome="failed",run="full",stage="train"}'] == 1
    FakeRedis(server=server).hset(Keys().last_run, "failures", "many")
    assert not any(name.startswith("hourfeed_last_run") for name in metrics_of(client))


def test_failures_of_redis_are_counted_and_metrics_are_told_without_it(client: FlaskClient, server: FakeServer) -> None:
    client.get(QUERY)
    server.connected = False
    assert client.get(QUERY).headers["X-Hourfeed-Rung"] == "memory"
    found = metrics_of(client)
    assert found["hourfeed_redis_errors_total"] == 1
    assert found["hourfeed_generation_live"] == 0
    assert found["hourfeed_generation_objective_seconds"] == 26 * 3600
    assert found['hourfeed_feeds_total{rung="memory"}'] == 1


@pytest.mark.parametrize("given", ["abc-1.2_Z", "x" * 64])
def test_a_sane_request_id_is_taken(client: FlaskClient, given: str) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, 'a"b', "a b", "é"])
def test_another_one_is_replaced_by_a_new_one(client: FlaskClient, given: str) -> None:
    made = {client.get("/healthz", headers={"X-Request-Id": given}).headers["X-Request-Id"] for _ in range(2)}
    assert len(made) == 2
    assert all(len(request_id) == 16 for request_id in made)


def line_of(message: str, *arguments: object, **extra: object) -> dict[str, object]:
    record = logging.getLogger("a.logger").makeRecord(
        "a.logger", logging.WARNING, "file", 1, message, arguments, None, extra=extra
    )
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert "\n" not in line
    found: dict[str, object] = json.loads(line)
    return found


def test_a_log_line_is_one_json_object_whatever_the_message_holds() -> None:
    token = REQUEST_ID.set("r1")
    try:
        found = line_of("user %s", 'x\n{"level":"error"}\u2028', status=503)
    finally:
        REQUEST_ID.reset(token)
    assert found["message"] == 'user x\n{"level":"error"}\u2028'
    assert (found["level"], found["logger"], found["request_id"], found["status"]) == ("warning", "a.logger", "r1", 503)


def test_secrets_do_not_reach_the_log() -> None:
    told = line_of("redis://me:pass1@host/0 hourfeed_admin_abc-DEF_1 Authorization: Bearer tok.en")["message"]
    assert told == "redis://***@host/0 hourfeed_admin_*** Authorization: Bearer ***"


def test_at_level_info_every_request_is_a_line_without_its_path(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "hourfeed.requests"):
        create_app(ServerSettings(), FakeRedis()).test_client().get(QUERY)
    (record,) = [record for record in caplog.records if record.name == "hourfeed.requests"]
    line = json.loads(JsonFormatter().format(record))
    assert (line["route"], line["method"], line["status"]) == ("/post/recommendations/", "GET", 503)
    assert "id=7" not in json.dumps(line)


def test_requests_are_traced_by_opentelemetry() -> None:
    needs("opentelemetry.sdk.trace")
    exporters = needs("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = exporters.InMemorySpanExporter()
    app = create_app(ServerSettings(), FakeRedis())
    provider = trace_requests(app, exporter)
    app.test_client().get(QUERY)
    app.test_client().get("/healthz")
    provider.shutdown()
    assert [span.name for span in exporter.get_finished_spans()] == ["GET /post/recommendations/"]


def test_every_metric_is_in_the_documentation(client: FlaskClient) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    described = page.replace("…_difference_interval", "hourfeed_generation_hitrate_difference_interval")
    for name in {name.partition("{")[0] for name in metrics_of(client)}:
        name = name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum").removesuffix("_created")
        assert name in described or f"`_{name.removeprefix('hourfeed_generation_')}`" in described, name


def test_a_worker_that_is_just_starting_does_not_break_the_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    metrics = Metrics()
    metrics.answered("/", "200", "exact", 0.1)
    (tmp_path / "counter_1.db").touch()  # made, but without room yet
    assert metrics.feeds_by_rung() == {"exact": 1.0}
