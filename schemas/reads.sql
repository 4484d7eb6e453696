CREATE TABLE IF NOT EXISTS {table} (
  split STRING NOT NULL COMMENT 'train, dev or test (files), or as you bring it',
  user_id STRING NOT NULL COMMENT 'Who read',
  news_id STRING NOT NULL COMMENT 'What was read; may lack a row in news',
  read_at TIMESTAMP NOT NULL COMMENT 'When the article was opened, UTC; of a click, when the impression was shown, where nothing tells more',
  kind STRING NOT NULL COMMENT 'click: what followed the click on an impression; page: a visit of the page of the article, however it was reached',
  impression_id STRING COMMENT 'Of a click: the impression, in the same split; NULL of a page',
  read_seconds DOUBLE COMMENT 'How long the article was open, in seconds; NULL where unknown',
  scroll_percentage DOUBLE COMMENT 'How far down the user scrolled, 0 to 100; NULL where unknown',
  ingested_at TIMESTAMP NOT NULL COMMENT 'When it arrived, UTC; from files, the modification time of the file'
)
USING DELTA
PARTITIONED BY (split)
COMMENT 'One row is one reading of an article by a user: how long, and how far'
TBLPROPERTIES (
  'newslake.key' = 'split, user_id, news_id, read_at, kind',
  'newslake.written_by' = 'parse_ebnerd, or import_table',
  'delta.constraints.read_seconds_not_negative' = 'read_seconds IS NULL OR read_seconds >= 0',
  'delta.constraints.scroll_percentage_in_range' = 'scroll_percentage IS NULL OR scroll_percentage BETWEEN 0 AND 100',
  'delta.dataSkippingStatsColumns' = 'read_at',
  'delta.enableDeletionVectors' = 'false'
)
