"""The latent truth behind the generated data: what articles are about, what users like, how they click.

Articles are mixtures of one or two topics; a user likes two to four categories, and within them some
subcategories more than others. A candidate's utility is the user's affinity to its topics, its popularity
(which no text tells) and its freshness; clicks go to the candidates with the largest utility plus Gumbel
noise, which is a draw without replacement from the softmax of the utilities (a multinomial logit, McFadden
1974).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from newslake.sample.draws import Draws, Floats, Ints, choose
from newslake.sample.spec import HISTORY_DAYS, GeneratorSpec
from newslake.sample.vocabulary import Vocabulary, vocabulary

DAY = 86_400
TASTE_STRENGTH = 4.7
"""How much affinity, from 0 to 1, decides a click, in units of the Gumbel noise."""
APPEAL_SKEW = 1.6
POPULARITY_STRENGTH = 0.6
FRESHNESS_STRENGTH = 0.3
"""What an article loses by each MEAN_AGE of age."""
MEAN_AGE = 5 * 3_600
"""Mean age in seconds of a candidate; ages are exponential, cut at WINDOW."""
WINDOW = DAY // 2
SINGLE_TOPIC_SHARE = 0.45
NO_BODY, PLAIN_BODY, LATE_BODY = 0, 1, 2
COPY_DELAY = 8 * 3_600
"""Mean time in seconds after which an article is copied; times are exponential, cut at COPY_WINDOW."""
COPY_WINDOW = 2 * DAY


@dataclass(frozen=True)
class Catalogue:
    """All articles by index, in the order of their publication. Arrays of length `spec.articles`.

    first_topic has `weight` of the article (above a half), second_topic the rest; a single-topic article has
    both the same and weight 1. published is in seconds since 1970. original is the article that one is a
    near-copy of, or the article itself.
    """

    spec: GeneratorSpec
    words: Vocabulary
    draws: Draws
    earlier: int
    before_dev: int
    published: Ints
    first_topic: Ints
    second_topic: Ints
    weight: Floats
    popularity: Floats
    body: Ints
    original: Ints
    by_topic: Ints
    topic_start: Ints

    def published_by(self, time: Floats) -> Ints:
        """How many articles were out at a time (seconds since 1970); never one too many, at most one too
        few."""
        days = np.array([-HISTORY_DAYS, 0, self.spec.train_days, self.spec.train_days + 1]) * DAY
        counts = np.array([0, self.earlier, self.before_dev, self.spec.articles])
        return np.interp(time - self.spec.start, days, counts).astype(np.int64)

    @property
    def first_of_dev(self) -> int:
        """The oldest article, earlier weeks apart, that dev may show."""
        dev = self.spec.start + self.spec.train_days * DAY
        oldest = self.published_by(np.array([float(dev - WINDOW)]))[0]
        return max(0, int(oldest) - self.most_candidates - 1)

    @property
    def most_candidates(self) -> int:
        """The longest list that is shown: MIND's 299, or a tenth of the articles where these are few."""
        return min(299, self.spec.articles // 10)


@lru_cache(maxsize=2)
def catalogue(spec: GeneratorSpec) -> Catalogue:
    """The articles of a spec, made once a process: about 70 bytes an article."""
    words, draws, size = vocabulary(), Draws(spec.seed), spec.articles
    index = np.arange(size)
    earlier, train = (int(size * share) for share in spec.period_shares[:2])
    counts = [0, earlier, earlier + train, size]
    days = [-HISTORY_DAYS, 0, spec.train_days, spec.train_days + 1]
    # Article i is out somewhere within the i-th of equal slices of its period: in order, without a sort.
    published = np.interp(index + draws.uniform("article/published", index), counts, np.array(days) * DAY)
    cumulative = np.cumsum(words.topic_share)
    first = choose(cumulative, draws.uniform("article/first topic", index))
    second = choose(cumulative, draws.uniform("article/second topic", index))
    single = (draws.uniform("article/single", index) < SINGLE_TOPIC_SHARE) | (first == second)
    weight = np.where(single, 1.0, 0.55 + 0.3 * draws.uniform("article/weight", index))
    popularity = draws.normal("article/popularity", index)
    has_body = draws.uniform("article/body", index) < spec.body_share
    late = draws.uniform("article/late", index) < spec.late_share
    body = np.where(has_body, np.where(late, LATE_BODY, PLAIN_BODY), NO_BODY)
    original = _originals(spec, draws, published)
    # A copy is about what its original is; by how much it is liked is its own.
    first, second, body = (topic_or_body[original] for topic_or_body in (first, second, body))
    single, weight = single[original], weight[original]
    past = np.arange(earlier)
    by_topic = past[np.lexsort((-popularity[:earlier], first[:earlier]))]
    return Catalogue(
        spec=spec,
        words=words,
        draws=draws,
        earlier=earlier,
        before_dev=earlier + train,
        published=spec.start + published.astype(np.int64),
        first_topic=first,
        second_topic=np.where(single, first, second),
        weight=weight,
        popularity=popularity,
        body=body,
        original=original,
        by_topic=by_topic,
        topic_start=np.searchsorted(first[by_topic], np.arange(words.topics + 1)),
    )


def _originals(spec: GeneratorSpec, draws: Draws, published: Floats) -> Ints:
    """What each article is a copy of, or itself: one of the last COPY_WINDOW that is no copy; popular ones
    are copied no more often."""
    index = np.arange(spec.articles)
    copied = draws.uniform("article/copy", index) < spec.copies
    delay = np.minimum(-np.log(draws.uniform("article/copy/delay", index)) * COPY_DELAY, COPY_WINDOW)
    whole = np.flatnonzero(~copied)
    place = (
        np.searchsorted(
            whole, np.minimum(np.searchsorted(published, published - delay), index - 1), side="right"
        )
        - 1
    )
    found = whole[np.maximum(place, 0)] if len(whole) else index
    possible = copied & (place >= 0) & (published - published[found] <= COPY_WINDOW)
    original: Ints = np.where(possible, found, index)
    return original


def tastes(world: Catalogue, users: Ints) -> Floats:
    """What users like: [users, topics], each between 0 and 1.

    Two to four categories are liked (0.6 to 1), the others hardly (up to 0.15); in every category about half
    of the subcategories count in full, the others by half.
    """
    draws, words = world.draws, world.words
    rows, categories = users[:, None], np.arange(len(words.categories))[None, :]
    # The largest of log weight + Gumbel noise are draws by those weights, without replacement.
    lure = np.log(_appeal(world)) + draws.gumbel("user/likes", rows, categories)
    order = np.argsort(np.argsort(-lure, axis=1), axis=1)
    liked = order < 2 + draws.below("user/breadth", 3, users)[:, None]
    strength = draws.uniform("user/strength", rows, categories)
    by_category = np.where(liked, 0.6 + 0.4 * strength, 0.15 * strength)
    keen = draws.uniform("user/keen", rows, np.arange(words.topics)[None, :]) < 0.5
    return by_category[:, words.category_of] * np.where(keen, 1.0, 0.5)


def _appeal(world: Catalogue) -> Floats:
    """How readily each category is liked: a few by many users (which ones, the seed decides)."""
    rank = np.argsort(np.argsort(world.draws.bits("category/appeal", np.arange(len(world.words.categories)))))
    return np.asarray((1.0 + rank) ** -APPEAL_SKEW, dtype=np.float64)


def affinities(world: Catalogue, taste: Floats, row: Ints, article: Ints) -> Floats:
    """How well articles fit users: the taste for both topics by their weights. row: whose taste, by row of
    `taste`."""
    weight = world.weight[article]
    return (
        weight * taste[row, world.first_topic[article]]
        + (1.0 - weight) * taste[row, world.second_topic[article]]
    )


def utilities(world: Catalogue, affinity: Floats, article: Ints, time: Floats) -> Floats:
    """What decides a click but for chance: affinity, popularity, freshness. time: when each was shown."""
    age = time - world.published[article]
    appeal = POPULARITY_STRENGTH * world.popularity[article] - FRESHNESS_STRENGTH * age / MEAN_AGE
    return TASTE_STRENGTH * affinity + appeal


def histories(world: Catalogue, users: Ints, taste: Floats) -> tuple[Ints, Ints]:
    """Earlier clicks of users, by their taste, from the weeks before train: (articles flat, oldest first;
    number of each).

    A user's history is the same in train and dev, as MIND's is. About one user in 25 has none.
    """
    draws, words = world.draws, world.words
    wanted = np.exp(
        np.log(max(world.spec.history, 0.5)) - 0.4 + 0.9 * draws.normal("user/history", users)
    ).astype(np.int64)
    wanted = np.minimum(wanted, min(300, world.earlier // 2)) * (draws.uniform("user/newcomer", users) > 0.04)
    chance = words.topic_share * np.exp(TASTE_STRENGTH * taste)
    cumulative = np.cumsum(chance / chance.sum(axis=1, keepdims=True), axis=1)
    row = np.repeat(np.arange(len(users)), wanted)
    slot = np.arange(len(row)) - np.repeat(np.cumsum(wanted) - wanted, wanted)
    key = users[row] * 512 + slot
    # One search for all rows: row r's cumulative shares lie between r and r + 1.
    shifted = (np.minimum(cumulative, 1.0 - 1e-9) + np.arange(len(users))[:, None]).ravel()
    topic = (
        np.searchsorted(shifted, row + draws.uniform("history/topic", key), side="right") - row * words.topics
    )
    topic = np.minimum(topic, words.topics - 1)
    start, end = world.topic_start[topic], world.topic_start[topic + 1]
    place = draws.uniform("history/article", key) ** 1.3  # leans towards the popular ones, which come first
    article = np.where(
        end > start,
        world.by_topic[np.minimum(start + (place * (end - start)).astype(np.int64), world.earlier - 1)],
        (place * world.earlier).astype(np.int64),
    )
    distinct = np.unique(row * world.spec.articles + article)
    return distinct % world.spec.articles, np.bincount(distinct // world.spec.articles, minlength=len(users))
