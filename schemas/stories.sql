CREATE TABLE IF NOT EXISTS {table} (
  news_id STRING NOT NULL COMMENT 'The article',
  encoder_id STRING NOT NULL COMMENT 'By whose vectors it was decided',
  story_id STRING NOT NULL COMMENT 'The first article of its story: the earliest that was known when the story was decided; itself where it began one. Never changed later',
  cosine FLOAT NOT NULL COMMENT 'Cosine of the two articles; 1 for the first itself',
  decided_at TIMESTAMP NOT NULL COMMENT 'When it was decided, UTC'
)
USING DELTA
PARTITIONED BY (encoder_id)
COMMENT 'One row says which story an article tells; near-identical articles tell one'
TBLPROPERTIES (
  'newslake.key' = 'news_id, encoder_id',
  'newslake.written_by' = 'find_stories',
  'delta.enableDeletionVectors' = 'false'
)
