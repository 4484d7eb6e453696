CREATE TABLE IF NOT EXISTS {table} (
  as_of DATE NOT NULL COMMENT 'The day whose profile it was made from',
  user_id STRING NOT NULL COMMENT 'The user',
  tag_group INT NOT NULL COMMENT 'The semantic group of tags, from 0, within the user and day; 0 has the heaviest tag',
  phrase_id STRING NOT NULL COMMENT 'The set of tags: 32 hexadecimal digits of two order-free hashes',
  tags ARRAY<STRING> NOT NULL COMMENT 'The tags, sorted',
  text STRING NOT NULL COMMENT 'What is encoded: the tags in that order',
  weight DOUBLE NOT NULL COMMENT 'Mean weight of the tags in the profile of the user',
  encoder_id STRING NOT NULL COMMENT 'Whose tag vectors the groups were made by'
)
USING DELTA
PARTITIONED BY (as_of)
COMMENT 'One row is one tag phrase of a user on a day'
TBLPROPERTIES (
  'newslake.key' = 'as_of, user_id, tag_group, phrase_id',
  'newslake.written_by' = 'build_phrases',
  'delta.enableDeletionVectors' = 'false'
)
