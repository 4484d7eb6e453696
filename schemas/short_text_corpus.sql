CREATE TABLE IF NOT EXISTS {table} (
  news_id STRING NOT NULL COMMENT 'The short text',
  text STRING NOT NULL COMMENT 'Title, abstract and body, joined by a blank',
  class STRING NOT NULL COMMENT 'Its class after the vote',
  old_class STRING COMMENT 'The class that it came with; NULL where it had none',
  decision STRING NOT NULL COMMENT 'Why class is what it is: changed, confirmed, kept or no vector, see short_text_votes',
  as_of DATE NOT NULL COMMENT 'The day of the vote',
  content_hash STRING NOT NULL COMMENT 'content_hash of the text'
)
USING DELTA
COMMENT 'One row is a short text with its corrected class, to train a classifier on'
TBLPROPERTIES (
  'newslake.key' = 'news_id',
  'newslake.written_by' = 'reclassify_short_text',
  'delta.enableDeletionVectors' = 'false'
)
