"""Readable texts of the simulated posts, from a small grammar and the words of topic and group."""

import random
import re
from dataclasses import dataclass

from demo.words import GROUP_WORDS, LEXICONS, NEWS, REVIEW, SHORT


@dataclass(frozen=True)
class _Style:
    templates: tuple[str, ...]
    sentences: tuple[int, int, int]  # fewest, usual, most
    hashtags: bool = False


_NEWS_STYLE = _Style(NEWS, (5, 12, 32))
_STYLES = {"covid": _Style(SHORT, (1, 1, 3), hashtags=True), "movie": _Style(REVIEW, (4, 9, 28))}
_FOCUS = 4  # a post keeps coming back to a few things and people of its topic
_IN_FOCUS = 0.65
_TURNS_OF_A_GROUP = 0.45
_SENTENCES_A_PARAGRAPH = 5
_A_BEFORE_VOWEL = re.compile(r"(?<=\b[Aa])(?= [aeiou])")


def write_text(seed: int, topic: str, group: str) -> str:
    """Return the text of one post; equal arguments give equal texts."""
    rng = random.Random(seed)  # noqa: S311 - prose, not secrets
    style, lexicon = _STYLES.get(topic, _NEWS_STYLE), LEXICONS[topic]
    focus = rng.sample(lexicon.things, _FOCUS)
    person, place = rng.choice(lexicon.people), rng.choice(lexicon.places)

    def sentence() -> str:
        things = rng.sample(focus if rng.random() < _IN_FOCUS else lexicon.things, 2)
        who = person if rng.random() < _IN_FOCUS else rng.choice(lexicon.people)
        qualities, did = rng.sample(lexicon.qualities, 2), rng.sample(lexicon.did, 2)
        turn = f" {rng.choice(GROUP_WORDS[group])}" if rng.random() < _TURNS_OF_A_GROUP else ""
        return rng.choice(style.templates).format(
            thing=things[0],
            thing2=things[1],
            quality=qualities[0],
            quality2=qualities[1],
            Quality=_capital(qualities[0]),
            did=did[0],
            did2=did[1],
            person=who,
            Person=_capital(who),
            person2=rng.choice(lexicon.people),
            place=place if rng.random() < _IN_FOCUS else rng.choice(lexicon.places),
            turn=turn,
        )

    fewest, usual, most = style.sentences
    sentences = [sentence() for _ in range(round(rng.triangular(fewest, most, usual)))]
    paragraphs = [
        " ".join(sentences[first : first + _SENTENCES_A_PARAGRAPH])
        for first in range(0, len(sentences), _SENTENCES_A_PARAGRAPH)
    ]
    tags = f" #{topic} #{focus[0].title().replace(' ', '').replace('-', '')}" if style.hashtags else ""
    return _A_BEFORE_VOWEL.sub("n", "\n\n".join(paragraphs)) + tags


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
