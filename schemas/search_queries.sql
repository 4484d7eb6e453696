CREATE TABLE IF NOT EXISTS {table} (
  query_id STRING NOT NULL COMMENT 'The query, as its source names it',
  user_id STRING NOT NULL COMMENT 'Who searched',
  query STRING NOT NULL COMMENT 'What was typed',
  searched_at TIMESTAMP NOT NULL COMMENT 'When, UTC',
  ingested_at TIMESTAMP NOT NULL COMMENT 'When it arrived, UTC; from files, the modification time of the file'
)
USING DELTA
COMMENT 'One row is one search query of a user'
TBLPROPERTIES (
  'newslake.key' = 'query_id',
  'newslake.written_by' = 'stream_behaviors, or import_table',
  -- build_profiles counts what was written since the last day, each row once. Rows that are only added cost nothing more.
  'delta.enableChangeDataFeed' = 'true',
  'delta.enableDeletionVectors' = 'false'
)
