"""What a run must know of a shard beside its keys; noted with the shard, for a run that goes on after a killed one."""

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batch.by_bucket import BucketSums
from slates.errors import CodecError


@dataclass(frozen=True)
class AboutShard:
    """What is summed up over all shards once they are written.

    explored : places that explore. first_posts : int32, (n_users, up to alike.PLACES), the posts at the head of each
    user's first slate, as batch.alike looks at them.
    """

    explored: int
    first_posts: NDArray[np.int32]
    by_bucket: BucketSums

    def to_text(self) -> str:
        """Write it as JSON, arrays compressed."""
        sums = self.by_bucket
        told = {
            "explored": self.explored,
            "first_posts": _packed(self.first_posts),
            "shown": _packed(np.packbits(sums.shown, axis=1)),
            "posts": sums.shown.shape[1],
            "stayed": sums.stayed.tolist(),
            "places": sums.places.tolist(),
        }
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str, n_users: int) -> "AboutShard":
        """Read what `to_text` wrote of so many users; raise CodecError where it is none of it."""
        try:
            told = json.loads(text)
            stayed, places = (np.array(told[name], dtype=np.int64) for name in ("stayed", "places"))
            shown = np.unpackbits(_unpacked(told["shown"], np.uint8, len(stayed)), axis=1, count=int(told["posts"]))
            first_posts = _unpacked(told["first_posts"], np.int32, n_users)
            return cls(int(told["explored"]), first_posts, BucketSums(shown.astype(bool), stayed, places))
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            msg = f"what is noted of a shard cannot be read: {error!r}"
            raise CodecError(msg) from error


def _packed(array: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes())).decode()


def _unpacked(text: str, dtype: Any, rows: int) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=dtype).reshape(rows, -1)
