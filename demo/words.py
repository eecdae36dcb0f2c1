"""The words of the simulated posts: by topic, and by the hidden group that a text gives away a little."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lexicon:
    """Words of one topic. `people` and `places` are capitalised; `did` are verbs in the past that take an object."""

    things: tuple[str, ...]
    qualities: tuple[str, ...]
    did: tuple[str, ...]
    people: tuple[str, ...]
    places: tuple[str, ...]


def _lexicon(things: str, qualities: str, did: str, people: str, places: str) -> Lexicon:
    return Lexicon(*map(_words, (things, qualities, did, people, places)))


def _words(listed: str) -> tuple[str, ...]:
    return tuple(listed.split(", "))


LEXICONS = {
    "business": _lexicon(
        "share price, profit warning, merger, interest rate, oil price, pension fund, airline, retailer, "
        "trade deficit, takeover bid, bond market, factory, export ban, payroll, dividend, car maker, "
        "insurer, housing market, budget airline, currency",
        "quarterly, record, weak, strong, unexpected, annual, sluggish, foreign, profitable, cautious, costly, global",
        "raised, cut, bought, sold, audited, postponed, financed, doubled, underestimated, defended, "
        "restructured, hedged",
        "the chief executive, the finance minister, the board, analysts, shareholders, the central bank, "
        "investors, the chairman",
        "Frankfurt, Wall Street, the City, Shanghai, Detroit, the stock exchange, head office, the ministry",
    ),
    "entertainment": _lexicon(
        "album, concert, chart, award, musical, soap opera, singer, festival, single, comedy show, tour, "
        "novel, gallery, studio, radio show, prize, duet, premiere, TV series, orchestra",
        "best-selling, acoustic, sold-out, glamorous, nostalgic, live, late-night, celebrated, "
        "controversial, debut, catchy",
        "released, recorded, won, hosted, applauded, headlined, cancelled, rehearsed, nominated, topped, "
        "produced, sang",
        "the singer, the host, the band, the producer, the jury, fans, the comedian, the soprano",
        "Broadway, the Albert Hall, Hollywood, Glastonbury, backstage, the red carpet, Liverpool, the opera house",
    ),
    "politics": _lexicon(
        "bill, election, manifesto, budget, referendum, tax plan, opposition motion, cabinet, immigration "
        "rule, school reform, poll, inquiry, amendment, ministry, coalition, asylum law, by-election, "
        "speech, council, identity card",
        "public, unpopular, parliamentary, liberal, conservative, proposed, leaked, marginal, national, urgent, secret",
        "opposed, proposed, backed, rejected, attacked, promised, amended, denied, debated, voted down, "
        "drafted, scrapped",
        "the prime minister, the home secretary, the chancellor, backbenchers, voters, the opposition "
        "leader, MPs, peers",
        "Westminster, Brussels, Downing Street, the Commons, the constituency, Edinburgh, the committee "
        "room, Parliament",
    ),
    "sport": _lexicon(
        "match, penalty, title, striker, final, injury, championship, goalkeeper, scrum, marathon, "
        "transfer, coach, semi-final, record, serve, defence, sprint, medal, stadium, referee",
        "last-minute, unbeaten, injured, fierce, muddy, decisive, olympic, away, first-half, goalless, veteran, fast",
        "scored, missed, defended, beat, saved, tackled, coached, trained, outran, equalised in, signed, won",
        "the captain, the coach, the champion, supporters, the goalkeeper, the referee, the home side, the sprinter",
        "Wimbledon, Cardiff, the training ground, Athens, the penalty area, Old Trafford, the finish line, the stands",
    ),
    "tech": _lexicon(
        "browser, smartphone, software update, network, virus, broadband line, console, search engine, "
        "chip, spam filter, patch, web site, processor, music player, robot, database, download, blog, "
        "server, video game",
        "wireless, digital, portable, open-source, vulnerable, high-definition, mobile, encrypted, online, free, slow",
        "patched, launched, downloaded, hacked, upgraded, patented, encrypted, tested, blocked, streamed, "
        "installed, copied",
        "developers, security experts, gamers, engineers, hackers, the start-up, users, researchers",
        "Silicon Valley, Las Vegas, Seoul, the data centre, the lab, Helsinki, the app store, Cambridge",
    ),
    "covid": _lexicon(
        "mask, vaccine, test, lockdown, quarantine, hospital, ventilator, symptom, case count, travel "
        "ban, outbreak, dose, isolation ward, hand sanitiser, curfew, nurse, school closure, antibody, "
        "mortality rate, contact tracing",
        "daily, confirmed, asymptomatic, free, mandatory, second, negative, positive, rising, local, "
        "exhausted, grateful",
        "reported, wore, tested, reopened, vaccinated, isolated, refused, thanked, counted, distributed, "
        "extended, caught",
        "doctors, nurses, our governor, my neighbours, the health ministry, teachers, scientists, the WHO",
        "Wuhan, Lombardy, the ICU, Florida, Delhi, the pharmacy, our street, New York",
    ),
    "movie": _lexicon(
        "film, plot, director, dialogue, ending, actress, script, camera angle, villain, sequel, "
        "soundtrack, remake, thriller, character, scene, horror flick, special effect, comedy, "
        "screenplay, documentary",
        "boring, brilliant, predictable, haunting, low-budget, over-acted, charming, gory, slow, "
        "hilarious, clichéd, underrated",
        "ruined, saved, directed, filmed, overplayed, wrote, carried, spoiled, stole, edited, praised, butchered",
        "the lead actor, the director, the heroine, the critics, my wife, the audience, the villain, the screenwriter",
        "Hollywood, the cinema, the opening scene, the haunted house, the festival, a small town, outer space, the DVD",
    ),
}

GROUP_WORDS = {
    "everyday": _words(
        "as on any other day, at home, with little fuss, one more time, for the family, as usual, at "
        "weekends, in the neighbourhood, over a cup of tea, for the most part, in plain words, step by "
        "step"
    ),
    "talked_about": _words(
        "and everybody argues about it, to a storm of comments, as the clip went viral, in a heated "
        "thread, before millions of viewers, and opinions are divided, amid a public outcry, to much "
        "applause, in the most shared post of the week, despite the backlash, with a petition under way, "
        "as rumours spread"
    ),
    "arena": _words(
        "in a bitter contest, against an old rival, by a narrow margin, before a roaring crowd, in the "
        "decisive round, after a narrow defeat, on home ground, with victory in sight, in the last "
        "campaign, to settle the score, under pressure from the leaders, for the whole team"
    ),
    "insider": _words(
        "behind closed doors, in a confidential memo, according to people close to the deal, for an "
        "undisclosed sum, at an exclusive dinner, under a new contract, with a wealthy backer, in an "
        "exclusive interview, ahead of the launch, on the advice of lawyers, with luxury brands, in "
        "private talks"
    ),
}
"""Turns of phrase of each post group."""

NEWS = (
    "{Person} {did} the {quality} {thing} in {place}{turn}.",
    "The {quality} {thing} surprised {person}{turn}.",
    "In {place}, {person} {did} a {thing} and spoke of a {quality} {thing2}{turn}.",
    '"We have never seen such a {quality} {thing}," said {person} in {place}.',
    "The {thing} and the {thing2} were {quality}, {person} said{turn}.",
    "Last week {person} {did} the {thing}{turn}.",
    "It is not clear whether the {quality} {thing} will change the {thing2}.",
    "{Person} {did2} the {thing2} after {person2} {did} the {thing}{turn}.",
    "The news from {place} put the {thing} back on the agenda{turn}.",
)
SHORT = (
    "{Person} {did} the {thing}{turn}.",
    "{Quality} {thing} in {place}{turn}!",
    "Has anyone in {place} {did} a {thing} yet?",
    "The {quality} {thing} again{turn}.",
    "{Person} and the {quality} {thing}: what we know from {place}.",
    "Thank you, {person}, for the {quality} {thing}.",
)
REVIEW = (
    "I watched this for the {thing}, and found a {quality} {thing2}{turn}.",
    "{Person} {did} the {thing}, which is a pity{turn}.",
    "The {thing} is {quality}, the {thing2} is {quality2}.",
    "From {place} on, the {quality} {thing} takes over{turn}.",
    "Who {did} this {thing}?",
    "If you like a {quality} {thing}, this one is for you{turn}.",
    "{Person} {did2} every {thing} before {person2} {did} the {thing2}.",
    "I give the {thing} eight out of ten, and the {quality} {thing2} three.",
    "Even in {place} the {thing} feels {quality}{turn}.",
)
