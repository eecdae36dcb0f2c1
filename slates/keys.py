"""Names of the Redis keys. Together with the codec and the manifest they are a public contract: docs/redis.md."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

PLAIN = "!$&'()*+,-./;<=>?@[]^_`|~"


def escape_id(identifier: str) -> str:
    """Percent-encode what would break a key or a slate: white space, `:`, `%`, braces, controls, non-ASCII."""
    if identifier.isalnum() and identifier.isascii():
        return identifier  # most ids, at a tenth of the time
    return quote(identifier, safe=PLAIN, errors="surrogatepass")


def unescape_id(escaped: str) -> str:
    """Undo `escape_id`."""
    return unquote(escaped, errors="surrogatepass")


@dataclass(frozen=True)
class Keys:
    """The keys under one prefix; several prefixes share one Redis.

    `tagged` is for Redis Cluster: the prefix is in braces where keys change together, so that they share a slot.
    `arm` is that of an experiment, whose generations follow each other beside those that everybody else gets.
    """

    prefix: str = "hourfeed"
    tagged: bool = False
    arm: str = ""

    @property
    def _together(self) -> str:
        return f"{{{self.prefix}}}" if self.tagged else self.prefix

    @property
    def _of_arm(self) -> str:
        return f":{self.arm}" if self.arm else ""

    @property
    def current(self) -> str:
        """Name the string that holds the id of the live generation."""
        return f"{self._together}:current{self._of_arm}"

    @property
    def generations(self) -> str:
        """Name the sorted set of generation ids; the score is the start of the run, seconds since 1970."""
        return f"{self._together}:generations{self._of_arm}"

    @property
    def lock(self) -> str:
        """Name the string that lets one batch run at a time."""
        return f"{self._together}:lock"

    @property
    def seq(self) -> str:
        """Name the counter whose value fences a run."""
        return f"{self._together}:seq"

    @property
    def last_run(self) -> str:
        """Name the hash that says how the latest run came out."""
        return f"{self._together}:last_run{self._of_arm}"

    @property
    def blocked(self) -> str:
        """Name the set of posts that are taken down."""
        return f"{self._together}:blocked"

    @property
    def blocked_mark(self) -> str:
        """Name the string that changes whenever that set does."""
        return f"{self._together}:blocked:mark"

    def rate(self, caller: str, window: int) -> str:
        """Name the counter of one caller's requests in one window of time."""
        return f"{self.prefix}:rate:{escape_id(caller)}:{window}"

    def session(self, name: str) -> str:
        """Name the string that says which key a browser at the operations page has shown."""
        return f"{self.prefix}:session:{name}"

    def generation(self, generation: str) -> str:
        """Name the hash with a generation's manifest."""
        return f"{self._together}:gen:{generation}"

    def user(self, generation: str, user_id: str) -> str:
        """Name the hash of one user: bucket → slate, and the fields of slates.codec beside."""
        return f"{self.prefix}:gen:{generation}:user:{escape_id(user_id)}"

    def segment(self, generation: str, segment: str) -> str:
        """Name the hash bucket → slate of one segment of users."""
        return f"{self.prefix}:gen:{generation}:segment:{escape_id(segment)}"

    def popular(self, generation: str) -> str:
        """Name the hash bucket → slate for users of whom nothing is known."""
        return f"{self.prefix}:gen:{generation}:popular"

    def posts(self, generation: str) -> str:
        """Name the string with the ids of the posts that a packed generation's numbers stand for."""
        return f"{self.prefix}:gen:{generation}:posts"

    def similar(self, generation: str, post_id: str) -> str:
        """Name the string with the posts that are most like a post."""
        return f"{self.prefix}:gen:{generation}:similar:{escape_id(post_id)}"

    def shards(self, generation: str) -> str:
        """Name the hash of the shards that are written, until the flip."""
        return f"{self.prefix}:gen:{generation}:shards"

    def post(self, post_id: str) -> str:
        """Name the hash with a post's text and topic."""
        return f"{self.prefix}:post:{escape_id(post_id)}"

    def seen(self, user_id: str) -> str:
        """Name the sorted set of the posts that a user has acted on lately; the score is when, seconds since 1970."""
        return f"{self.prefix}:seen:{escape_id(user_id)}"

    @property
    def events(self) -> str:
        """Name the stream of events that wait for the database."""
        return f"{self._together}:events"

    def event(self, event_id: str) -> str:
        """Name the string whose presence says that an event of that id has been taken in."""
        return f"{self._together}:event:{escape_id(event_id)}"

    @property
    def erased(self) -> str:
        """Name the sorted set of users that were erased, until a batch has cleared its copies; the score is when."""
        return f"{self._together}:erased"

    @property
    def experiment(self) -> str:
        """Name the string with the experiment that runs."""
        return f"{self._together}:experiment"

    @property
    def experiments(self) -> str:
        """Name the hash of all experiments that were ever started: name → the experiment."""
        return f"{self._together}:experiments"

    @property
    def arms(self) -> str:
        """Name the set of the arms for which generations were ever published."""
        return f"{self._together}:arms"

    @property
    def exposures(self) -> str:
        """Name the stream of what users of an experiment were shown."""
        return f"{self._together}:exposures"
