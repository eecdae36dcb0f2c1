"""Goes on from the shards that a killed run has written, where it wrote what this run would write."""

from collections.abc import Sequence

from redis import Redis

from batch.about_shard import AboutShard
from batch.shard import DoneShard
from batch.tables import Ids
from slates.errors import CodecError
from slates.half_written import noted_shards
from slates.keys import Keys
from slates.proof import is_there
from slates.shard_writer import read_summary


def written_before(
    redis: Redis, keys: Keys, generation: str, chunks: Sequence[range], user_ids: Ids, batch: int
) -> list[DoneShard]:
    """Return the shards of a generation that are there whole; what is noted and is not is to be written again."""
    found = []
    for number, summary in sorted(noted_shards(redis, keys, generation).items()):
        try:
            users = chunks[number]
            of_users = [keys.user(generation, str(user_id)) for user_id in user_ids[users.start : users.stop]]
            written = read_summary(number, of_users, summary)
            about = AboutShard.from_text(written.about, len(users))
        except (CodecError, IndexError):
            continue
        if is_there(redis, written, batch):
            found.append(DoneShard(users, written, about, 0.0, 0.0))
    return found
