from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from source.engine import open_engine
from source.erase import count_rows_of, delete_rows_of
from source.exposures import ExposureRow, insert_exposures
from source.schema import EventNames, SourceSchema, UserNames

AT = datetime(2021, 12, 20, tzinfo=UTC)


@pytest.mark.parametrize(("id_type", "one", "other"), [("bigint", "-7", "70"), ("text", "an'na", "anna")])
def test_a_users_rows_are_counted_and_deleted_in_tables_of_any_name(
    database_url: str, tmp_path: Path, id_type: str, one: str, other: str
) -> None:
    engine = open_engine(database_url, tmp_path)
    schema = SourceSchema(
        users=UserNames(table="member", user_id="uid"), events=EventNames(table="activity", user_id="member")
    )
    rows = [{"id": int(user) if id_type == "bigint" else user} for user in (one, one, other)]
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE member (uid {id_type} PRIMARY KEY, age integer)"))
        connection.execute(
            text(f"CREATE TABLE activity (timestamp timestamp, member {id_type}, post_id bigint, action text)")
        )
        connection.execute(text("INSERT INTO activity (member) VALUES (:id)"), rows)
        connection.execute(text("INSERT INTO member (uid) VALUES (:id)"), rows[1:])
    shown = [ExposureRow(f"{user}-0", AT, "e", "control", user, "g", "1") for user in (one, other)]
    insert_exposures(engine, schema, shown)
    assert count_rows_of(engine, schema, one) == {"hourfeed_exposures": 1, "activity": 2, "member": 1}
    assert delete_rows_of(engine, schema, one) == {"hourfeed_exposures": 1, "activity": 2, "member": 1}
    assert count_rows_of(engine, schema, one) == {}
    assert count_rows_of(engine, schema, other) == {"hourfeed_exposures": 1, "activity": 1, "member": 1}
    assert count_rows_of(engine, SourceSchema(), one) == {}  # no table of the default names
    engine.dispose()
