CREATE TABLE IF NOT EXISTS {table} (
  horizon DATE NOT NULL COMMENT 'Articles published before this day, UTC, are not served any more; the row with the latest purged_at counts',
  purged_at TIMESTAMP NOT NULL COMMENT 'When purge_news last ran with it, UTC'
)
USING DELTA
COMMENT 'One row is a horizon that purge_news ran with; jobs that build, export or take in vectors keep to the latest'
TBLPROPERTIES (
  'newslake.key' = 'horizon',
  'newslake.written_by' = 'purge_news',
  'delta.enableDeletionVectors' = 'false'
)
