CREATE TABLE IF NOT EXISTS {table} (
  phrase_id STRING NOT NULL COMMENT 'The set of tags: 32 hexadecimal digits of two order-free hashes',
  encoder_id STRING NOT NULL COMMENT 'Weights, pooling, length, fields and long-text setting; vectors of two ids do not mix',
  tags ARRAY<STRING> NOT NULL COMMENT 'The tags, sorted',
  text STRING NOT NULL COMMENT 'What was encoded',
  embedding ARRAY<FLOAT> NOT NULL COMMENT 'The vector; its size is that of the encoder',
  first_seen DATE NOT NULL COMMENT 'The as_of for which it was encoded: earlier days do not reuse it',
  last_used DATE NOT NULL COMMENT 'The last as_of that used it, up to touch-days behind, since bringing it up to date rewrites files'
)
USING DELTA
PARTITIONED BY (encoder_id)
COMMENT 'One row is one encoded tag phrase: the store that later phrases reuse vectors from'
TBLPROPERTIES (
  'newslake.key' = 'phrase_id, encoder_id',
  'newslake.written_by' = 'encode_tag_phrases',
  'delta.constraints.embedding_not_empty' = 'size(embedding) > 0',
  'delta.constraints.tags_not_empty' = 'size(tags) > 0',
  'delta.enableDeletionVectors' = 'false'
)
