"""A generator of data in MIND's format with known truth, for the built-in sample, tests and benchmarks.

Layout below the output folder (several part files, such as `behaviors-00000.tsv`, where a data set is large):

- train/news.tsv, train/behaviors.tsv, dev/news.tsv, dev/behaviors.tsv: MIND's format. Dev is the day after
  train's last; most of its articles are new.
- articles.jsonl: messages of the article stream for the articles that have a body.
- class_scores.jsonl: class and score that a simulated long-text classifier gives those articles.
- short_texts.jsonl: short texts with their class as labelled, some of it wrong.
- user_interests.jsonl, search_queries.jsonl: what users say of themselves, and what they look for.
- truth/*.parquet: topics, articles, users, impressions_train, impressions_dev (affinity and utility of each
  candidate by position) and short_texts. For tests and evidence only.
- spec.json: the settings; written last.
"""

from newslake.sample.generate import generate, generate_mind
from newslake.sample.spec import GeneratorSpec

__all__ = ["GeneratorSpec", "generate", "generate_mind"]
