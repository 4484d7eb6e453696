CREATE TABLE IF NOT EXISTS {table} (
  split STRING NOT NULL COMMENT 'train, dev or test (files), live (stream)',
  impression_id STRING NOT NULL COMMENT 'The impression, unique within its split',
  user_id STRING NOT NULL COMMENT 'Whose history it is',
  occurred_at TIMESTAMP NOT NULL COMMENT 'When the impression was shown, UTC',
  news_ids ARRAY<STRING> NOT NULL COMMENT 'The articles clicked before, oldest first; empty for a new user; ids may lack a row in news'
)
USING DELTA
PARTITIONED BY (split)
COMMENT 'One row is the click history that a user had at one impression'
TBLPROPERTIES (
  'newslake.key' = 'split, impression_id',
  'newslake.written_by' = 'parse_behaviors, parse_ebnerd, or import_table',
  'delta.dataSkippingStatsColumns' = 'occurred_at',
  'parquet.enable.dictionary#news_ids.list.element' = 'false',
  -- build_profiles counts what was written since the last day, each row once. Rows that are only added cost nothing more.
  'delta.enableChangeDataFeed' = 'true',
  'delta.enableDeletionVectors' = 'false'
)
