CREATE TABLE IF NOT EXISTS {table} (
  as_of DATE NOT NULL COMMENT 'The day whose profile it was made from',
  user_id STRING NOT NULL COMMENT 'The user',
  tag_group INT NOT NULL COMMENT 'The semantic group of tags, from 0, within the user and day',
  phrase_id STRING NOT NULL COMMENT 'The tag phrase',
  encoder_id STRING NOT NULL COMMENT 'The encoder of the phrase; vectors of two ids do not mix',
  topic_model STRING NOT NULL COMMENT 'The topic model of the topic part; vectors of two models do not mix',
  weight DOUBLE NOT NULL COMMENT 'Weight of the phrase in the profile of the user',
  vector ARRAY<FLOAT> NOT NULL COMMENT 'Phrase embedding joined with the topic vector, each part scaled as in article_vectors, unit length as a whole'
)
USING DELTA
PARTITIONED BY (as_of)
COMMENT 'One row is one vector of a user on a day'
TBLPROPERTIES (
  'newslake.key' = 'as_of, user_id, tag_group, phrase_id, encoder_id, topic_model',
  'newslake.written_by' = 'build_user_vectors',
  'delta.constraints.vector_not_empty' = 'size(vector) > 0',
  'delta.enableDeletionVectors' = 'false'
)
