CREATE TABLE IF NOT EXISTS {table} (
  as_of DATE NOT NULL COMMENT 'The day that the vote is of',
  news_id STRING NOT NULL COMMENT 'The short text',
  encoder_id STRING NOT NULL COMMENT 'The encoder of the vectors that were compared',
  model_run STRING NOT NULL COMMENT 'The classifier whose scores chose the long articles',
  content_hash STRING NOT NULL COMMENT 'content_hash of the text that was voted on',
  old_class STRING COMMENT 'The class that the text came with; NULL where it had none',
  voted_class STRING COMMENT 'The class with the most votes, ties by name; NULL where there is no neighbour',
  votes INT NOT NULL COMMENT 'Neighbours of voted_class',
  neighbours ARRAY<STRUCT<news_id: STRING, class: STRING, cosine: FLOAT>> NOT NULL COMMENT 'The nearest long articles, nearest first',
  decision STRING NOT NULL COMMENT 'changed, confirmed (enough votes for its own class), kept (too few for any class, or too many neighbours of its own), no vector'
)
USING DELTA
PARTITIONED BY (as_of)
COMMENT 'One row is the vote on one short text'
TBLPROPERTIES (
  'newslake.key' = 'as_of, news_id',
  'newslake.written_by' = 'reclassify_short_text',
  'delta.enableDeletionVectors' = 'false'
)
