CREATE TABLE IF NOT EXISTS {table} (
  as_of TIMESTAMP NOT NULL COMMENT 'The hour, UTC; only events strictly before it count',
  news_id STRING NOT NULL COMMENT 'The article',
  clicks BIGINT NOT NULL COMMENT 'Clicks before the hour',
  impressions BIGINT NOT NULL COMMENT 'How often it was shown before the hour',
  recent_clicks DOUBLE NOT NULL COMMENT 'The clicks, each halved for every half-life that has passed since',
  recent_impressions DOUBLE NOT NULL COMMENT 'The impressions, likewise',
  prior DOUBLE NOT NULL COMMENT 'Click-through rate of its category, smoothed towards that of all articles; 0 where nothing was shown yet',
  ctr DOUBLE NOT NULL COMMENT 'Estimated click-through rate: recent clicks and impressions smoothed towards prior'
)
USING DELTA
PARTITIONED BY (as_of)
COMMENT 'One row is the estimated click-through rate of a recent article at an hour'
TBLPROPERTIES (
  'newslake.key' = 'as_of, news_id',
  'newslake.written_by' = 'rank_newsfeed',
  'delta.enableDeletionVectors' = 'false'
)
