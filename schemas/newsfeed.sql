CREATE TABLE IF NOT EXISTS {table} (
  hour TIMESTAMP NOT NULL COMMENT 'The hour that the feed is for, UTC',
  user_id STRING NOT NULL COMMENT 'Whose feed it is',
  rank INT NOT NULL COMMENT 'Place in the feed, from 1; ties by news_id',
  news_id STRING NOT NULL COMMENT 'The article',
  cosine FLOAT COMMENT 'Highest cosine with a vector of the user, each times the root of its weight over the heaviest one; NULL if found by none',
  ctr DOUBLE NOT NULL COMMENT 'Estimated click-through rate of the article, see article_ctr',
  score DOUBLE NOT NULL COMMENT 'What ranks: by the formula, log of ctr, plus weighted cosine, less what age takes; else the score of the ranker',
  reason STRING NOT NULL COMMENT 'Why it is here: vectors, categories (popular in those that the user clicks), popular',
  ranker STRING COMMENT 'What ranked it: formula, or the run of train_ranker; NULL in feeds of an older version'
)
USING DELTA
PARTITIONED BY (hour)
COMMENT 'One row is one article in the feed of a user for an hour'
TBLPROPERTIES (
  'newslake.key' = 'hour, user_id, rank',
  'newslake.written_by' = 'rank_newsfeed',
  'delta.constraints.rank_from_one' = 'rank >= 1',
  'delta.enableDeletionVectors' = 'false'
)
