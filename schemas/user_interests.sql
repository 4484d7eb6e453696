CREATE TABLE IF NOT EXISTS {table} (
  user_id STRING NOT NULL COMMENT 'The user',
  interest STRING NOT NULL COMMENT 'What the user says to be interested in, as stated',
  stated_at TIMESTAMP NOT NULL COMMENT 'When it was stated, UTC',
  weight DOUBLE NOT NULL COMMENT 'How strongly, 0 to 1',
  ingested_at TIMESTAMP NOT NULL COMMENT 'When it arrived, UTC; from files, the modification time of the file'
)
USING DELTA
COMMENT 'One row is one interest that a user stated'
TBLPROPERTIES (
  'newslake.key' = 'user_id, interest, stated_at',
  'newslake.written_by' = 'stream_behaviors, or import_table',
  'delta.constraints.weight_not_negative' = 'weight >= 0',
  -- build_profiles counts what was written since the last day, each row once. Rows that are only added cost nothing more.
  'delta.enableChangeDataFeed' = 'true',
  'delta.enableDeletionVectors' = 'false'
)
