CREATE TABLE IF NOT EXISTS {table} (
  tag STRING NOT NULL COMMENT 'The tag, as in user_tags',
  encoder_id STRING NOT NULL COMMENT 'Weights, pooling, length, fields and long-text setting; vectors of two ids do not mix',
  embedding ARRAY<FLOAT> NOT NULL COMMENT 'The vector; its size is that of the encoder'
)
USING DELTA
PARTITIONED BY (encoder_id)
COMMENT 'One row is the vector of a tag by one encoder'
TBLPROPERTIES (
  'newslake.key' = 'tag, encoder_id',
  'newslake.written_by' = 'build_phrases',
  'delta.constraints.embedding_not_empty' = 'size(embedding) > 0',
  'delta.enableDeletionVectors' = 'false'
)
