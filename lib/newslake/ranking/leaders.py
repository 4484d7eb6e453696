"""Which articles begin a story and which join one, from links between near-identical articles; numpy alone.

Leader clustering (Hartigan, Clustering Algorithms, 1975, ch. 3): in the order of their publication, an
article joins the nearest story whose first article is near enough, and begins one where there is none.
Compared with firsts alone, stories cannot drift: the last copy is as near to the first as the second. Here it
is done in rounds over all links at once, as for a maximal independent set in a given order (Blelloch, Fineman
and Shun, SPAA 2012), with the same result as one article after the other.
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_OPEN, _FIRST, _MEMBER = 0, 1, 2


def joined(later: Ints, earlier: Ints, cosine: npt.NDArray[np.float32], known: Flags, cut: Flags) -> Ints:
    """The first article of each article's story.

    Args:
        later, earlier, cosine: (m,) links, each from an article to one that comes before it (or to a known
            first): no circles.
        known: (n,) whether the article began a story that was decided before; such ones have no links of
            their own.
        cut: (n,) whether the article may have further links, all to articles that are less near than those
            given.

    Returns:
        (n,) number of the first article, the article itself where it begins a story; -1 where further links
            would have to be known.
        Of equally near firsts the one of the lowest number.
    """
    count = len(known)
    state = np.where(known, _FIRST, _OPEN)
    while True:
        other = state[earlier]
        near_first = np.bincount(later, other == _FIRST, count) > 0
        waits = np.bincount(later, other == _OPEN, count) > 0
        begins = (state == _OPEN) & ~near_first & ~waits & ~cut
        joins = (state == _OPEN) & near_first
        if not (begins | joins).any():
            break
        state = np.where(begins, _FIRST, np.where(joins, _MEMBER, state))
    first_of = np.where(state == _FIRST, np.arange(count), -1)
    counts = (state[later] == _MEMBER) & (state[earlier] != _MEMBER)
    later, earlier, cosine = later[counts], earlier[counts], cosine[counts]
    order = np.lexsort((earlier, -cosine, later))
    nearest = order[np.diff(later[order], prepend=-1) != 0]
    # Where the nearest is itself not decided yet, it may turn out to be a first.
    sure = nearest[state[earlier[nearest]] == _FIRST]
    first_of[later[sure]] = earlier[sure]
    return first_of
