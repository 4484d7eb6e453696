CREATE TABLE IF NOT EXISTS {table} (
  click_id STRING NOT NULL COMMENT 'The click event, as its source names it',
  impression_id STRING NOT NULL COMMENT 'The live impression that it belongs to; may not have arrived yet',
  user_id STRING NOT NULL COMMENT 'Who clicked',
  news_id STRING NOT NULL COMMENT 'The article that was clicked',
  clicked_at TIMESTAMP NOT NULL COMMENT 'When, UTC',
  ingested_at TIMESTAMP NOT NULL COMMENT 'When it arrived, UTC; from files, the modification time of the file'
)
USING DELTA
COMMENT 'One row is one click event of the live stream; those without a row in impressions wait for it'
TBLPROPERTIES (
  'newslake.key' = 'click_id',
  'newslake.written_by' = 'stream_behaviors',
  'delta.enableDeletionVectors' = 'false'
)
