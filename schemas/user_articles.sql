CREATE TABLE IF NOT EXISTS {table} (
  as_of DATE NOT NULL COMMENT 'The day at whose start, 00:00 UTC, the profile holds',
  user_id STRING NOT NULL COMMENT 'The user',
  news_id STRING NOT NULL COMMENT 'An article that the user has read; may lack a row in news',
  weight DOUBLE NOT NULL COMMENT 'Sum over clicks of 0.5 to the power of (age / half-life), as of the day; an article of the history counts as one click',
  first_seen_at TIMESTAMP NOT NULL COMMENT 'The first impression of the user with a click or a history, UTC: it dates the articles of the history',
  history_weight DOUBLE COMMENT 'The part of weight that a history gave; a click that arrives later takes its place. NULL, as 0, in rows of older versions'
)
USING DELTA
PARTITIONED BY (as_of)
COMMENT 'One row is one article that a user has read, with its weight on a day: what topics of users are made from'
TBLPROPERTIES (
  'newslake.key' = 'as_of, user_id, news_id',
  'newslake.written_by' = 'build_profiles',
  'delta.enableDeletionVectors' = 'false'
)
